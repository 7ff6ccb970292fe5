"""The command with streams that are closed, full or left by their reader, and with arguments that are no text."""

import fcntl
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from harmonia_compiler.cli import main
from harmonia_compiler.cli.exits import BUG

HARMONIAC = Path(sys.executable).parent / "harmoniac"
ROOT = Path(__file__).parents[2]


def run(shell: str) -> tuple[int, str]:
    """Exit code and stderr of a shell line in which `H` is the command."""
    command = f"H={HARMONIAC}; set -o pipefail; {shell}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stderr.decode(errors="replace")


@pytest.mark.parametrize(
    "line",
    ["$H check samples/quickstart.rag >&-", "$H check samples/quickstart.rag | true", "$H --help | head -1"],
)
def test_a_reader_that_is_not_there_is_no_failure(line: str) -> None:
    assert run(line) == (0, "")


@pytest.mark.parametrize(
    "streams", ["2>&-", ">&- 2>&-", "2>/dev/full", ">/dev/full 2>&1", "2>&1 | true", "2>&1 | head -1"]
)
def test_findings_keep_their_code_whoever_reads_them(streams: str) -> None:
    # What is printed is no part of what is decided; several times, since a reader may leave sooner or later.
    assert [run(f"$H check nowhere.rag {streams}")[0] for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("$H check nowhere.rag --format json | true", 1),
        ("$H check 2>&1 | true", 2),
        ("$H chekc samples/quickstart.rag 2>&1 | true", 2),
        ("$H plan samples/quickstart.rag --inventory {small} 2>&1 | true", 3),
        ("$H plan samples/quickstart.rag --inventory {small} --format json | true", 3),
        ("$H plan samples/quickstart.rag --inventory samples/inventories/laptop.toml 2>&1 | true", 0),
        ("$H plan samples/quickstart.rag --inventory samples/inventories/laptop.toml --format json | head -1", 0),
        ("PYTHONUNBUFFERED=1 $H plan samples/quickstart.rag --inventory {small} 2>&1 | true", 3),
    ],
)
def test_a_reader_that_leaves_changes_no_code(tmp_path: Path, line: str, code: int) -> None:
    small = tmp_path / "small.toml"
    small.write_text('[[hosts]]\nname = "small"\ncpus = 1\nmemory_gib = 1\n')
    assert run(line.format(small=small))[0] == code


def test_what_a_command_makes_is_made_also_where_nobody_reads_what_it_says(tmp_path: Path) -> None:
    inventory = "samples/inventories/laptop.toml"
    line = f"$H compile samples/quickstart.rag --inventory {inventory} --out {tmp_path / 'bundle'} 2>&1 | true"
    assert run(line)[0] == 0
    assert (tmp_path / "bundle" / "bundle.json").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux makes a pipe smaller than what is printed")
def test_a_pipe_that_does_not_wait_gets_all_of_it() -> None:
    whole = subprocess.run([HARMONIAC, "explain"], capture_output=True, timeout=60, check=True).stdout
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(theirs, False)
    with subprocess.Popen([HARMONIAC, "explain"], stdout=theirs, stderr=subprocess.PIPE) as started:
        os.close(theirs)
        select.select([ours], [], [])
        time.sleep(0.2)
        with os.fdopen(ours, "rb") as reader:
            assert reader.read() == whole
        assert started.wait(60) == 0


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("$H check samples/quickstart.rag >/dev/full", "E1131"),
        ("$H check $'\\xff.rag'", "E1132"),
        ("$H plan samples/quickstart.rag --inventory samples/inventories/laptop.toml --out /nowhere/x.json", "E1133"),
        ("$H status $(printf 'x%.0s' {1..5000})", "E1133"),
    ],
)
def test_what_the_machine_refuses_is_a_diagnostic(line: str, code: str) -> None:
    status, said = run(line)
    assert status == 1
    assert f"error[{code}]" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "line",
    [
        "$H status nowhere --format json",
        "$H plan samples/quickstart.rag --inventory nowhere.toml --format=json",
        "$H ask hello --service nowhere --format json",
    ],
)
def test_a_failure_is_a_document_too(line: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"H={HARMONIAC}; {line}"], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"][0]["severity"] == "error"


def test_an_end_of_a_file_within_is_a_bug_and_no_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """click takes it for the end of a conversation, of which there is none."""

    def cut(context: click.Context) -> None:
        raise EOFError("a module that is cut short")

    monkeypatch.setattr(main.harmoniac, "invoke", cut)
    assert main.run(["check", "x.rag"]) == BUG
    assert "EOFError: a module that is cut short" in capsys.readouterr().err
