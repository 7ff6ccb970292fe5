"""The commands around a bundle, as a person sees them: lines, documents, exit codes."""

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harmonia_compiler.cli.main import run
from harmonia_compiler.contract.component import Engine, Env, Secret
from harmonia_compiler.contract.launch import Probe

from .conftest import Hand, launch, until

ROOT = Path(__file__).parents[2]


def test_up_status_logs_down(hand: Hand, capfd: pytest.CaptureFixture[str]) -> None:
    hand.write(one=launch("--says", "hello from one"))
    folder = str(hand.path)
    assert run(["up", folder]) == 0
    said = capfd.readouterr()
    assert "ready after" in said.out
    assert f'next: harmoniac ask "..." --service {folder}' in said.out
    assert "up: one ready" in said.err
    assert run(["up", folder]) == 0
    assert capfd.readouterr().out.startswith("already running: http://127.0.0.1:")
    assert run(["status", folder]) == 0
    assert "gateway" in capfd.readouterr().out
    assert run(["status", folder, "--format", "json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert (document["format_version"], document["ready"]) == (1, True)
    assert [process["phase"] for process in document["processes"]] == ["ready", "ready"]
    assert run(["logs", folder, "one"]) == 0
    assert capfd.readouterr().out == "hello from one\n"
    assert run(["logs", folder, "--lines", "1"]) == 0
    assert capfd.readouterr().out.startswith("one        | hello from one\n")
    assert run(["down", folder]) == 0
    assert capfd.readouterr().out == f"{folder} is down\n"
    assert run(["down", folder]) == 0
    assert capfd.readouterr().out == f"{folder} was not running\n"
    assert run(["status", folder]) == 1
    hand.assert_nothing_left()


def test_down_leaves_the_terminal_alone(hand: Hand, capfd: pytest.CaptureFixture[str]) -> None:
    hand.write(one=launch())
    folder = hand.path.rename(hand.path.with_name("a\n\u202eb"))
    assert run(["down", str(folder)]) == 0
    assert capfd.readouterr().out == f"{folder.parent}/a\u240a\ufffdb was not running\n"


def test_status_exits_1_while_something_is_down(hand: Hand) -> None:
    hand.write(one=launch("--slow-s", "1"))
    hand.up()
    pid = hand.process("one").pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: run(["status", str(hand.path)]) == 1)
    until(lambda: run(["status", str(hand.path)]) == 0)


def test_a_failed_up_shows_the_probe_and_the_log(hand: Hand, capfd: pytest.CaptureFixture[str]) -> None:
    hand.write(one=launch("--status", "503", "--says", "loading shard 3", probe=Probe("http", "/health", 1.0)))
    assert run(["up", str(hand.path)]) == 1
    said = capfd.readouterr().err
    assert "  | loading shard 3\n" in said
    assert "error[E0909]: `one` did not become ready: GET http://127.0.0.1:" in said
    assert f"harmoniac logs {hand.path} one" in said
    assert run(["logs", str(hand.path), "one"]) == 0
    assert run(["status", str(hand.path)]) == 1


def test_what_is_missing_is_said_before_anything_starts(hand: Hand, capfd: pytest.CaptureFixture[str]) -> None:
    missing = launch(module="no_such_engine", extra="torch", late={"KEY": "NO_SUCH_VARIABLE"})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        hand.write(one=missing)
        assert run(["up", str(hand.path), "--port", str(taken.getsockname()[1])]) == 1
    said = capfd.readouterr().err
    assert "error[E0906]: the environment variable `NO_SUCH_VARIABLE` is not set" in said
    assert 'pip install "harmonia-compiler[torch]"' in said
    assert "error[E0908]" in said
    assert not (hand.path / "run").exists()


@pytest.mark.slow
def test_options_that_a_running_service_does_not_heed_are_said(hand: Hand, capfd: pytest.CaptureFixture[str]) -> None:
    hand.write(one=launch())
    folder = str(hand.path)
    hand.up()
    port = hand.process("gateway").port
    assert run(["up", folder, "--port", str(port)]) == 0
    capfd.readouterr()
    assert run(["up", folder, "--port", "1", "--reembed"]) == 1
    said = capfd.readouterr()
    assert said.out == ""
    there = f"error[E0917]: `{folder}` runs already, and"
    assert f"{there} `--port 1` changes nothing there: its gateway listens on port {port}\n" in said.err
    assert f"{there} `--reembed` changes nothing there: it was started without\n" in said.err
    assert f"`harmoniac down {folder}` first" in said.err
    assert hand.status().ready
    hand.down()
    hand.up(reembed=True)
    assert run(["up", folder, "--reembed"]) == 0


@pytest.mark.slow
def test_a_port_is_compared_with_that_of_a_service_that_is_still_starting(
    hand: Hand, capfd: pytest.CaptureFixture[str]
) -> None:
    hand.write(one=launch("--slow-s", "3"))
    with ThreadPoolExecutor() as people:
        first = people.submit(hand.up)
        until(lambda: bool(hand.status().processes))
        assert run(["up", str(hand.path), "--port", "1"]) == 1
        assert "`--port 1` changes nothing there: its gateway takes any port that is free" in capfd.readouterr().err
        assert first.result() is True


@pytest.mark.parametrize(
    ("url", "key", "wrong"),
    [("http://[::1", "k", "url"), ("", "k", "url"), ("http://mt", "k\n", "key"), ("http://mt", "", "key")],
)
def test_a_variable_that_cannot_be_what_it_is_for_is_said_before_anything_starts(
    hand: Hand, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str, key: str, wrong: str
) -> None:
    engine = Engine("mt", "http", {"url": Env("MT_URL"), "key": Secret("MT_KEY")})
    hand.write(one=launch(), external={"mt": engine})
    monkeypatch.setenv("MT_URL", url)
    monkeypatch.setenv("MT_KEY", key)
    assert run(["up", str(hand.path)]) == 1
    said = capfd.readouterr().err
    variable = f"MT_{wrong.upper()}"
    assert f"error[E0916]: the environment variable `{variable}` cannot be the `{wrong}`" in said
    assert said.count("error[") == 1
    assert not (hand.path / "run").exists()


def test_a_folder_that_is_no_bundle_is_one_finding(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["up"], ["status"], ["down"], ["logs"]):
        assert run([*words, str(tmp_path)]) == 1
        assert capfd.readouterr().err.startswith("error[E0905]")


@pytest.mark.parametrize("name", ["down", "logs"])
def test_what_prints_no_table_loads_none(name: str) -> None:
    script = f"import sys, harmonia_compiler.cli.{name}; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_newer_bundle_is_refused_by_name(hand: Hand, capfd: pytest.CaptureFixture[str]) -> None:
    hand.write(one=launch())
    (hand.path / "bundle.json").write_text('{"target": "local", "files": [], "format_version": 99}')
    assert run(["status", str(hand.path)]) == 1
    assert "its format 99 is newer than this release" in capfd.readouterr().err


def test_an_unknown_log_offers_the_nearest(hand: Hand, capfd: pytest.CaptureFixture[str]) -> None:
    hand.write(one=launch())
    assert run(["logs", str(hand.path), "onne"]) == 1
    said = capfd.readouterr().err
    assert said.startswith("error[E0915]")
    assert "did you mean `one`?" in said


@pytest.mark.parametrize("duration", ["soon", "-1", "10 days"])
def test_a_timeout_that_is_no_duration_is_a_usage_error(hand: Hand, duration: str) -> None:
    hand.write(one=launch())
    assert run(["up", str(hand.path), f"--timeout={duration}"]) == 2


@pytest.mark.slow
def test_a_running_bundle_is_not_compiled_over(hand: Hand, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.toml"
    inventory.write_text('[[hosts]]\nname = "here"\ncpus = 8\nmemory_gib = 32\n')
    sample, options = str(ROOT / "samples/quickstart.rag"), ["--inventory", str(inventory), "--out"]
    hand.write(one=launch())
    hand.up()
    assert run(["compile", sample, *options, str(hand.path)]) == 1
    assert "error[E0914]" in capfd.readouterr().err
    hand.down()
    assert run(["compile", sample, *options, str(hand.path)]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == f"next: harmoniac up {hand.path}"


@pytest.mark.slow
def test_a_folder_whose_name_has_a_space_is_one_word_of_what_to_do_next(
    hand: Hand, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    inventory = tmp_path / "inventory.toml"
    inventory.write_text('[[hosts]]\nname = "here"\ncpus = 8\nmemory_gib = 32\n')
    hand.path = hand.path / "bündel 1"
    hand.write(one=launch())
    assert run(["up", str(hand.path)]) == 0
    assert capfd.readouterr().out.endswith(f"next: harmoniac ask \"...\" --service '{hand.path}'\n")
    compiled = ["compile", str(ROOT / "samples/quickstart.rag"), "--inventory", str(inventory), "--out", str(hand.path)]
    assert run(compiled) == 1
    assert f"`harmoniac down '{hand.path}'`" in capfd.readouterr().err
    hand.down()
    assert run(compiled) == 0
    assert capfd.readouterr().out.endswith(f"next: harmoniac up '{hand.path}'\n")


def test_compile_exits_3_where_no_plan_is_feasible(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.toml"
    inventory.write_text('[[hosts]]\nname = "tiny"\ncpus = 1\nmemory_gib = 1\n')
    sample = str(ROOT / "samples/quickstart.rag")
    assert run(["compile", sample, "--inventory", str(inventory), "--out", str(tmp_path / "bundle")]) == 3
    assert not (tmp_path / "bundle").exists()
