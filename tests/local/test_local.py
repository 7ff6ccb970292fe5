"""The supervisor and its processes, all real: what is started comes up, stays up, and goes away whole."""

import ctypes
import json
import os
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import psutil
import pytest

from harmonia_compiler.contract.launch import Probe, Wire
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.actuator import NotStarted, Status
from harmonia_compiler.runtime.actuators.local import ACTUATOR
from harmonia_compiler.runtime.actuators.supervision.pids import Ident, identify, is_alive
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory, State
from tests.ports import free_port

from .conftest import Hand, answers, launch, until


def _kill_supervisor(hand: Hand) -> None:
    holder = RunDirectory(hand.path).holder()
    assert holder is not None
    os.kill(holder.pid, signal.SIGKILL)
    until(lambda: not is_alive(holder))


def _only_child(pid: int | None) -> Ident:
    (child,) = psutil.Process(pid).children()
    found = identify(child.pid)
    assert found is not None
    return found


def test_up_status_down(hand: Hand) -> None:
    hand.write(one=launch(), two=launch())
    began = time.monotonic()
    assert hand.up() is True
    status = hand.status()
    assert status.ready
    assert [process.name for process in status.processes] == ["one", "two", "gateway"]
    assert hand.endpoints() == {name: hand.process(name).port for name in ("one", "two")}
    told = json.loads((hand.path / "run" / "endpoints.json").read_text())["replicas"]
    took = {one["replica"]: one["started_in_s"] for one in told}
    assert took == {name: hand.process(name).started_in_s for name in ("one", "two")}
    assert all(0.0 < seconds < time.monotonic() - began for seconds in took.values())
    address = json.loads((hand.path / "run" / "gateway.json").read_text())
    assert address == {"host": "127.0.0.1", "port": hand.process("gateway").port}
    assert answers(address["port"])
    for name in ("state.json", "endpoints.json", "gateway.json", "lock"):
        assert stat.S_IMODE((hand.path / "run" / name).stat().st_mode) == 0o600
    assert hand.down() is True
    hand.assert_nothing_left()
    assert hand.status().phase == "down"
    assert hand.down() is False


def test_progress_says_what_is_waited_for(hand: Hand) -> None:
    hand.write(one=launch("--slow-s", "1"))
    hand.up()
    waits = {process.waiting_for for status in hand.seen for process in status.processes}
    assert any("/health: connection refused" in wait for wait in waits)


def test_a_second_up_starts_nothing(hand: Hand) -> None:
    hand.write(one=launch())
    hand.up()
    before = hand.process("one").pid
    assert hand.up() is False
    assert hand.process("one").pid == before


@pytest.mark.slow
def test_a_second_up_leaves_a_service_alone_in_which_something_is_down(hand: Hand) -> None:
    hand.write(one=launch("--slow-s", "2"))
    hand.up()
    pid = hand.process("one").pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: hand.process("one").phase == "restarting")
    assert hand.up(timeout_s=0.1) is False
    until(lambda: hand.status().ready)


def test_two_ups_at_once_start_one_service(hand: Hand) -> None:
    hand.write(one=launch("--slow-s", "1"))
    with ThreadPoolExecutor() as people:
        assert sorted(people.map(lambda _: hand.up(), range(2))) == [False, True]
    hand.down()
    hand.assert_nothing_left()


@pytest.mark.slow
def test_an_up_beside_one_that_still_starts_stops_nothing_and_says_so(hand: Hand) -> None:
    hand.write(one=launch("--slow-s", "3"))
    with ThreadPoolExecutor() as people:
        first = people.submit(hand.up)
        until(lambda: hand.status().phase == "starting" and bool(hand.status().processes))
        with pytest.raises(NotStarted) as late:
            hand.up(timeout_s=0.5)
        assert late.value.found[0].help.startswith("another `up` started it, and it goes on: ")
        assert first.result() is True


