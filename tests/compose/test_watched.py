"""How a container becomes ready, and how long it took, as the controller is told."""

import asyncio
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harmonia_compiler.contract.launch import Probe
from harmonia_compiler.runtime.actuators.compose import watched as module
from harmonia_compiler.runtime.actuators.compose.containers import life_of
from harmonia_compiler.runtime.actuators.compose.docker import Docker
from harmonia_compiler.runtime.actuators.compose.watched import Watched
from harmonia_compiler.runtime.actuators.supervision import pids, rundir
from harmonia_compiler.runtime.actuators.supervision.store import Opened, open_on
from tests.compose.test_keeping import inspected, with_docker

STARTING, WELL = inspected("running", "starting"), inspected("running", "healthy")
TAKES_S = 0.2


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    run = rundir.RunDirectory(tmp_path)
    run.prepare()
    docker = Docker(tmp_path, with_docker(tmp_path / "bin", "#!/bin/sh\n"))
    return Watched("one", "e", Probe("http", "/health"), 80, (), docker, run)


def until_ready(one: Watched) -> float:
    began = time.monotonic()
    while not one.is_ready:
        assert time.monotonic() - began < 30.0, one.status
        one.look(life_of(WELL))
        time.sleep(0.01)
    return time.monotonic()


def took_s(one: Watched) -> float | None:
    return one.status.started_in_s


def test_who_was_seen_to_start_says_how_long_that_took(watched: Watched) -> None:
    began = time.monotonic()
    watched.look(life_of(STARTING))
    assert took_s(watched) is None
    time.sleep(TAKES_S)
    ended = until_ready(watched)
    took = took_s(watched)
    assert took is not None
    assert TAKES_S <= took <= ended - began
    watched.look(life_of(WELL))
    assert took_s(watched) == took
    watched.close()


def test_who_was_ready_before_says_nothing_of_that(watched: Watched) -> None:
    watched.adopt(life_of(WELL))
    until_ready(watched)
    assert took_s(watched) is None
    watched.close()


@pytest.mark.parametrize("adopts", [False, True])
def test_the_log_of_an_earlier_service_goes_and_that_of_what_is_adopted_goes_on(
    watched: Watched, *, adopts: bool
) -> None:
    log = watched.run.log_of(watched.name)
    log.write_text("earlier\n")
    if adopts:
        watched.adopt(life_of(STARTING))
    watched.look(life_of(STARTING))
    assert ("earlier" in log.read_text()) == adopts
    log.write_text("of the first life\n")
    watched.look(replace(life_of(STARTING), started="2026-01-01T00:00:09Z"))
    assert "of the first life" in log.read_text()
    watched.close()


def test_the_log_of_what_is_adopted_has_each_line_once(tmp_path: Path) -> None:
    run = rundir.RunDirectory(tmp_path)
    run.prepare()
    docker = Docker(tmp_path, with_docker(tmp_path / "bin", '#!/bin/sh\necho "$@" >> "$(dirname "$0")/asked"\n'))
    for name, adopts, there in (("new", False, "x"), ("none", True, None), ("empty", True, ""), ("taken", True, "x")):
        one, log = Watched(name, "e", Probe("http", "/health"), 80, (), docker, run), run.log_of(name)
        if there is not None:
            log.write_text(there)
            os.utime(log, (1_700_000_000.5, 1_700_000_000.5))
        if adopts:
            one.adopt(life_of(STARTING))
        for started in (life_of(STARTING).started, "2026-01-01T00:00:09Z"):
            one.look(replace(life_of(STARTING), started=started))
            assert one._follower is not None
            one._follower.wait()
    asked = [line.split()[3] for line in (tmp_path / "bin/asked").read_text().splitlines()]
    # As far as something was written before, lives that nobody saw are in it as well.
    assert asked[1::2] == ["2026-01-01T00:00:09Z"] * 3 + ["1700000000.510000000"]
    assert asked[::2] == [life_of(STARTING).started] * 3 + ["1700000000.510000000"]


