"""`harmoniac compile`: what it refuses before it plans, and what it says of the plan that it writes."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.cli import planning
from harmonia_compiler.cli.main import run
from harmonia_compiler.diagnostics.shell import shell_word
from harmonia_compiler.runtime.actuators.actuator import Phase, Status, actuator_for
from harmonia_compiler.runtime.actuators.slurm.folder import SharedFolder
from harmonia_compiler.runtime.actuators.supervision import pids, rundir
from harmonia_compiler.runtime.bundle import read_contents

from .one_host import on_one_host

SOURCE = """component small = llm("SmolLM2-135M-Instruct")
component answer(question: text) -> text ~ 256 tokens = small("{question}")
pipeline ask(question: text ~ 15 tokens) -> text {
    load LOAD rps
    return answer(question)
}
"""


def compiled(folder: Path, *more: str, load: str = "1") -> int:
    return run(["compile", *on_one_host(folder, SOURCE.replace("LOAD", load)), *more])


@pytest.mark.parametrize(
    ("target", "site", "code"),
    [
        ("nope", None, "E0903"),
        ("slurm", "absent", "E0930"),
        ("slurm", "no TOML", "E0930"),
        ("slurm", "[slurm]\nsize = 3\n", "E0931"),
        ("compose", "[compose]\nscale_out = 'x'\n", "E0932"),
        ("compose", "[slrum]\n", "E0931"),
        ("local", "[[hosts]]\nname = 'one'\n", "E0931"),
        ("local", "[local]\n", "E0931"),
    ],
)
def test_a_target_or_a_site_that_cannot_be_is_refused_before_planning(
    target: str, site: str | None, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = []
    if site is not None:
        given = ["--site", str(tmp_path / "place.toml")]
        if site != "absent":
            (tmp_path / "place.toml").write_text(site)
    assert compiled(tmp_path, "--target", target, "--out", str(tmp_path / "out"), *given) == 1
    said = capsys.readouterr().err
    assert f"error[{code}]" in said
    assert "planned in" not in said
    assert not (tmp_path / "out").exists()


def test_all_that_is_no_target_of_a_site_profile_is_said_with_what_is_near(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "place.toml").write_text("partition = 'gpu'\n[slrum]\n")
    assert compiled(tmp_path, "--target", "slurm", "--site", str(tmp_path / "place.toml")) == 1
    said = capsys.readouterr().err
    assert said.index("`partition` is no target") < said.index("`slrum` is no target")
    assert "did you mean `slurm`?" in said
    assert "there are tables for `compose`, `slurm`" in said


@pytest.mark.parametrize("target", ["local", "slurm"])
def test_a_target_that_asks_nothing_about_the_place_has_no_table(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And is not offered as one that has."""
    (tmp_path / "place.toml").write_text("[locla]\n[local]\n")
    assert compiled(tmp_path, "--target", target, "--site", str(tmp_path / "place.toml")) == 1
    said = capsys.readouterr().err
    assert "target `local` has no table in a site profile" in said
    assert "did you mean" not in said


def test_a_site_profile_that_says_nothing_of_the_target_is_not_passed_over_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "place.toml").write_text("[slurm]\n")
    given = ["--site", str(tmp_path / "place.toml"), "--out", str(tmp_path / "out")]
    assert compiled(tmp_path, *given) == 0
    assert "warning[W0940]" in capsys.readouterr().err
    assert compiled(tmp_path, *given[2:]) == 0
    assert "W0940" not in capsys.readouterr().err


TARGETS = ["local", "compose", "slurm"]


def over(before: str, after: str, folder: Path, out: Path, *, leaves: Callable[[rundir.RunDirectory], object]) -> int:
    """What comes of a compilation for another target over a bundle of which something is left."""
    place = folder / "place.toml"
    place.write_text("[compose]\n[slurm]\n")
    given = {"local": [], "compose": ["--site", str(place)], "slurm": ["--site", str(place)]}
    assert compiled(folder, "--target", before, "--out", str(out), *given[before]) == 0
    run_ = rundir.RunDirectory(out)
    run_.prepare()
    leaves(run_)
    return compiled(folder, "--target", after, "--out", str(out), *given[after])