def test_a_killed_replica_is_noticed_and_restarted(hand: Hand) -> None:
    hand.write(one=launch("--child"), two=launch())
    hand.up()
    epoch = json.loads((hand.path / "run" / "endpoints.json").read_text())["epoch"]
    before = hand.process("one")
    assert before.pid is not None
    child = _only_child(before.pid)
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: hand.process("one").phase == "restarting")
    assert not hand.status().ready
    assert hand.process("one").last_exit == "SIGKILL"
    assert hand.endpoints().keys() == {"two"}
    until(lambda: hand.status().ready)
    after = hand.process("one")
    assert (after.restarts, after.port) == (1, before.port)
    assert after.pid != before.pid
    assert not is_alive(child), "what the dead replica had started went with it"
    assert json.loads((hand.path / "run" / "endpoints.json").read_text())["epoch"] == epoch + 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of the end of processes that are no children")
def test_an_engine_that_ends_with_a_process_of_its_own_is_said_to(hand: Hand) -> None:
    hand.write(one=launch("--ends-with-child"))
    hand.up()
    os.kill(_only_child(hand.process("one").pid).pid, signal.SIGKILL)
    until(lambda: hand.process("one").phase == "restarting")
    # The signal is known where its parent has not heard of it before us.
    assert re.fullmatch(r"exit code 0, after its sleep( \(SIGKILL\))? had ended", hand.process("one").last_exit)
    until(lambda: hand.status().ready)


@pytest.fixture
def orphanage() -> Iterator[None]:
    """What a supervisor does not adopt becomes this process's child, which waits for none: as a zombie it stays."""
    set_subreaper = 36
    prctl = ctypes.CDLL(None).prctl
    prctl(set_subreaper, 1, 0, 0, 0)
    yield
    prctl(set_subreaper, 0, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere process 1 waits for orphans")
@pytest.mark.usefixtures("orphanage")
def test_what_a_killed_replica_leaves_behind_is_waited_for(hand: Hand) -> None:
    hand.write(one=launch("--child"))
    hand.up()
    replica, child = hand.process("one").pid, _only_child(hand.process("one").pid)
    assert replica is not None
    os.kill(replica, signal.SIGKILL)
    until(lambda: hand.process("one").phase == "restarting")
    assert not psutil.pid_exists(child.pid)
    until(lambda: hand.status().ready)
    child = _only_child(hand.process("one").pid)
    hand.down()
    assert not psutil.pid_exists(child.pid)


def test_a_killed_gateway_comes_back_on_its_port(hand: Hand) -> None:
    hand.write(one=launch())
    hand.up()
    before = hand.process("gateway")
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: hand.process("gateway").restarts == 1 and hand.status().ready)
    assert hand.process("gateway").port == before.port


def test_a_gateway_that_lost_its_port_is_found_on_its_next(hand: Hand) -> None:
    hand.write(one=launch())
    hand.up()
    before = hand.process("gateway")
    pid, port = before.pid, before.port
    assert pid is not None
    assert port is not None
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        os.kill(pid, signal.SIGKILL)
        until(lambda: not answers(port))
        taker.bind(("127.0.0.1", port))
        taker.listen()
        until(lambda: hand.process("gateway").restarts == 1 and hand.status().ready)
        after = hand.process("gateway").port
    assert after != port
    assert json.loads((hand.path / "run" / "gateway.json").read_text())["port"] == after
    assert hand.status().url == f"http://127.0.0.1:{after}"


def test_killing_the_supervisor_ends_its_children(hand: Hand) -> None:
    hand.write(one=launch("--child"), two=launch())
    hand.up()
    pids = [process.pid for process in hand.status().processes if process.pid]
    _kill_supervisor(hand)
    until(lambda: not any(identify(pid) for pid in pids))
    status = hand.status()
    assert status.phase == "down"
    assert "supervisor ended" in status.notes[0]
    assert hand.down() is True
    hand.assert_nothing_left()


def test_up_cleans_up_after_a_killed_supervisor(hand: Hand) -> None:
    hand.write(one=launch("--child"))
    hand.up()
    grandchild = _only_child(hand.process("one").pid)
    _kill_supervisor(hand)
    assert hand.up() is True
    assert not is_alive(grandchild)
    assert hand.status().ready


