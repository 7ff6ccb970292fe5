"""Which of several Docker engines the containers of a bundle are in: no other is asked, told or believed."""

import os
import time
from pathlib import Path

import pytest

from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.actuator import NOTHING_LEFT, NotStarted, Phase
from harmonia_compiler.runtime.actuators.compose import keeper as keeping
from harmonia_compiler.runtime.actuators.compose.keeper import Keeper
from harmonia_compiler.runtime.actuators.compose.preflight import preflight
from harmonia_compiler.runtime.actuators.supervision import rundir
from tests.compose.taken import Taken, kill_keeper, with_actuator
from tests.compose.test_files import written
from tests.compose.test_keeping import with_docker
from tests.emit.conftest import Planned


@pytest.mark.parametrize("phase", ["running", "starting"])
@pytest.mark.parametrize("known", ["one", ""])
def test_the_engine_that_is_known_is_not_forgotten_where_it_does_not_say_and_any_other_is_asked_again(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: Phase, known: str
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last(phase, rundir.Asked(), engine=known)
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    monkeypatch.setattr(keeping, "delay_s", lambda _: 0.0)

    def said() -> str:
        state = taken.run.read_state()
        assert state is not None
        return state.engine

    (taken.bin / "go").touch()
    with taken.kept():
        taken.until(lambda: taken.keeper._status().ready)
        looks = len(taken.called())
        taken.until(lambda: len(taken.called()) > looks + 3)
        assert said() == known
        (taken.bin / "engine").write_text("one\n")
        taken.until(lambda: said() == "one")


@pytest.mark.parametrize("other", ["another engine", "no docker", ""])
def test_containers_of_a_killed_keeper_are_looked_for_in_no_other_engine(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.say_lives()
    (taken.bin / "go").touch()
    (taken.bin / "engine").write_text("one\n")
    assert actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=lambda _: None)
    kill_keeper(taken.run)
    before = os.environ["PATH"]
    if other == "no docker":
        monkeypatch.setenv("PATH", with_docker(tmp_path / "none", None)["PATH"])
    (taken.bin / "engine").write_text("other" if other == "another engine" else other)
    if other:
        for _ in range(2):
            with pytest.raises(Rejected) as rejected:
                actuator.stop(bundle)
            assert [one.code for one in rejected.value.found] == ["E0922"]
            assert actuator.status(bundle).notes
        found = preflight(bundle, None, dict(os.environ))
        assert [("another engine" in one.message) for one in found if one.code == "E0922"] == [other != "no docker"]
        assert not (taken.bin / "ended").exists()
    monkeypatch.setenv("PATH", before)
    (taken.bin / "engine").write_text("one" if other else "")
    assert actuator.stop(bundle)
    assert " down " in (taken.bin / "ended").read_text()
    assert actuator.status(bundle) == NOTHING_LEFT


def test_a_keeper_stays_with_the_engine_that_it_began_with(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    (taken.bin / "context").write_text("one")
    (taken.bin / "engine").write_text("one")
    taken.start(actuator, bundle)
    (taken.bin / "context").write_text("other")
    looks, ends = len(taken.called()), time.monotonic() + 30.0
    while len(taken.called()) < looks + 3:
        assert time.monotonic() < ends
        time.sleep(0.02)
    assert actuator.stop(bundle)
    assert not (taken.bin / "elsewhere").exists()
    assert " down " in (taken.bin / "ended").read_text()
    assert actuator.status(bundle) == NOTHING_LEFT


def test_containers_are_not_said_to_be_gone_where_another_engine_answers_in_the_place_of_theirs(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    (taken.bin / "engine").write_text("one")
    taken.start(actuator, bundle)
    (taken.bin / "engine").write_text("two")
    (taken.bin / "only").write_text("nobody's")
    with pytest.raises(Rejected, match="E0922"):
        actuator.stop(bundle)
    (note,) = actuator.status(bundle).notes
    assert note.endswith(f"`harmoniac up {bundle}` takes them over")
    assert " down " not in (taken.bin / "ended").read_text()
    (taken.bin / "engine").write_text("one")
    (taken.bin / "only").unlink()
    assert actuator.stop(bundle)
    assert " down " in (taken.bin / "ended").read_text()
    assert actuator.status(bundle) == NOTHING_LEFT


@pytest.mark.parametrize("phase", ["running", "starting"])
def test_what_another_engine_has_nothing_of_is_not_started_in_it(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: Phase
) -> None:
    """Where the context changed between the command that looked at the engine and the keeper that it started."""
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.say_lives()
    (taken.bin / "context").write_text("other")
    taken.say_last(phase, rundir.Asked(), engine="one")
    with pytest.raises(NotStarted) as raised:
        actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=lambda _: None)
    assert "in another engine of Docker's" in raised.value.found[0].message
    assert not any(" up " in one or " down " in one for one in (taken.bin / "elsewhere").read_text().splitlines())
    state = taken.run.read_state()
    assert state is not None
    assert (state.engine, state.may_leave) == ("one", True)
    with pytest.raises(Rejected, match="E0922"):
        actuator.stop(bundle)
    (taken.bin / "context").write_text("one")
    (taken.bin / "engine").write_text("one")
    assert actuator.stop(bundle)
    assert " down " in (taken.bin / "ended").read_text()
    assert actuator.status(bundle) == NOTHING_LEFT


@pytest.mark.parametrize("is_found", [True, False])
@pytest.mark.parametrize("field", ["ID", "Name", "DockerRootDir"])
def test_an_engine_is_another_by_its_id_or_where_nothing_is_found_by_all_that_it_says_of_itself(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, *, is_found: bool
) -> None:
    """Two on one host may have the same ID, and those of two hosts the same folder; and hosts are named anew."""
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)

    def answers(*others: str) -> None:
        words = {"ID": "one", "Name": "host", "DockerRootDir": "/var/lib/docker"} | dict.fromkeys(others, "other")
        script = "".join(f"s|{{{{\\.{name}}}}}|{word}|g\n" for name, word in words.items())
        (taken.bin / "fields").write_text(script)

    answers()
    taken.start(actuator, bundle)
    kill_keeper(taken.run)
    answers(field)
    if not is_found:
        (taken.bin / "only").write_text("nobody's")
    if field == "ID" or not is_found:
        with pytest.raises(Rejected, match="E0922"):
            actuator.stop(bundle)
        assert [one.code for one in preflight(bundle, None, dict(os.environ)) if one.is_error] == ["E0922"]
        assert not (taken.bin / "ended").exists()
        answers()
    else:
        assert not [one for one in preflight(bundle, None, dict(os.environ)) if one.code == "E0922"]
    assert actuator.stop(bundle)
    assert is_found == (taken.bin / "ended").exists()
    assert actuator.status(bundle) == NOTHING_LEFT
