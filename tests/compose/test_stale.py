"""What is said of a service of which nobody knows any more how it stands."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoints
from harmonia_compiler.contract.decision import INSIDE
from harmonia_compiler.runtime.actuators.actuator import Failure, NotStarted, Phase, Status
from harmonia_compiler.runtime.actuators.compose import ACTUATOR
from harmonia_compiler.runtime.actuators.compose.containers import life_of
from harmonia_compiler.runtime.actuators.compose.keeper import Keeper
from harmonia_compiler.runtime.actuators.supervision import pids, rundir
from tests.compose.taken import Taken
from tests.compose.test_files import written
from tests.compose.test_moved import until
from tests.emit.conftest import Planned

SILENT = "whoever looks after it has said nothing since"
AWAY = "Docker does not answer: "


@contextmanager
def looked_after(run: rundir.RunDirectory) -> Iterator[pids.Ident]:
    """A service of which this process is the keeper."""
    lock, me = run.lock(), pids.identify(os.getpid())
    assert lock is not None
    assert me is not None
    try:
        run.sign(lock, me)
        yield me
    finally:
        os.close(lock)


def say(run: rundir.RunDirectory, status: Status, *, seen: float | None, trouble: str = "") -> None:
    me = pids.identify(os.getpid())
    assert me is not None
    state = rundir.State(me, status, folder=run.identity, seen=seen, trouble=trouble)
    run.write(rundir.STATE, msgspec.json.encode(state))


@pytest.mark.parametrize("trouble", ["", "Docker does not answer: it is away"])
def test_what_nobody_has_seen_for_a_while_is_not_said_to_be_so(
    tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = rundir.RunDirectory(tmp_path)
    run.prepare()
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    with looked_after(run):
        phases: tuple[Phase, ...] = ("running", "starting", "stopping")
        for phase in phases:
            for seen, age in ((None, 0), (999.0, 0), (1001.0, 0), (959.0, 40), (0.0, 1000)):
                say(run, Status(phase), seen=seen, trouble=trouble)
                status = ACTUATOR.status(tmp_path)
                is_stale = age > 0 and phase != "stopping"
                notes = (f"what is shown is more than {age} s old: {trouble or SILENT}",)
                assert (status.phase, status.is_stale, status.notes) == (phase, is_stale, notes if is_stale else ())
                assert status.ready == (phase == "running" and not is_stale)
        # Whoever stops what did not come up says nothing anew until it has.
        say(run, Status("starting", failure=Failure("a", "it ended")), seen=0.0)
        assert not ACTUATOR.status(tmp_path).is_stale


def test_that_nothing_can_be_written_is_said_where_no_keeper_can_say_it(tmp_path: Path) -> None:
    run = rundir.RunDirectory(tmp_path)
    run.prepare()
    with looked_after(run):
        say(run, Status("running"), seen=time.monotonic() - 41.0, trouble="what it said last")
        run.logs.rmdir()
        run.logs.touch()
        (note,) = ACTUATOR.status(tmp_path).notes
    assert note == f"what is shown is more than 40 s old: `{run.path}` cannot be written (File exists)"


def test_whoever_asks_for_a_service_waits_until_somebody_sees_it_again(tmp_path: Path) -> None:
    run, seen = rundir.RunDirectory(tmp_path), list[Status]()
    run.prepare()
    with looked_after(run):
        say(run, Status("running"), seen=time.monotonic() - 41.0, trouble="Docker does not answer: it is away")
        with pytest.raises(NotStarted) as raised:
            ACTUATOR.start(tmp_path, port=None, reembed=False, timeout_s=0.5, watch=seen.append)
        (why,) = raised.value.found
        assert why.message == (
            f"`{tmp_path}` was started before, and nobody knows whether it is ready: "
            "what is shown is more than 40 s old: Docker does not answer: it is away"
        )
        assert all(status.is_stale for status in seen)

        def watch(_: Status) -> None:
            say(run, Status("running"), seen=time.monotonic())

        say(run, Status("running"), seen=time.monotonic() - 41.0)
        assert not ACTUATOR.start(tmp_path, port=None, reembed=False, timeout_s=60.0, watch=watch)


def test_a_keeper_says_that_docker_does_not_answer_and_since_when(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)

    def said() -> rundir.State:
        state = taken.run.read_state()
        assert state is not None
        return state

    for name in ("go", "away"):
        (taken.bin / name).touch()
    # Also where it does not answer from the beginning, and the service was up.
    taken.say_last("running", rundir.Asked())
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    with taken.kept():
        taken.until(lambda: said().trouble.startswith(AWAY))
        (taken.bin / "away").unlink()
        taken.until(lambda: said().status.ready and not said().trouble.startswith(AWAY))
        (taken.bin / "away").touch()
        taken.until(lambda: said().trouble.startswith(AWAY))
        seen, looks = said().seen, len((taken.bin / "sought").read_text())
        taken.until(lambda: len((taken.bin / "sought").read_text()) > looks + 3)
        assert said().seen == seen is not None
        (taken.bin / "away").unlink()
        taken.until(lambda: not said().trouble.startswith(AWAY))
        assert (said().seen or 0.0) > seen


@pytest.mark.parametrize("was_up", [False, True])
def test_a_first_start_of_which_nothing_can_be_said_is_given_up_and_what_is_up_goes_on(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, was_up: bool
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    if was_up:
        taken.say_last("running", rundir.Asked())
        taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    # In the place of what is written beside it first.
    draft = taken.run.path / f".{rundir.STATE}.{os.getpid()}"
    with taken.kept():
        taken.until(lambda: taken.opened() == ["search-0"])
        draft.mkdir()
        if was_up:
            looks = len(taken.called())
            taken.until(lambda: len(taken.called()) > looks + 3)
        else:
            until((taken.bin / "ended").exists)
            assert taken.keeper._failure is not None
            assert taken.keeper._failure.reason.startswith("this machine refuses it: ")
        draft.rmdir()
    assert (taken.keeper._failure is None) == was_up


def test_what_the_gateway_could_not_be_told_it_is_told_later(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    place = taken.run.path / INSIDE / rundir.ENDPOINTS
    shutil.rmtree(place.parent)
    place.parent.write_text("")
    for one in taken.keeper._watched.values():
        one.adopt(life_of(taken.lives[one.name]))
        one.life = life_of(taken.lives[one.name])
    taken.keeper._places.write(taken.keeper._watched)
    place.parent.unlink()
    taken.keeper._places.write(taken.keeper._watched)
    told = msgspec.json.decode(place.read_bytes(), type=Endpoints)
    assert {one.replica for one in told.replicas} == {*taken.names}
    # Nor is it said anew, unless somebody removed it: one that starts again would find nobody.
    before = place.read_bytes(), place.stat().st_ino
    taken.keeper._places.write(taken.keeper._watched)
    assert (place.read_bytes(), place.stat().st_ino) == before
    place.unlink()
    taken.keeper._places.write(taken.keeper._watched)
    assert place.read_bytes() == before[0]
