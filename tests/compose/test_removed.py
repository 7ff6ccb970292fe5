"""Somebody removes what lies under `run/` of a service of containers: it goes on, and what was there is put back."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harmonia_compiler.contract.decision import INSIDE
from harmonia_compiler.contract.readings import TOKEN
from harmonia_compiler.runtime.actuators.actuator import Failure
from harmonia_compiler.runtime.actuators.compose import keeper as keeping
from harmonia_compiler.runtime.actuators.compose import preparing
from harmonia_compiler.runtime.actuators.compose.containers import Life
from harmonia_compiler.runtime.actuators.supervision import rundir
from tests.compose.taken import Taken
from tests.compose.test_files import written
from tests.compose.test_keeping import inspected
from tests.compose.test_moved import until
from tests.emit.conftest import Planned


@pytest.fixture
def taken(late: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Taken:
    written(late, tmp_path / "bundle")
    monkeypatch.setenv("ANSWERS_KEY", "a key")
    found = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    (found.bin / "go").touch()
    return found


def again(life: dict[str, Any]) -> dict[str, Any]:
    """The next life of a container."""
    return {**life, "State": {**life["State"], "StartedAt": "2026-01-01T00:00:09Z"}}


def notes(taken: Taken) -> tuple[str, ...]:
    """What whoever asks is told beside how all stands."""
    state = taken.run.read_state()
    assert state is not None
    return state.status.notes


def await_look(taken: Taken) -> None:
    """Return once it has looked again."""
    seen = taken.keeper._seen
    taken.until(lambda: taken.keeper._seen != seen)


def test_a_service_that_is_up_goes_on_where_its_logs_are_removed_and_a_container_starts_again(taken: Taken) -> None:
    name = taken.names[0]
    logs = [taken.run.log_of(one) for one in (*taken.lives, "supervisor")]
    with taken.kept():
        taken.until(lambda: taken.keeper._status().ready)
        shutil.rmtree(taken.run.logs, ignore_errors=True)
        taken.lives[name] = again(taken.lives[name])
        taken.say_lives()
        taken.until(lambda: all(log.is_file() for log in logs) and taken.keeper._status().ready)
        assert not notes(taken)
    assert taken.keeper._failure is None


@pytest.mark.parametrize("name", ["minilm-0", "supervisor"])
def test_what_cannot_be_put_back_is_told_and_ends_no_service_that_is_up(taken: Taken, name: str) -> None:
    log = taken.run.log_of(name)
    with taken.kept():
        taken.until(lambda: taken.keeper._status().ready)
        while not log.is_dir():
            # It may be put back between the two.
            log.unlink(missing_ok=True)
            with suppress(FileExistsError):
                log.mkdir()
        taken.until(lambda: bool(notes(taken)))
        (note,) = notes(taken)
        assert note.startswith("its keeper cannot do all that it should: ")
        assert str(log) in note
        # All else is seen to as before, of that container and of others.
        well = {one: again(life) for one, life in taken.lives.items()}
        taken.lives = dict.fromkeys(well, again(inspected("running", "starting")))
        taken.say_lives()
        watched = taken.keeper._watched.values()
        taken.until(lambda: {one.status.phase for one in watched} == {"restarting"})
        assert notes(taken)
        taken.lives = well
        taken.say_lives()
        taken.until(lambda: taken.keeper._status().ready)
        log.rmdir()
        taken.until(lambda: log.is_file() and not notes(taken))
    assert taken.keeper._failure is None


def test_what_containers_find_on_their_host_is_put_back_as_it_was(taken: Taken) -> None:
    inside = taken.run.path / INSIDE
    names = [*preparing.laid_out(taken.keeper._documents), f"{INSIDE}/{rundir.ENDPOINTS}"]
    there = [taken.run.path / name for name in names]
    with taken.kept():
        taken.until(lambda: taken.keeper._status().ready and all(path.exists() for path in there))
        before = {path: path.read_bytes() for path in there if path.is_file()}
        assert {inside / TOKEN, taken.run.path / preparing.SECRETS / "ANSWERS_KEY"} < before.keys()
        for folder in (INSIDE, preparing.CONTROL, preparing.SECRETS):
            shutil.rmtree(taken.run.path / folder, ignore_errors=True)
        for path in (taken.run.path / TOKEN, taken.run.path / "compose.env"):
            path.unlink()
        taken.until(lambda: all(path.exists() for path in there))
        assert {path: path.read_bytes() for path in before} == before
    assert taken.keeper._failure is None


def test_what_is_put_in_the_place_of_something_else_is_mended_or_told_once(
    taken: Taken, caplog: pytest.LogCaptureFixture
) -> None:
    socket, variables = taken.run.path / preparing.CONTROL / "actuator.sock", taken.run.path / "compose.env"
    secrets, keeper = taken.run.path / preparing.SECRETS, taken.keeper
    with taken.kept():
        taken.until(lambda: keeper._status().ready)
        plain = taken.run.path / "plain"
        plain.write_text("")
        plain.rename(socket)
        while not variables.is_dir():
            # It may be put back between the two, as below.
            variables.unlink(missing_ok=True)
            with suppress(FileExistsError):
                variables.mkdir()
        taken.until(lambda: socket.is_socket() and variables.is_file())
        assert variables.with_name("compose.env.folder-1").is_dir()
        assert not notes(taken)
        while not secrets.is_file():
            shutil.rmtree(secrets, ignore_errors=True)
            with suppress(IsADirectoryError):
                secrets.write_text("")
        taken.until(lambda: bool(notes(taken)))
        (note,) = notes(taken)
        assert str(secrets) in note
        for _ in range(2):
            await_look(taken)
        told = note.replace("its keeper cannot do all that it should", "this machine refuses it")
        assert caplog.messages[-1] == told
        assert caplog.messages.count(told) == 1
        secrets.unlink()
        taken.until(lambda: secrets.is_dir() and not notes(taken))
    assert keeper._failure is None


def test_a_first_start_ends_where_the_log_of_a_container_cannot_be_written(taken: Taken) -> None:
    log = taken.run.log_of(taken.names[0])
    log.mkdir()
    with taken.kept():
        until((taken.bin / "ended").exists)
    assert taken.keeper._failure is not None
    assert taken.keeper._failure.reason.startswith("this machine refuses it: ")


def test_the_last_words_of_a_start_that_fails_are_had_before_its_containers_are_removed(
    taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_HEARD_OUT_S", 60.0)
    name = taken.names[0]
    # They are told once it has ended, and by nobody once it is removed.
    (taken.bin / "says").write_text(name)
    del taken.lives[name]
    with taken.kept():
        taken.until(lambda: len(taken.called()) > 1)
        taken.lives[name] = {**inspected("restarting", ExitCode=1), "RestartCount": 3}
        taken.say_lives()
        until(lambda: taken.keeper._phase == "failed")
    assert taken.keeper._failure == Failure(name, "it ended with exit code 1 before it was ready")
    assert taken.run.log_of(name).read_text() == "its last words\n"


def test_who_ended_is_told_where_docker_gives_up_a_start_for_it(taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, name = taken.keeper, taken.names[0]
    taken.lives = dict.fromkeys(taken.lives, inspected("running", "starting"))
    (taken.bin / "long_up").touch()
    asks = keeper._lives

    def lives() -> dict[str, Life]:
        """What is told a moment before it ends, and Docker gives up."""
        found = asks()
        if keeper._starting is not None and not found[name].has_ended:
            keeper._starting.kill()
            os.waitid(os.P_PID, keeper._starting.pid, os.WEXITED | os.WNOWAIT)
            taken.lives[name] = {**inspected("restarting", "starting", ExitCode=1), "RestartCount": 1}
            taken.say_lives()
        return found

    monkeypatch.setattr(keeper, "_lives", lives)
    with taken.kept():
        until(lambda: keeper._failure is not None)
    assert keeper._failure == Failure(name, "it ended with exit code 1 before it was ready")


@pytest.mark.parametrize("ends_again", [False, True])
def test_what_had_ended_before_a_start_is_no_failure_of_it(taken: Taken, *, ends_again: bool) -> None:
    well = dict(taken.lives)
    taken.lives = dict.fromkeys(well, inspected("exited", "starting", ExitCode=143))
    with taken.kept():
        taken.until(lambda: len(taken.called()) > 3)
        taken.lives = {name: again(life) for name, life in well.items()}
        if ends_again:
            taken.lives[taken.names[0]] = again(inspected("exited", "starting", ExitCode=3))
        taken.say_lives()
        if ends_again:
            until(lambda: taken.keeper._failure is not None)
        else:
            taken.until(lambda: taken.keeper._status().ready)
    why = taken.keeper._failure
    assert (None if why is None else why.reason) == (
        "it ended with exit code 3 before it was ready" if ends_again else None
    )


def test_a_first_start_is_given_up_where_docker_is_away_for_long(taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    taken.lives = dict.fromkeys(taken.lives, inspected("running", "starting"))
    monkeypatch.setattr(keeping, "_UNSEEN_S", 0.0)
    with taken.kept():
        taken.until(lambda: len(taken.called()) > 1)
        (taken.bin / "away").touch()
        until(lambda: taken.keeper._failure is not None)
        (taken.bin / "away").unlink()
    assert taken.keeper._failure is not None
    assert taken.keeper._failure.reason.startswith("Docker does not answer: ")