def test_a_log_is_followed_on_where_who_did_so_ended_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = rundir.RunDirectory(tmp_path)
    run.prepare()
    script = '#!/bin/sh\necho "$4" >> "$(dirname "$0")/asked"\necho said\n'
    docker = Docker(tmp_path, with_docker(tmp_path / "bin", script))
    one, life = Watched("one", "e", Probe("http", "/health"), 80, (), docker, run), life_of(STARTING)

    def asked() -> list[str]:
        one.look(life)
        assert one._follower is not None
        one._follower.wait()
        os.utime(run.log_of("one"), (1_700_000_000.5, 1_700_000_000.5))
        one.look(life)
        return (tmp_path / "bin/asked").read_text().split()

    # Not at once: its life may be over, and Docker tells of that a moment later.
    assert asked() == asked() == [life.started]
    monkeypatch.setattr(module, "_AGAIN_AFTER_S", 0.0)
    assert asked()[:2] == [life.started, "1700000000.510000000"]
    assert run.log_of("one").read_text().startswith("said\nsaid\n")
    one.close()


@pytest.mark.parametrize("state", ["running", "restarting", "exited"])
def test_what_ended_before_anybody_looked_is_in_its_log_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    run = rundir.RunDirectory(tmp_path)
    run.prepare()
    script = '#!/bin/sh\necho "$@" >> "$(dirname "$0")/asked"\necho "why it ended"\n'
    docker = Docker(tmp_path, with_docker(tmp_path / "bin", script))
    monkeypatch.setattr(module, "_AGAIN_AFTER_S", 0.0)
    one = Watched("one", "e", Probe("http", "/health"), 80, (), docker, run)
    life = replace(life_of(inspected(state)), restarts=2, exit_code=1)
    for _ in range(3 if life.has_ended else 1):
        one.look(life)
        assert one._follower is not None
        one._follower.wait()
    one.hear_out(replace(life, state="exited"), 30.0)
    assert run.log_of("one").read_text() == "why it ended\n"
    # It has begun at some time, which nobody saw.
    asked = [line.split() for line in (tmp_path / "bin/asked").read_text().splitlines() if line.startswith("logs")]
    assert [words[:4] for words in asked] == [["logs", "--follow", "--since", "0"]]
    one.close()


def test_a_life_that_nobody_saw_is_heard_out_before_its_container_goes(tmp_path: Path) -> None:
    run = rundir.RunDirectory(tmp_path)
    run.prepare()
    docker = Docker(tmp_path, with_docker(tmp_path / "bin", '#!/bin/sh\n[ "$1" != logs ] || echo "said since $4"\n'))
    one, first = Watched("one", "e", Probe("http", "/health"), 80, (), docker, run), life_of(STARTING)
    one.look(first)
    last = replace(first, started="2026-01-01T00:00:09Z", state="exited", exit_code=1)
    one.hear_out(last, 30.0)
    one.hear_out(last, 30.0)
    assert run.log_of("one").read_text() == f"said since {first.started}\nsaid since {last.started}\n"
    one.close()


def test_who_follows_a_life_is_not_ended_for_the_next_one_before_he_has_read_all_of_it(tmp_path: Path) -> None:
    run = rundir.RunDirectory(tmp_path)
    run.prepare()
    script = '#!/bin/sh\nwhile [ ! -e "$(dirname "$0")/told" ]; do sleep 0.02; done\necho "said since $4"\n'
    docker = Docker(tmp_path, with_docker(tmp_path / "bin", script))
    one, first = Watched("one", "e", Probe("http", "/health"), 80, (), docker, run), life_of(STARTING)
    one.look(first)
    again = replace(first, started="2026-01-01T00:00:09Z")
    one.look(again)
    (tmp_path / "bin/told").touch()
    for _ in range(2):
        assert one._follower is not None
        one._follower.wait()
        one.look(again)
    assert one._follower is not None
    one._follower.wait()
    assert run.log_of("one").read_text() == f"said since {first.started}\nsaid since {again.started}\n"
    one.close()


def test_a_log_that_is_removed_is_begun_anew_by_who_follows_it_and_by_who_comes_next(tmp_path: Path) -> None:
    run = rundir.RunDirectory(tmp_path)
    run.prepare()
    script = (
        '#!/bin/sh\nown="$(dirname "$0")"\necho first\ntouch "$own/begun"\n'
        'while [ ! -e "$own/told" ]; do sleep 0.02; done\necho second\n'
    )
    docker = Docker(tmp_path, with_docker(tmp_path / "bin", script))
    one, life = Watched("one", "e", Probe("http", "/health"), 80, (), docker, run), life_of(STARTING)
    log = run.log_of("one")
    one.look(life)
    until((tmp_path / "bin/begun").exists, lambda: None)
    one.look(life)
    shutil.rmtree(run.logs)
    one.look(life)
    (tmp_path / "bin/told").touch()
    assert one._follower is not None
    one._follower.wait()
    one.look(life)
    assert log.read_text() == "second\n"
    shutil.rmtree(run.logs)
    one.look(replace(life, started="2026-01-01T00:00:09Z"))
    one._follower.wait()
    assert log.read_text() == "first\nsecond\n"
    one.close()