@pytest.mark.parametrize("after", TARGETS)
@pytest.mark.parametrize("before", ["local", "compose"])
@pytest.mark.parametrize("phase", ["starting", "running", "stopping", "failed", None])
def test_a_service_that_may_have_left_something_is_not_compiled_over_for_any_target(
    before: str, after: str, phase: Phase | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Only the actuator of the folder's own target knows of it and ends it."""
    out = tmp_path / "a bundle"

    def leaves(run_: rundir.RunDirectory) -> None:
        if phase is None:
            locked.append(run_.lock())
        else:
            state = rundir.State(pids.Ident(1, 1), Status(phase), folder=run_.identity)
            run_.write(rundir.STATE, msgspec.json.encode(state))

    locked: list[int | None] = []
    assert over(before, after, tmp_path, out, leaves=leaves) == 1
    said = capsys.readouterr().err
    assert "error[E0914]" in said
    assert f"`harmoniac down '{out}'`" in said
    assert ("is running" in said) == (phase is None)
    assert read_contents(out).target == before
    for lock in locked:
        assert lock is not None
        os.close(lock)
    # Neither Docker nor Slurm is here, and nothing is to be ended.
    monkeypatch.setenv("PATH", str(tmp_path))
    actuator = actuator_for(before)
    assert actuator is not None
    assert actuator.stop(out)
    assert compiled(tmp_path, "--out", str(out)) == 0


def test_a_service_that_was_started_while_it_was_planned_is_not_compiled_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plans = tmp_path / "out", planning.planned
    assert compiled(tmp_path, "--out", str(out)) == 0
    (out / "README.md").write_text("as it was")

    def planned(*words: Any, **options: Any) -> Any:
        run_ = rundir.RunDirectory(out)
        run_.prepare()
        state = rundir.State(pids.Ident(1, 1), Status("running"), folder=run_.identity)
        run_.write(rundir.STATE, msgspec.json.encode(state))
        return plans(*words, **options)

    monkeypatch.setattr("harmonia_compiler.cli.compile.planned", planned)
    assert compiled(tmp_path, "--out", str(out)) == 1
    assert "error[E0914]" in capsys.readouterr().err
    assert (out / "README.md").read_text() == "as it was"


def test_jobs_that_slurm_does_not_tell_of_are_not_compiled_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "out"
    for after in TARGETS:
        shutil.rmtree(out, ignore_errors=True)
        begun = over("slurm", after, tmp_path, out, leaves=lambda _: SharedFolder(out).begin(rundir.Asked(), {}))
        assert begun == 1
        assert "error[E0914]: something may be left" in capsys.readouterr().err


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("lacks", ["", "plan.json", "service.json", "local/processes.json compose/services.json"])
def test_a_bundle_whose_compilation_was_cut_off_is_said_to_be_none_whatever_it_lacks(
    target: str, lacks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (tmp_path / "place.toml").write_text("[compose]\n[slurm]\n")
    site = [] if target == "local" else ["--site", str(tmp_path / "place.toml")]
    assert compiled(tmp_path, "--target", target, "--out", str(out), *site) == 0
    for name in lacks.split():
        (out / name).unlink(missing_ok=True)
    listing = msgspec.json.decode((out / "bundle.json").read_bytes())
    assert run(["status", str(out)]) == 1
    assert "cut off" not in capsys.readouterr().out
    (out / "bundle.json").write_bytes(msgspec.json.encode({**listing, "being_written": True}))
    assert run(["status", str(out)]) == 1
    said = "its last compilation was cut off, so that it cannot be started: compile it again"
    assert capsys.readouterr().out.splitlines() == ["down", said]
    assert run(["up", str(out)]) == 1
    assert f"error[E0905]: `{out}` is no whole bundle: a compilation was cut off" in capsys.readouterr().err
    assert compiled(tmp_path, "--target", target, "--out", str(out), *site) == 0


def test_what_is_carried_is_said_as_plan_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compiled(tmp_path, "--out", str(tmp_path / "out"), load="100000") == 0
    out = capsys.readouterr().out
    assert run(["plan", *on_one_host(tmp_path, SOURCE.replace("LOAD", "100000"))]) == 0
    planned = " ".join(capsys.readouterr().out.split())
    (carries,) = [line.partition("carries ")[2].partition(" rps")[0] for line in out.splitlines() if "p95" in line]
    assert f"ask 100000 rps {carries} rps" in planned
    (warned,) = [line for line in out.splitlines() if line.startswith("ask asks for 100000 rps")]
    assert warned in planned
    assert f"this plan carries {carries}" in warned


def test_a_name_that_a_terminal_would_obey_is_spelled_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "red\x1b[31m 'it\\s'\n"
    assert compiled(tmp_path, "--out", str(out)) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert printed.splitlines()[-1] == f"next: harmoniac up {shell_word(out)}"


@pytest.mark.parametrize("word", ["a b", "it's", "\x1b[31m", "back\\slash\n'", "caf\udce9\t", "\u200bé", "$HOME\x07f"])
def test_a_shell_takes_it_for_the_word(word: str) -> None:
    assert shell_word(word).isprintable()
    done = subprocess.run(["bash", "-c", f"printf %s {shell_word(word)}"], capture_output=True, check=True)
    assert done.stdout == word.encode("utf-8", "surrogateescape")
