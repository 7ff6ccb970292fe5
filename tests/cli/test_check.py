"""`harmoniac check` and `explain`, and how the command ends."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
from click import Context

from harmonia_compiler import cli
from harmonia_compiler.cli.exits import DIAGNOSTICS, FINE, USAGE
from harmonia_compiler.cli.main import LazyGroup, run

GOOD = 'component f(q: text) -> text = python("m:f")\npipeline p(q: text) -> text { return f(q) }\n'
BAD = GOOD.replace("f(q) }", "g(q) }")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.rag").write_text(GOOD, encoding="utf-8")
    Path("bad.rag").write_text(BAD, encoding="utf-8")


def test_a_fine_file_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "good.rag"]) == FINE
    out, err = capsys.readouterr()
    assert out == "good.rag: fine (1 pipeline, 1 component, 1 engine)\n"
    assert err == ""


def test_findings_are_frames_and_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "bad.rag", "good.rag"]) == DIAGNOSTICS
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error[E0202]: unknown component or pipeline `g`\n --> bad.rag:2:38\n")
    assert err.endswith("\n1 error\n")


def test_a_warning_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    Path("warned.rag").write_text(GOOD.replace("(q: text) -> text {", "(q: text, r: text) -> text {"), encoding="utf-8")
    assert run(["check", "warned.rag"]) == FINE
    out, err = capsys.readouterr()
    assert "warning[W0203]" in err
    assert "1 warning\n" in err
    assert out.startswith("warned.rag: fine")


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "bad.rag", "--format", "json"]) == DIAGNOSTICS
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    (finding,) = document["findings"]
    assert (finding["code"], finding["file"], finding["line"], finding["column"]) == ("E0202", "bad.rag", 2, 38)
    assert run(["check", "good.rag", "--format", "json"]) == FINE
    assert json.loads(capsys.readouterr().out) == {"format_version": 1, "findings": [], "left_out": 0, "ok": True}


def test_settings(capsys: pytest.CaptureFixture[str]) -> None:
    Path("set.rag").write_text(GOOD.replace('"m:f"', 'setting("function")'), encoding="utf-8")
    assert run(["check", "set.rag"]) == DIAGNOSTICS
    assert run(["check", "set.rag", "--set", "function=m:f"]) == FINE
    assert run(["check", "set.rag", "--set", "function=m:f", "--set", "colour=red"]) == DIAGNOSTICS
    assert "E0609" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["check"],
        ["check", "good.rag", "--format", "yaml"],
        ["check", "good.rag", "--set", "x"],
        ["check", "good.rag", "--set", "x=1", "--set", "x=2"],
        ["check", "--no-such-option"],
        ["chekc"],
        ["explain", "E9999"],
    ],
    ids=" ".join,
)
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == USAGE
    assert "Usage: harmoniac" in capsys.readouterr().err


def test_an_unknown_command_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    run(["chekc"])
    assert "did you mean check?" in capsys.readouterr().err


def test_the_commands_are_the_modules_that_define_one() -> None:
    names = [found.name for found in iter_modules(cli.__path__)]
    commands = sorted(name for name in names if hasattr(import_module(f"{cli.__name__}.{name}"), "command"))
    group = LazyGroup()
    assert group.list_commands(Context(group)) == commands
    assert {"check", "plan", "up"} <= set(commands)


def test_a_missing_file_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "nothing.rag"]) == DIAGNOSTICS
    assert "error[E0114]: there is no file `nothing.rag`" in capsys.readouterr().err


def test_what_the_shell_opened_is_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    try:
        assert run(["check", f"/dev/fd/{reader}"]) == DIAGNOSTICS
    finally:
        os.close(reader)
        os.close(writer)
    assert f"error[E0114]: `/dev/fd/{reader}` is not a regular file" in capsys.readouterr().err


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "e0201"]) == FINE
    assert capsys.readouterr().out.startswith("# E0201: ")
    assert run(["explain"]) == FINE
    assert "E0201  unknown kind or component\n" in capsys.readouterr().out


def test_help_names_every_command_and_loads_none() -> None:
    program = (
        "import sys; from harmonia_compiler.cli.main import run; code = run(['--help']);"
        "loaded = [m for m in ('networkx', 'highspy', 'pymilvus', 'torch', 'lark') if m in sys.modules];"
        "sys.exit(repr(loaded) if loaded else code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "check" in done.stdout


def test_check_loads_nothing_heavy() -> None:
    program = (
        "import sys; from harmonia_compiler.cli.main import run; code = run(['check', 'good.rag']);"
        "heavy = ('networkx', 'highspy', 'pymilvus', 'torch', 'jinja2', 'aiohttp', 'numpy', 'rich', 'grpc', 'asyncio');"
        "loaded = [m for m in heavy if m in sys.modules];"
        "sys.exit(repr(loaded) if loaded else code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_colour_without_a_terminal_and_a_reader_that_leaves_is_no_bug() -> None:
    command = [
        sys.executable,
        "-c",
        "import sys; from harmonia_compiler.cli.main import main; main()",
        "check",
        "bad.rag",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "\x1b" not in done.stderr
    pipe = f"{sys.executable} -c 'from harmonia_compiler.cli.main import main; main()' explain | true"
    done = subprocess.run(pipe, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["check", "graph", "fmt"])
def test_a_link_that_leads_back_to_itself_is_a_file_that_cannot_be_read(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.rag").symlink_to("loop.rag")
    assert run([command, "loop.rag"]) == 1
    assert "error[" in capsys.readouterr().err


def test_a_current_folder_that_is_gone_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert run(["check", "a.rag"]) == 1
    assert "the current folder has been removed" in capsys.readouterr().err


def test_of_very_many_findings_it_says_how_many_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    many = "".join(f'component c{number} = nosuch{number}("x")\n' for number in range(501))
    Path("many.rag").write_text(many, encoding="utf-8")
    assert run(["check", "many.rag"]) == DIAGNOSTICS
    assert capsys.readouterr().err.endswith("\n100 errors, and 401 more that are not shown\n")
    assert run(["check", "many.rag", "--format", "json"]) == DIAGNOSTICS
    document = json.loads(capsys.readouterr().out)
    assert (len(document["findings"]), document["left_out"]) == (100, 401)


def test_a_file_of_components_alone_is_fine_and_said_to_serve_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Path("library.rag").write_text(GOOD.split("pipeline", maxsplit=1)[0], encoding="utf-8")
    assert run(["check", "library.rag"]) == FINE
    out, err = capsys.readouterr()
    assert (out, err) == ("library.rag: fine, and without a pipeline: nothing in it is served\n", "")


def test_an_empty_file_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty.rag").write_bytes(b"")
    assert run(["check", "empty.rag"]) == FINE
    assert "warning[W0204]: `empty.rag` declares nothing" in capsys.readouterr().err


def test_a_carriage_return_ends_a_line_where_nothing_else_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        "# What is asked.",
        'component find(question: text) -> text = http("https://example.org/find")',
        "pipeline ask(question: text) -> text {",
        "    return found(question)",
        "}",
    ]
    (tmp_path / "old.rag").write_text("\r".join([*lines, ""]), newline="")
    assert run(["check", str(tmp_path / "old.rag")]) == 1
    assert "old.rag:4:12" in capsys.readouterr().err
    (tmp_path / "old.rag").write_text("\r".join([*lines, ""]).replace("found", "find"), newline="")
    assert run(["check", str(tmp_path / "old.rag")]) == 0
    assert "fine (1 pipeline, 1 component" in capsys.readouterr().out