def test_what_ended_before_a_start_says_nothing_of_it(tmp_path: Path) -> None:
    run = rundir.RunDirectory(tmp_path)
    run.prepare()
    docker = Docker(tmp_path, with_docker(tmp_path / "bin", '#!/bin/sh\n[ "$1" != logs ] || echo "said since $4"\n'))
    one = Watched("one", "e", Probe("http", "/health"), 80, (), docker, run)
    before = life_of(inspected("exited", "starting", ExitCode=143))
    one.begin_after(before)
    one.look(before)
    assert (one.failure(), one._follower) == (None, None)
    now = replace(before, started="2026-01-01T00:00:09Z")
    one.look(replace(now, state="running", exit_code=None))
    assert one.failure() is None
    one.look(replace(now, exit_code=3))
    assert one.failure() == "it ended with exit code 3 before it was ready"
    one.hear_out(replace(now, exit_code=3), 30.0)
    assert run.log_of("one").read_text() == f"said since {now.started}\n"
    one.close()


def test_a_log_that_was_written_later_than_now_keeps_nothing_back(watched: Watched) -> None:
    log = watched.run.log_of(watched.name)
    log.write_text("of another clock\n")
    began, later = time.time(), time.time() + 86_400.0
    os.utime(log, (later, later))
    assert began <= float(module._written_until(log)) < later


def test_whoever_follows_a_log_ends_with_the_keeper(tmp_path: Path) -> None:
    said = 'echo $$ > "${0%/*}/new" && mv "${0%/*}/new" "${0%/*}/pid"'
    path = with_docker(tmp_path / "bin", f"#!/bin/sh\n{said}\nexec sleep 600\n")["PATH"]
    follows = (
        "import sys, time; from pathlib import Path\n"
        "from harmonia_compiler.runtime.actuators.compose.docker import Docker\n"
        "docker = Docker(Path(sys.argv[1]), {'PATH': sys.argv[2]})\n"
        "with open(sys.argv[1] + '/log', 'ab') as log: docker.follow('c1', '0', log)\n"
        "time.sleep(600)\n"
    )
    keeper = subprocess.Popen([sys.executable, "-c", follows, str(tmp_path), path])
    try:
        until((tmp_path / "bin/pid").exists, lambda: None)
        follower = pids.identify(int((tmp_path / "bin/pid").read_text()))
        assert follower is not None
        keeper.kill()
        keeper.wait()
        try:
            until(lambda: not pids.is_alive(follower), lambda: None)
        finally:
            pids.kill([follower])
    finally:
        keeper.kill()
        keeper.wait()


def test_nothing_is_left_of_an_opening_that_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho $$ > "${0%/*}/new" && mv "${0%/*}/new" "${0%/*}/pid"\nexec sleep 60\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    async def given_up() -> None:
        opening = asyncio.create_task(open_on(80, (), {"PATH": "/usr/bin:/bin"}, tmp_path / "log"))
        while not (tmp_path / "pid").exists():
            await asyncio.sleep(0.01)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)

    asyncio.run(given_up())


class Opening:
    """In place of what opens the collections of a store: it fails for so many times."""

    def __init__(self, fails: int) -> None:
        self.fails, self.tries = fails, 0

    def __call__(self, *_: object) -> Opened:
        self.tries += 1
        return Opened(("deadline exceeded",)) if self.tries <= self.fails else Opened()


class Held:
    """In place of the same: each is held until it is let go, and gives what it is let go with."""

    def __init__(self) -> None:
        self.begun: list[queue.Queue[Opened]] = []

    def __call__(self, *_: object) -> Opened:
        ends: queue.Queue[Opened] = queue.Queue()
        self.begun.append(ends)
        return ends.get(timeout=30.0)


def until(seen: Callable[[], bool], look: Callable[[], None]) -> None:
    ends = time.monotonic() + 30.0
    while not seen():
        assert time.monotonic() < ends
        look()
        time.sleep(0.01)


