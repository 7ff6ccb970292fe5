"""`make demo`, and what the README shows of it: the source of the sample and the commands that the demo runs."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module whose commands and signals go nowhere."""
    spec = importlib.util.spec_from_file_location("demo", ROOT / "tools" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["demo.py"])
    return module


def failing(demo: ModuleType, seen: list[list[str]], **ends: BaseException) -> Callable[..., None]:
    """Commands that succeed, but for those that end so."""

    def run(*arguments: str, output: Path | None = None, hears: bool = False) -> None:
        seen.append(["harmoniac", *arguments])
        if arguments[0] in ends:
            raise ends[arguments[0]]

    return run


def test_the_readme_shows_the_sample_that_the_demo_runs(demo: ModuleType) -> None:
    sample = (ROOT / demo.SAMPLE).read_text(encoding="utf-8")
    assert BLOCKS[0] == sample[sample.index("component ") :]


def test_the_readme_shows_commands_of_the_demo(demo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(demo, "run", failing(demo, seen))
    assert demo.main() == 0
    typed = [demo.shlex.join(words) for words in seen]
    shown = [line.removeprefix("$ ") for line in BLOCKS[1].splitlines() if line.startswith("$ ")]
    assert [line for line in typed if line in shown] == shown
    assert typed[-1].startswith("harmoniac down ")


def test_the_demo_s_documents_are_there_and_the_readme_is_not_among_them(demo: ModuleType) -> None:
    assert all((ROOT / name).exists() for name in demo.DOCUMENTS)
    assert "README.md" not in demo.DOCUMENTS


@pytest.mark.parametrize("stopped", [True, False])
def test_an_interrupted_demo_says_what_may_be_left_running(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, stopped: bool
) -> None:
    ends: dict[str, BaseException] = {"ask": KeyboardInterrupt()}
    if not stopped:
        ends["down"] = demo.CommandFailedError("down", 1)
    monkeypatch.setattr(demo, "run", failing(demo, [], **ends))
    assert demo.main() == demo.INTERRUPTED
    said = capsys.readouterr().err
    assert said.endswith("demo: interrupted\n")
    assert ("the service may still run: harmoniac down .demo/quickstart" in said) == (not stopped)


#: Stands for harmoniac: its first answers are late, or fail otherwise.
SLOW = """#!/bin/sh
echo "$1" >> {ran}
test "$1" = ask || exit 0
test "$(grep -c ask {ran})" -gt {late} && exit 0
echo "{said}" >&2
exit 1
"""
TOO_LATE = "error[E1106]: the request failed: the request's 90 s passed while 'answer' ran"


@pytest.mark.parametrize(
    ("late", "said", "asked", "status"),
    [(1, TOO_LATE, 2, 0), (2, TOO_LATE, 2, 1), (1, "error[E1105]: the request failed: no", 1, 1), (0, "", 1, 0)],
)
def test_a_first_answer_that_is_late_is_asked_for_again(
    demo: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    late: int,
    said: str,
    asked: int,
    status: int,
) -> None:
    program, ran = tmp_path / "harmoniac", tmp_path / "ran"
    program.write_text(SLOW.format(ran=ran, late=late, said=said))
    program.chmod(0o755)
    monkeypatch.setattr(demo, "HARMONIAC", program)
    monkeypatch.setattr(demo, "ROOT", tmp_path)
    assert demo.main() == status
    commands = ran.read_text().split()
    assert commands.count("ask") == asked
    assert commands[-1] == "down"
    out, err = capsys.readouterr()
    assert err.count(said) == late or not said
    assert ("its engines are warm now: once more" in out) == (asked == 2)


@pytest.mark.parametrize(
    ("target", "installed", "checks"), [("demo", False, 1), ("demo", True, 1), ("setup", False, 1)]
)
def test_the_machine_is_checked_once(tmp_path: Path, target: str, checks: int, *, installed: bool) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    if installed:
        (tmp_path / ".venv" / "stamps").mkdir(parents=True)
        (tmp_path / ".venv" / "stamps" / "venv").touch()
    done = subprocess.run(["make", "-n", target], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.count("tools/preflight.py") == checks