def test_a_service_whose_folder_is_removed_ends_by_itself(hand: Hand) -> None:
    hand.write(one=launch())
    hand.up()
    holder = RunDirectory(hand.path).holder()
    replica = identify(hand.process("one").pid or 0)
    assert holder is not None
    assert replica is not None
    shutil.rmtree(hand.path)
    until(lambda: not is_alive(holder) and not is_alive(replica))


def test_a_failing_probe_stops_everything_and_shows_the_log(hand: Hand) -> None:
    failing = launch("--status", "503", "--says", "loading shard 3", probe=Probe("http", "/health", 1.0))
    hand.write(one=launch(), two=failing)
    failure = hand.fails()
    assert failure.process == "two"
    assert "loading shard 3" in failure.said
    assert "still fails after 1 s: answers 503: the model is still loading" in failure.found[0].message
    hand.assert_nothing_left()


def test_a_replica_that_ends_at_once_fails_the_start(hand: Hand) -> None:
    hand.write(one=launch(), two=launch("--exits", "3", "--says", "no such model"))
    failure = hand.fails()
    assert failure.process == "two"
    assert "exit code 3" in failure.found[0].message
    assert failure.said == ["no such model"]
    hand.assert_nothing_left()


def test_a_command_that_does_not_exist_fails_the_start(hand: Hand) -> None:
    missing = launch()
    hand.write(one=type(missing)(("/no/such/engine",), missing.probe))
    assert hand.fails().said == ["/no/such/engine cannot be started: No such file or directory"]
    hand.assert_nothing_left()


@pytest.mark.slow
def test_a_start_that_takes_too_long_is_given_up(hand: Hand) -> None:
    hand.write(one=launch("--slow-s", "60"))
    failure = hand.fails(timeout_s=6.0)
    assert "`one` did not become ready: after 6 s in all it still waits for GET" in failure.found[0].message
    hand.assert_nothing_left()


def test_a_start_that_is_ended_leaves_no_traceback_in_the_log(hand: Hand) -> None:
    hand.write(one=launch("--slow-s", "60"))
    with ThreadPoolExecutor() as people:
        first = people.submit(hand.up)
        until(lambda: [one.phase for one in hand.status().processes if one.name == "one"] == ["starting"])
        assert hand.down()
        assert "E0927" in str(first.exception())
    assert "Traceback" not in (hand.path / "run/logs/supervisor.log").read_text()


def test_a_damaged_state_is_said_and_mended(hand: Hand) -> None:
    hand.write(one=launch())
    hand.up()
    state = hand.path / "run" / "state.json"
    state.write_text('{"half')
    assert "cannot be read" in "".join(hand.status().notes)
    assert f"; `harmoniac down {hand.path}` cleans up" in "".join(hand.status().notes)
    until(lambda: hand.status().ready)
    state.write_text("[]")
    _kill_supervisor(hand)
    assert hand.status().phase == "down"
    assert hand.up() is True
    _kill_supervisor(hand)
    left = f"its supervisor ended without stopping it; `harmoniac down {hand.path}` cleans up"
    assert hand.status().notes == (left,)
    hand.down()
    hand.assert_nothing_left()


def test_a_process_that_only_bears_a_recorded_number_is_left_alone(hand: Hand) -> None:
    hand.write(one=launch())
    hand.up()
    state = hand.path / "run" / "state.json"
    said = json.loads(state.read_text())
    _kill_supervisor(hand)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as stranger:
        try:
            said["status"]["processes"][0] |= {"pid": stranger.pid, "birth": 1.0}
            state.write_text(json.dumps(said))
            hand.down()
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_stopped_replica_is_ended_too(hand: Hand) -> None:
    hand.write(one=launch())
    hand.up()
    pid = hand.process("one").pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    _kill_supervisor(hand)
    hand.down()
    hand.assert_nothing_left()