def test_what_is_found_out_about_a_life_that_is_over_counts_for_nothing(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, first = Held(), life_of(WELL)
    monkeypatch.setattr(module, "opened", opening)
    second = replace(first, started="2026-01-01T00:00:09Z")
    until(lambda: len(opening.begun) == 1, lambda: watched.look(first))
    until(lambda: len(opening.begun) == 2, lambda: watched.look(second))
    opening.begun[1].put(Opened(absent=("docs",)))
    until(lambda: watched.is_ready, lambda: watched.look(second))
    opening.begun[0].put(Opened(("deadline exceeded",), ("old",)))
    readying = [one for one in threading.enumerate() if one.name == "readying one"]
    until(lambda: not any(one.is_alive() for one in readying), lambda: None)
    watched.look(second)
    assert (watched.is_ready, watched.status.absent) == (True, ("docs",))
    assert len(opening.begun) == 2
    watched.close()


def test_what_is_adopted_is_readied_anew_and_called_meanwhile_unless_that_fails(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody saw whether it has started again, so that a store's collections may lie unloaded."""
    opening, life = Held(), life_of(WELL)
    monkeypatch.setattr(module, "opened", opening)
    monkeypatch.setattr(module, "_AGAIN_AFTER_S", 0.0)
    watched.adopt(life)
    until(lambda: len(opening.begun) == 1, lambda: watched.look(life))
    assert (watched.status.phase, watched.is_called) == ("starting", True)
    called = list[bool]()
    for seen in (life_of(inspected("running", "unhealthy")), life):
        watched.look(seen)
        called.append(watched.is_called)
    assert called == [False, True]
    watched.leaving = True
    assert not watched.is_called
    watched.leaving = False
    opening.begun[0].put(Opened(("deadline exceeded",)))
    until(lambda: not watched.is_called, lambda: watched.look(life))
    assert watched.failure() is None
    until(lambda: len(opening.begun) == 2, lambda: watched.look(life))
    assert not watched.is_called
    opening.begun[1].put(Opened(absent=("docs",)))
    until(lambda: watched.is_ready, lambda: watched.look(life))
    assert (watched.is_called, watched.status.absent) == (True, ("docs",))
    watched.close()


@pytest.mark.parametrize(("before", "started"), [(STARTING, life_of(WELL).started), (WELL, "2026-01-01T00:00:09Z")])
def test_what_was_not_well_or_starts_again_is_not_called_before_it_is_ready(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, before: dict[str, Any], started: str
) -> None:
    opening, life = Held(), replace(life_of(WELL), started=started)
    monkeypatch.setattr(module, "opened", opening)
    watched.adopt(life_of(before))
    until(lambda: len(opening.begun) == 1, lambda: watched.look(life))
    assert not watched.is_called
    opening.begun[0].put(Opened())
    until(lambda: watched.is_ready and watched.is_called, lambda: watched.look(life))
    watched.close()


@pytest.mark.parametrize("how", ["opened", "opened_from_here"])
def test_a_store_that_starts_again_is_opened_until_that_works(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    opening = Opening(fails=2)
    monkeypatch.setattr(module, how, opening)
    monkeypatch.setattr(module, "_AGAIN_AFTER_S", 0.0)
    watched.is_ours = how == "opened"
    first = life_of(WELL)
    watched.was_ready = True
    again = replace(first, started="2026-01-01T00:00:09Z")
    waiting, ends = set[str](), time.monotonic() + 30.0
    while not waiting or not watched.is_ready:
        watched.look(again)
        waiting.add(watched.status.waiting_for)
        assert time.monotonic() < ends, watched.status
        time.sleep(0.01)
    assert opening.tries == 3
    assert any("deadline exceeded" in why for why in waiting)
    assert caplog.messages == ["one is not ready, and is tried again in 0 s: deadline exceeded"] * 2
    watched.close()


def test_a_failed_opening_is_not_tried_again_at_once_nor_at_the_first_start(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = Opening(fails=1)
    monkeypatch.setattr(module, "opened", opening)
    life, ends = life_of(WELL), time.monotonic() + 30.0
    while watched._failed_at is None:
        watched.look(life)
        assert time.monotonic() < ends, watched.status
        time.sleep(0.01)
    assert watched.failure() == "deadline exceeded"
    monkeypatch.setattr(module, "_AGAIN_AFTER_S", 0.0)
    assert not watched._is_due()
    watched.was_ready = True
    assert watched._is_due()
    monkeypatch.setattr(module, "_AGAIN_AFTER_S", 3600.0)
    for _ in range(5):
        watched.look(life)
    assert (opening.tries, watched.failure(), watched.is_ready) == (1, None, False)
    watched.close()
