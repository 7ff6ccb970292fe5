"""`harmoniac completion`, in the shell that it is for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harmonia_compiler.cli.exits import FINE, USAGE
from harmonia_compiler.cli.main import run
from harmonia_compiler.cli.reference import names
from harmonia_compiler.diagnostics.pages import codes

#: Completes the last of the words given to it, as bash does when a tab is typed.
COMPLETE = """
eval "$(harmoniac completion bash)"
COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
$(complete -p harmoniac | sed 's/.*-F \\([^ ]*\\) .*/\\1/') harmoniac
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(*words: str) -> list[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["bash", "-c", COMPLETE, "bash", "harmoniac", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_options_and_choices() -> None:
    assert {"check", "completion", "explain", "fmt", "plan", "up"} <= set(completed(""))
    assert completed("ch") == ["check"]
    assert completed("fmt", "--") == ["--check", "--diff", "--help"]
    assert completed("completion", "") == ["bash", "zsh", "fish"]
    assert completed("check", "--format", "j") == ["json"]


@pytest.mark.slow
def test_bash_completes_what_there_is_to_explain() -> None:
    assert completed("explain", "E010") == [code for code in codes() if code.startswith("E010")] != []
    assert completed("explain", "mil") == ["milvus"]
    assert completed("explain", "fu") == ["fuse"]
    assert completed("explain", "dead") == ["dead_code"]
    every = {*codes(), *(name for known in names().values() for name in known)}
    assert set(completed("explain", "")) == every
    assert completed("explain", "nothing") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_of_that_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == FINE
    script = capsys.readouterr().out
    assert "_HARMONIAC_COMPLETE" in script
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n"], input=script.encode(), check=True)


def test_another_shell_is_a_usage_error() -> None:
    assert run(["completion", "tcsh"]) == USAGE
    assert run(["completion"]) == USAGE