def test_a_process_sees_only_what_is_its_own(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCH_KEY", "a secret")
    monkeypatch.setenv("OTHER_KEY", "another")
    declared = launch(environment={"DECLARED": "1"}, late={"KEY": "SEARCH_KEY"})
    hand.write(one=declared, two=launch())
    hand.up()
    said = hand.environment("one")
    assert said["environment"]["KEY"] == "a secret"
    assert said["environment"]["DECLARED"] == "1"
    assert said["environment"]["CUDA_VISIBLE_DEVICES"] == ""
    assert said["environment"]["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert said["cwd"] == str(hand.path)
    for name in ("one", "two"):
        assert not {"SEARCH_KEY", "OTHER_KEY"} & hand.environment(name)["environment"].keys()
    assert "a secret" not in (hand.path / "run" / "state.json").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to its cores")
def test_a_process_is_held_to_the_cores_that_were_planned(hand: Hand) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    hand.write(cores=1.0, one=launch())
    hand.up()
    assert hand.environment("one")["cpus"] == cpus[:1]


def test_an_engine_is_warmed_up_before_it_counts_as_ready(hand: Hand) -> None:
    probe = Probe("http", "/health", 20.0, (Wire("/v1/first", b"hello"),))
    hand.write(one=launch(probe=probe))
    hand.up()
    assert list(ACTUATOR.log(hand.path, ["one"], lines=5, follow=False)) == [("one", "warmed up by /v1/first hello")]


def test_the_gateway_takes_the_port_that_it_is_given(hand: Hand) -> None:
    port = free_port()
    hand.write(one=launch())
    hand.up(port=port)
    assert hand.process("gateway").port == port


def test_a_run_folder_that_cannot_be_written_is_one_finding(hand: Hand) -> None:
    hand.write(one=launch())
    (hand.path / "run").write_text("in the way")
    # No service is there, which `status` and `down` say alike.
    assert (hand.status(), hand.down()) == (Status("down"), False)
    with pytest.raises(Rejected) as rejected:
        hand.up()
    assert rejected.value.found[0].code == "E0910"
    (hand.path / "run").unlink()


def test_a_full_disk_is_one_finding(hand: Hand) -> None:
    hand.write(one=launch())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(Rejected) as rejected:
            hand.up()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert rejected.value.found[0].code == "E0910"


def test_too_few_descriptors_fail_the_start_and_leave_nothing(hand: Hand) -> None:
    hand.write(one=launch(), two=launch())
    command = [sys.executable, "-c", "from harmonia_compiler.cli.main import main; main()", "up", str(hand.path)]
    limited = ["/bin/sh", "-c", 'ulimit -n 8; exec "$@"', "sh", *command]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert "Too many open files" in done.stderr
    assert "Traceback" not in done.stderr
    hand.assert_nothing_left()


def test_a_log_is_followed(hand: Hand) -> None:
    hand.write(one=launch())
    hand.up()
    lines = ACTUATOR.log(hand.path, ["one"], lines=0, follow=True)
    with ThreadPoolExecutor() as reader:
        waiting = reader.submit(next, lines)
        log = Path(hand.path / "run" / "logs" / "one.log")
        until(lambda: _append(log, "more\n") and waiting.done())
        assert waiting.result() == ("one", "more")


def _append(path: Path, text: str) -> bool:
    with path.open("a") as file:
        return file.write(text) > 0


def test_the_state_of_an_earlier_supervisor_with_the_same_number_is_not_taken_for_this_ones(hand: Hand) -> None:
    hand.write(one=launch("--slow-s", "1"))
    run = RunDirectory(hand.path)
    run.prepare()
    me = identify(os.getpid())
    assert me is not None
    earlier = State(type(me)(me.pid, me.birth - 1), Status("running"), folder=RunDirectory(hand.path).identity)
    run.write("state.json", msgspec.json.encode(earlier))
    lock = run.lock()
    assert lock is not None
    run.sign(lock, me)
    try:
        with pytest.raises(NotStarted, match=r"after 0\.5 s"):
            hand.up(timeout_s=0.5)
        assert not hand.seen
    finally:
        # What the lock names is ended by whoever cleans up: here, this process.
        run.clear()
        os.close(lock)


def test_a_supervisor_is_told_from_a_process_with_its_number(hand: Hand) -> None:
    hand.write(one=launch())
    hand.up()
    holder = RunDirectory(hand.path).holder()
    assert holder is not None
    assert is_alive(holder)
    assert not is_alive(type(holder)(holder.pid, holder.birth + 1))
