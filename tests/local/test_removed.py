"""Somebody removes files of the run directory under a running service: it is seen, used and stopped all the same."""

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.runtime.actuators.actuator import ProcessStatus, Status
from harmonia_compiler.runtime.actuators.supervision.ending import HELD_BY_ANOTHER
from harmonia_compiler.runtime.actuators.supervision.keeper import keeper_of
from harmonia_compiler.runtime.actuators.supervision.pids import SUPERVISES, Ident, identify, is_alive, marked_with
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory, State
from harmonia_compiler.runtime.bundle import GATEWAY, SUPERVISOR

from .conftest import Hand, launch, until

pytestmark = pytest.mark.slow

FILES = ("lock", "state.json", "endpoints.json", "gateway.json")
REMOVED = [("lock",), FILES]
SUPERVISE = [sys.executable, "-P", "-m", "harmonia_compiler.runtime.actuators.supervisor"]
#: How long a command has to look at the run directory as it was left, before its supervisor goes on.
LOOKED_S = 1.0


@pytest.fixture
def running(hand: Hand) -> Hand:
    hand.write(one=launch(), two=launch())
    hand.up()
    return hand


def supervisor_of(hand: Hand) -> Ident:
    found = keeper_of(hand.path, RunDirectory(hand.path))
    assert found is not None
    return found


@contextmanager
def robbed(hand: Hand, names: tuple[str, ...] = ("lock",)) -> Iterator[Ident]:
    """The supervisor, which has no time to put back what was removed."""
    with hand.halted() as supervisor:
        for name in names:
            (hand.path / "run" / name).unlink()
        yield supervisor


def left_in(folder: Path) -> dict[str, object]:
    """What the files hold, but for when the service was last seen, which goes on."""
    holds: dict[str, object] = {name: (folder / name).read_bytes() for name in FILES}
    state = RunDirectory(folder.parent).read_state()
    assert state is not None
    assert state.seen is not None
    return holds | {"state.json": msgspec.structs.replace(state, seen=None)}


def make_say(hand: Hand, word: str) -> None:
    """Has the process `one` write a word into its log."""
    urllib.request.urlopen(f"http://127.0.0.1:{hand.process('one').port}/{word}", b"", timeout=5).close()


def await_words(log: Path, words: str) -> None:
    until(lambda: log.exists() and words in log.read_text())


@pytest.mark.parametrize("names", REMOVED, ids=["lock", "all"])
def test_down_ends_a_supervisor_whose_files_were_removed(running: Hand, names: tuple[str, ...]) -> None:
    with ThreadPoolExecutor() as people:
        with robbed(running, names) as supervisor:
            down = people.submit(running.down)
            wait([down], LOOKED_S)
        assert down.result() is True
    assert not is_alive(supervisor)
    running.assert_nothing_left()


def test_status_tells_the_truth_where_the_lock_was_removed(running: Hand) -> None:
    with robbed(running):
        assert running.status().ready
        assert running.status().notes == ()


def test_a_service_that_just_cannot_say_how_it_is_does_not_count_as_down(running: Hand) -> None:
    with robbed(running, FILES):
        assert running.status().phase == "starting"
    until(lambda: running.status().ready)


@pytest.mark.parametrize("names", REMOVED, ids=["lock", "all"])
def test_a_second_up_starts_no_second_supervisor(running: Hand, names: tuple[str, ...]) -> None:
    pids = {process.name: process.pid for process in running.status().processes}
    with ThreadPoolExecutor() as people:
        with robbed(running, names) as supervisor:
            second = people.submit(running.up)
            wait([second], LOOKED_S)
        assert second.result() is False
    assert marked_with(running.path, SUPERVISES) == [supervisor]
    assert {process.name: process.pid for process in running.status().processes} == pids


def test_a_supervisor_that_gets_the_lock_of_a_live_one_leaves_it_alone(running: Hand) -> None:
    with robbed(running) as supervisor:
        done = subprocess.run([*SUPERVISE, str(running.path)], check=False, timeout=30)
    assert done.returncode == HELD_BY_ANOTHER
    until(lambda: RunDirectory(running.path).is_held())
    assert supervisor_of(running) == supervisor
    assert running.status().ready


def test_a_supervisor_that_was_replaced_ends_and_leaves_its_successor_alone(running: Hand) -> None:
    with robbed(running, FILES) as supervisor:
        with subprocess.Popen([*SUPERVISE, str(running.path)]) as successor:
            until((running.path / "run" / "state.json").exists)
            os.kill(supervisor.pid, signal.SIGCONT)
            until(lambda: not is_alive(supervisor))
            until(lambda: running.status().ready)
            assert supervisor_of(running).pid == successor.pid
            running.down()
        assert successor.returncode == 0
    running.assert_nothing_left()


