"""Commands that meet another one at the same service, and wait for it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Timer

import pytest

from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.actuator import NotStarted, Status
from harmonia_compiler.runtime.actuators.local import ACTUATOR
from harmonia_compiler.runtime.actuators.supervision import rundir
from harmonia_compiler.runtime.actuators.supervision.culprit import state_by
from harmonia_compiler.runtime.actuators.supervision.pids import identify
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory

from .conftest import Hand, launch, until


@pytest.fixture
def cleaning(hand: Hand) -> int:
    """The lock of a command that cleans up: nobody is named in it."""
    hand.write(one=launch())
    run = RunDirectory(hand.path)
    run.prepare()
    lock = run.lock()
    assert lock is not None
    return lock


def test_a_service_that_another_command_stops_is_waited_for(hand: Hand, cleaning: int) -> None:
    Timer(0.5, os.close, [cleaning]).start()
    assert hand.down() is True


def test_what_takes_too_long_to_stop_is_said(hand: Hand, cleaning: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir, "_PASSING_S", 0.1)
    with pytest.raises(Rejected, match="E0911: another command is stopping `bundle` right now"):
        hand.down()
    os.close(cleaning)


def test_a_start_waits_until_another_command_has_cleaned_up(hand: Hand, cleaning: int) -> None:
    Timer(0.5, os.close, [cleaning]).start()
    assert hand.up() is True


def test_what_another_command_has_begun_to_start_is_not_stopped(
    hand: Hand, cleaning: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        holder = identify(other.pid)
        assert holder is not None

        def signed(run: RunDirectory) -> None:
            run.sign(cleaning, holder)

        monkeypatch.setattr(RunDirectory, "try_lock", signed)
        with pytest.raises(Rejected, match="E0911: another command is starting `bundle` right now"):
            hand.down()
        monkeypatch.undo()
        other.kill()
    os.close(cleaning)


class Waiting:
    """An `up` that waits for what another one starts, and looks away from when it has seen the first of it."""

    def __init__(self, hand: Hand) -> None:
        self._hand = hand
        self.has_seen, self.looks_again = Event(), Event()

    def up(self) -> bool:
        return ACTUATOR.start(self._hand.path, port=None, reembed=False, timeout_s=30.0, watch=self._watch)

    def _watch(self, _: Status) -> None:
        self.has_seen.set()
        assert self.looks_again.wait(30)


@contextmanager
def started_and_waited_for(hand: Hand) -> Iterator[tuple[Waiting, Future[NotStarted], Future[bool]]]:
    """Somebody who starts a service that is slow to, and fails; and another one, who has seen its first state."""
    hand.write(one=launch("--slow-s", "60"))
    waiting = Waiting(hand)
    with ThreadPoolExecutor() as people:
        first = people.submit(hand.fails)
        until(lambda: any(process.pid for process in hand.status().processes))
        second = people.submit(waiting.up)
        assert waiting.has_seen.wait(30)
        yield waiting, first, second


def test_who_waits_is_told_why_a_start_failed_also_once_it_is_cleaned_up(hand: Hand) -> None:
    with started_and_waited_for(hand) as (waiting, first, second):
        pid = hand.process("one").pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        reason = str(first.result())
        assert "`one` did not become ready: it ended with SIGKILL" in reason
        until(lambda: hand.status().phase == "down")
        hand.assert_nothing_left()
        waiting.looks_again.set()
        with pytest.raises(NotStarted) as failure:
            second.result()
    assert str(failure.value) == reason


def test_who_waits_for_a_supervisor_that_is_killed_is_not_told_of_a_stop(hand: Hand) -> None:
    with started_and_waited_for(hand) as (waiting, first, second):
        supervisor = RunDirectory(hand.path).holder()
        assert supervisor is not None
        os.kill(supervisor.pid, signal.SIGKILL)
        assert "`supervisor` did not become ready: it ended" in str(first.result())
        waiting.looks_again.set()
        with pytest.raises(NotStarted, match="`supervisor` did not become ready: it ended"):
            second.result()


def test_a_folder_that_is_taken_away_is_not_said_to_be_a_stop(hand: Hand) -> None:
    hand.write(one=launch("--slow-s", "60"))
    with ThreadPoolExecutor() as people:
        first = people.submit(hand.fails)
        until(lambda: any(process.pid for process in hand.status().processes))
        (hand.path / "run").rename(hand.path / "away")
        assert "`supervisor` did not become ready: it ended" in str(first.result())


def test_how_an_earlier_service_ended_is_nothing_of_a_later_ones(hand: Hand) -> None:
    hand.write(one=launch())
    hand.up()
    run = RunDirectory(hand.path)
    first = run.holder()
    assert first is not None
    hand.down()
    ended = state_by(first, run)
    assert ended is not None
    assert ended.supervisor == first
    later = identify(os.getpid())
    assert later not in (None, first)
    assert state_by(later, run) is None
