"""What options take: paths whoever may read them, which a finding says, and numbers that are some."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from harmonia_compiler.cli.main import harmoniac, run

HARMONIAC = Path(sys.executable).parent / "harmoniac"
ROOT = Path(__file__).parents[2]
#: What reads everything, whatever its mode says, first gives that up.
UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def commands(within: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(within, click.Group):
        yield name, within
        return
    context = click.Context(within)
    for each in within.list_commands(context):
        command = within.get_command(context, each)
        assert command is not None
        yield from commands(command, f"{name} {each}")


def test_who_may_read_a_path_is_for_whoever_opens_it_to_say() -> None:
    paths = {
        f"{name} {parameter.name}": parameter.type
        for name, command in commands(harmoniac, "harmoniac")
        for parameter in command.params
        if isinstance(parameter.type, click.Path)
    }
    assert {"harmoniac check files", "harmoniac ingest service", "harmoniac inventory show file"} <= paths.keys()
    asking = [name for name, path in paths.items() if path.readable or path.writable or path.executable or path.exists]
    assert asking == []


def test_what_is_no_number_is_wrong_usage() -> None:
    numbers = [
        parameter.type
        for _, command in commands(harmoniac, "harmoniac")
        for parameter in command.params
        if isinstance(parameter.type, click.types.FloatParamType)
    ]
    assert numbers
    for number in numbers:
        for given in ("nan", "-nan", "inf", "-inf", "1e999", "\u0662"):
            with pytest.raises(click.BadParameter):
                number(given)


def test_what_is_no_whole_number_is_wrong_usage() -> None:
    numbers = [
        parameter.type
        for _, command in commands(harmoniac, "harmoniac")
        for parameter in command.params
        if isinstance(parameter.type, click.types.IntParamType)
    ]
    assert numbers
    for number in numbers:
        assert number("100") == 100
        for given in ("1.5", "nan", "1e3", "\u0661\u0660\u0660"):
            with pytest.raises(click.BadParameter):
                number(given)


@pytest.mark.skipif(bool(UNPRIVILEGED) and shutil.which("setpriv") is None, reason="root reads everything")
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("check closed.rag", "E0114"),
        ("fmt closed.rag", "E0114"),
        ("graph closed.rag", "E0114"),
        ("inventory show closed.toml", "E0701"),
        ("up closed", "E0925"),
        ("status closed", "E0925"),
        ("down closed", "E0925"),
        ("logs closed", "E0925"),
        ("ingest docs --component search --service closed", "E0925"),
        ("ingest closed --component search --service closed", "E0925"),
        ("models add closed", "E1133"),
        ("compile fine.rag --inventory laptop.toml --out closed", "E0901"),
    ],
)
def test_what_may_not_be_read_is_a_diagnostic(line: str, code: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "samples/quickstart.rag", tmp_path / "fine.rag")
    shutil.copy(ROOT / "samples/inventories/laptop.toml", tmp_path / "laptop.toml")
    (tmp_path / "docs").mkdir()
    for name in ("closed.rag", "closed.toml"):
        (tmp_path / name).touch(mode=0)
    (tmp_path / "closed").mkdir(mode=0)
    done = subprocess.run(
        [*UNPRIVILEGED, HARMONIAC, *line.split()], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    (tmp_path / "closed").chmod(0o700)
    assert (done.returncode, f"error[{code}]" in done.stderr) == (1, True), done.stderr
    assert "= help: " in done.stderr or "help:" in done.stderr


def test_who_has_no_inventory_is_told_how_to_come_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "samples/quickstart.rag"]) == 2
    said = capsys.readouterr().err
    assert "Missing option '--inventory'" in said
    assert "harmoniac inventory detect > here.toml" in said
    assert run(["plan", "samples/quickstart.rag", "--inventory", ""]) == 1
    said = capsys.readouterr().err
    assert "error[E1133]: an empty path was given for `--inventory`" in said
    assert "harmoniac inventory detect > here.toml" in said


def test_what_is_read_may_be_called_as_stdout_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-").write_text("")
    assert run(["check", "-"]) == 0
    assert "error" not in capsys.readouterr().err


FOLDERS = (
    *("up", "status", "status --format=json", "down", "logs", "rollback", "up bundle --over", "ingest docs --service"),
    *("ask why? --service", "bench --rate=99 --for=1s", "models add", "plan a.rag --inventory b.toml --readings"),
)
INSTEAD = {
    **dict.fromkeys(FOLDERS, "for the current folder, give `.`"),
    **dict.fromkeys(
        (
            *("check", "fmt", "graph", "profile", "plan --inventory b.toml", "plan a.rag --inventory b.toml --from"),
            *("compile a.rag --inventory b.toml --site", "simulate a.rag --inventory b.toml --trace"),
            *("ingest --component s --import", "bench --rate=1 --questions", "inventory detect --from slurm --listing"),
        ),
        "name a file",
    ),
    **dict.fromkeys(
        ("plan a.rag --inventory b.toml --out", "plan a.rag --inventory b.toml --html", "profile a.rag --out"),
        "name the file to write",
    ),
    "compile a.rag --inventory b.toml --out": "name a new folder, or one that holds a bundle",
    **dict.fromkeys(("inventory show", "graph a.rag --inventory"), "`harmoniac inventory detect > here.toml` makes"),
}


@pytest.mark.parametrize("line", INSTEAD)
def test_an_empty_path_is_not_the_current_folder(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Most often it is an unset variable of a script; here a service is said to be in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bundle.json").write_text("{}")
    assert run([*line.split(), ""]) == 1
    printed = capsys.readouterr()
    said = printed.out + printed.err
    assert "an empty path was given" in said
    assert INSTEAD[line] in said
    assert "give `.`" not in said or line in FOLDERS