def test_what_was_removed_is_put_back(running: Hand) -> None:
    folder = running.path / "run"
    before = left_in(folder)
    for name in FILES:
        (folder / name).unlink()
    until(lambda: all((folder / name).exists() for name in FILES))
    until(lambda: left_in(folder) == before)
    assert RunDirectory(running.path).is_held()
    (folder / "lock").write_text("")
    (folder / "endpoints.json").write_text("[]")
    until(lambda: left_in(folder) == before)
    running.down()
    running.assert_nothing_left()


def test_a_folder_in_the_place_of_a_file_is_moved_beside_it(running: Hand) -> None:
    folder = running.path / "run"
    for name in FILES:
        (folder / name).unlink()
        (folder / name).mkdir()
        (folder / name / "mine").write_text("kept")
    until(lambda: all((folder / name).is_file() for name in FILES))
    until(lambda: running.status().ready and RunDirectory(running.path).is_held())
    kept = [folder / f"{name}.folder-1" for name in FILES]
    assert [(path / "mine").read_text() for path in kept] == ["kept"] * len(FILES)
    running.down()
    for path in kept:
        shutil.rmtree(path)
    running.assert_nothing_left()


def test_a_folder_in_the_place_of_the_state_stops_no_start(hand: Hand) -> None:
    hand.write(one=launch())
    (hand.path / "run" / "state.json").mkdir(parents=True)
    assert hand.up() is True
    assert hand.status().ready
    assert hand.down() is True
    (hand.path / "run" / "state.json.folder-1").rmdir()
    hand.assert_nothing_left()


def test_logs_that_were_removed_are_begun_anew(running: Hand) -> None:
    logs = running.path / "run" / "logs"
    shutil.rmtree(logs)
    for name in ("one", "two", GATEWAY, SUPERVISOR):
        until((logs / f"{name}.log").exists)
    for word in ("first", "second"):
        make_say(running, word)
        await_words(logs / "one.log", word)
    os.kill(running.process("two").pid or 0, signal.SIGKILL)
    await_words(logs / f"{SUPERVISOR}.log", "two: it ended with SIGKILL")
    make_say(running, "last")
    running.down()
    assert (logs / "one.log").read_text().replace("warmed up by", "").split() == ["/first", "/second", "/last"]


def test_a_log_that_was_moved_away_is_the_next_life_s_no_more(running: Hand) -> None:
    logs = running.path / "run" / "logs"
    make_say(running, "before")
    await_words(logs / "one.log", "before")
    (logs / "one.log").rename(logs / "mine")
    os.kill(running.process("one").pid or 0, signal.SIGKILL)
    until(lambda: running.process("one").restarts == 1 and running.status().ready)
    make_say(running, "after")
    await_words(logs / "one.log", "after")
    assert (logs / "mine").read_text().replace("warmed up by", "").split() == ["/before"]


def test_a_lock_is_put_back_while_the_service_is_still_starting(hand: Hand) -> None:
    hand.write(one=launch("--slow-s", "4"))
    with ThreadPoolExecutor() as people:
        first = people.submit(hand.up)
        until(lambda: bool(hand.status().processes))
        (hand.path / "run" / "lock").unlink()
        until(lambda: RunDirectory(hand.path).is_held())
        assert hand.status().phase == "starting"
        assert first.result() is True


def test_a_copy_of_a_running_bundle_is_not_that_service(running: Hand, tmp_path: Path) -> None:
    copy = Hand(tmp_path.resolve() / "copy")
    shutil.copytree(running.path, copy.path)
    pids = {process.name: process.pid for process in running.status().processes}
    assert copy.status().phase == "down"
    assert copy.up() is True
    assert {process.pid for process in copy.status().processes}.isdisjoint(pids.values())
    assert copy.down() is True
    assert {process.name: process.pid for process in running.status().processes} == pids
    assert running.status().ready
    copy.assert_nothing_left()


def test_whom_a_foreign_bundle_names_is_left_alone(hand: Hand) -> None:
    hand.write(one=launch())
    run = RunDirectory(hand.path)
    run.prepare()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as stranger:
        named = identify(stranger.pid)
        assert named is not None
        process = ProcessStatus("one", "one", "ready", 0.0, pid=named.pid, birth=named.birth)
        run.write("lock", msgspec.json.encode(named))
        run.write("state.json", msgspec.json.encode(State(named, Status("running", (process,)), folder="0:0")))
        assert hand.status().phase == "down"
        hand.down()
        assert is_alive(named)
        stranger.kill()
    hand.assert_nothing_left()
