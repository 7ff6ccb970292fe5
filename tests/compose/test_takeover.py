"""Who takes over the containers of a keeper that was killed: what it keeps, starts, opens again and gives up."""

import json
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoint, Endpoints
from harmonia_compiler.contract.decision import INSIDE
from harmonia_compiler.contract.readings import TOKEN
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.actuator import NOTHING_LEFT, Actuator, NotStarted, Phase, Status, actuator_for
from harmonia_compiler.runtime.actuators.compose import keeper as keeping
from harmonia_compiler.runtime.actuators.compose import preparing
from harmonia_compiler.runtime.actuators.compose.docker import Docker
from harmonia_compiler.runtime.actuators.compose.keeper import Keeper
from harmonia_compiler.runtime.actuators.supervision import kept, pids, rundir
from harmonia_compiler.runtime.actuators.supervision.refusing import given_up
from tests.compose.test_files import written
from tests.compose.test_keeping import inspected, part, with_docker
from tests.emit.conftest import Planned

#: Docker whose containers are in the file beside it. It notes what it is to start and to end, and the endpoints that
#: there are whenever it is asked about containers, and opens the collections of a store once it may. Where it has
#: contexts, they are in the one named `one`, and it notes what it is asked for in any other, which has nothing.
HOLDING = """#!/bin/sh
own="$(dirname "$0")"
at="${DOCKER_CONTEXT:-$(cat "$own/context" 2>/dev/null || echo one)}"
[ "$1" != context ] || { echo "$at"; exit; }
[ "$at" = one ] || { echo "$*" >> "$own/elsewhere"; [ "$1" != info ] || echo two; exit; }
case "$1" in
  ps) [ -e "$own/away" ] && echo >> "$own/sought" && exit 1; rm "$own/no_ps" 2>/dev/null && exit 1
      [ -e "$own/only" ] && case "$*" in *"$(cat "$own/only")"*) ;; *) exit ;; esac
      echo any ;;
  inspect) cat run/service/endpoints.json >> "$own/seen"; echo >> "$own/seen"; cat "$own/containers" ;;
  compose)
    case "$*" in *" down "*|*" stop "*|*" rm "*) echo "$*" >> "$own/ended" ;; esac
    case "$*" in *" up "*)
      [ -e "$own/never_up" ] && echo >> "$own/tried" && exit 1
      rm "$own/no_up" 2>/dev/null && exit 1
      rm "$own/long_up" 2>/dev/null && { echo $$ > "$own/draft"; mv "$own/draft" "$own/upping"; exec sleep 600; }
      echo "$*" >> "$own/started" ;;
    *" down "*) [ ! -e "$own/no_down" ] || exit 1 ;;
    esac ;;
  info) [ ! -e "$own/fields" ] || { echo "$3" | sed -f "$own/fields"; exit; }; cat "$own/engine" 2>/dev/null ;;
  rm) shift 2; echo "$@" >> "$own/removed" ;;
  network)
    [ -e "$own/networks" ] || exit 0
    case "$2" in ls) cat "$own/networks" ;; rm) shift 2; echo "$@" >> "$own/removed"; rm "$own/networks" ;; esac ;;
  exec)
    case "$*" in *opening*)
      echo "$3" >> "$own/opened"
      while [ ! -e "$own/go" ]; do sleep 0.02; done ;;
    esac
    echo "{}" ;;
esac
"""


def say_lives(bin_: Path, lives: Mapping[str, Mapping[str, Any]]) -> None:
    """Have that Docker say of each service's container what it says of one."""
    found = [
        {**life, "Id": name, "Config": {**life.get("Config", {}), "Labels": {"com.docker.compose.service": name}}}
        for name, life in lives.items()
    ]
    (bin_ / "new").write_text(json.dumps(found))
    (bin_ / "new").rename(bin_ / "containers")


class Taken:
    """A service whose keeper was killed, which another one takes over until it is told to end."""

    def __init__(self, bundle: Path, host: str, bin_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(keeping, "_LOOK_EVERY_S", 0.02)
        monkeypatch.setenv("PATH", f"{with_docker(bin_, HOLDING)['PATH']}:{os.environ['PATH']}")
        self.keeper, self.run = part(bundle, host, monkeypatch)
        (bin_ / "seen").touch()
        self.bin, self.names = bin_, [one.replica for one in self.keeper._documents.here]
        self.lives = {name: inspected("running", "healthy") for name in [*self.names, *self.keeper._front]}
        (self.run.path / "service").mkdir()
        there = [*self.keeper._documents.here, *self.keeper._documents.elsewhere]
        endpoints = Endpoints(tuple(Endpoint(one.replica, one.engine, one.address, one.port) for one in there), 3)
        (self.run.path / "service/endpoints.json").write_bytes(msgspec.json.encode(endpoints))

    def say_last(self, phase: Phase, asked: rundir.Asked, *, was_up: bool = False, engine: str = "") -> None:
        """What the keeper that was killed said last."""
        state = rundir.State(pids.Ident(1, 1), Status(phase), asked, self.run.identity, was_up, engine=engine)
        self.run.write(rundir.STATE, msgspec.json.encode(state))

    def say_lives(self) -> None:
        say_lives(self.bin, self.lives)

    def opened(self) -> list[str]:
        """The containers in which collections were opened."""
        said = self.bin / "opened"
        return said.read_text().split() if said.exists() else []

    def started(self, name: str) -> bool:
        """Whether it was told to start one service."""
        said = self.bin / "started"
        return said.exists() and any(line.split()[-1] == name for line in said.read_text().splitlines())

    def said(self) -> list[dict[str, Any]]:
        """What the gateway was told of who is called, from look to look."""
        seen = (self.bin / "seen").read_text().splitlines()
        return [json.loads(line) for line in seen if line.endswith("}")]

    def called(self) -> list[set[str]]:
        """Who was called, from look to look."""
        return [{one["replica"] for one in said["replicas"]} for said in self.said()]

    @contextmanager
    def kept(self) -> Iterator[None]:
        self.say_lives()
        told = threading.Event()
        thread = threading.Thread(target=self.keeper.serve, args=(told,))
        thread.start()
        try:
            yield
        finally:
            (self.bin / "go").touch()
            told.set()
            thread.join()

    def start(self, actuator: Actuator, bundle: Path) -> None:
        """Have all of it started by one who is told so by `up`."""
        self.say_lives()
        (self.bin / "go").touch()
        assert actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=lambda _: None)

    def until(self, seen: Callable[[], bool]) -> None:
        ends = time.monotonic() + 30.0
        while not seen():
            assert time.monotonic() < ends, self.keeper._status()
            assert self.keeper._failure is None
            time.sleep(0.02)


def with_actuator(quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Taken, Actuator]:
    """A bundle, its containers, and who starts and ends it as commands do."""
    bundle = tmp_path / "bundle"
    written(quickstart, bundle)
    actuator = actuator_for("compose")
    assert actuator is not None
    return bundle, Taken(bundle, "", tmp_path / "bin", monkeypatch), actuator


@pytest.mark.parametrize(
    ("hosts", "host", "stores"), [("a", "a", ["search-0"]), ("ab", "a", []), ("ab", "b", ["search-0"])]
)
def test_a_store_that_may_have_started_again_unseen_is_opened_and_all_are_called_meanwhile(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts: str, host: str, stores: list[str]
) -> None:
    written(quickstart.on_hosts(*hosts), tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", host, tmp_path / "bin", monkeypatch)
    with taken.kept():
        taken.until(lambda: taken.opened() == stores and len(taken.called()) > 3)
        looks = len(taken.called())
        taken.until(lambda: len(taken.called()) > looks + 3)
        assert taken.keeper._status().ready == (not stores)
        (taken.bin / "go").touch()
        taken.until(lambda: taken.keeper._status().ready)
    assert all(called >= {*taken.names} for called in taken.called())
    # What does not change is not said anew.
    assert {said["epoch"] for said in taken.said()} == {3}
    assert taken.opened() == stores


@pytest.mark.parametrize(
    ("phase", "was_up", "is_up"),
    [
        ("starting", False, False),
        ("starting", True, True),
        ("running", False, True),
        ("stopping", False, False),
        ("stopping", True, False),
        ("failed", False, False),
        ("failed", True, True),
    ],
)
@pytest.mark.parametrize("reembeds", [False, True])
def test_a_service_that_was_up_is_taken_over_as_it_was_started_and_no_other(
    quickstart: Planned,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    phase: Phase,
    was_up: bool,
    is_up: bool,
    reembeds: bool,
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last(phase, rundir.Asked(reembed=reembeds), was_up=was_up)
    for asks in (False, True):
        keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(reembed=asks), taken.keeper._me)
        differ = {one.may_differ for one in keeper._watched["search-0"].expected}
        assert differ == {asks or (is_up and reembeds)}


def test_a_service_that_was_up_is_so_too_for_whoever_takes_it_over_from_one_that_was_killed_meanwhile(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last("running", rundir.Asked(reembed=True))
    for _ in range(3):
        taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
        taken.keeper._write()
    state = taken.run.read_state()
    assert state is not None
    assert (state.status.phase, state.asked.reembed) == ("starting", True)
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    for name in ("no_up", "go"):
        (taken.bin / name).touch()
    with taken.kept():
        taken.until(lambda: taken.keeper._status().ready)
    assert not (taken.bin / "no_up").exists()


def test_what_the_gateway_was_told_by_a_variable_stays_so_until_another_shell_says_otherwise(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, name = tmp_path / "bundle", "HARMONIA_ALLOWED_HOSTS"
    written(quickstart, bundle)
    monkeypatch.setenv("HARMONIA_GATEWAY_PROCESSES", "2")
    for said, told in (
        ("rag.example", "rag.example"),
        (None, "rag.example"),
        (None, "rag.example"),
        ("", ""),
        (None, ""),
    ):
        if said is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, said)
        keeper, run = part(bundle, "", monkeypatch)
        assert {**keeper._docker._environment}.items() >= {name: told, "HARMONIA_GATEWAY_PROCESSES": "2"}.items()
        keeper._phase = "running"
        keeper._write()
        monkeypatch.delenv("HARMONIA_GATEWAY_PROCESSES", raising=False)
    # Of a service that was stopped nothing is kept.
    run.clear()
    keeper, _ = part(bundle, "", monkeypatch)
    assert name not in keeper._docker._environment


@pytest.mark.parametrize(
    ("phase", "was_up", "leaves_some", "is_left"),
    [
        ("starting", False, False, True),
        ("stopping", False, False, True),
        ("failed", False, False, False),
        ("failed", True, False, True),
        ("failed", False, True, True),
    ],
)
def test_what_the_gateway_was_told_holds_for_all_that_a_keeper_may_have_left(
    quickstart: Planned,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    phase: Phase,
    was_up: bool,
    leaves_some: bool,
    is_left: bool,
) -> None:
    bundle, name = tmp_path / "bundle", "HARMONIA_ALLOWED_HOSTS"
    written(quickstart, bundle)
    keeper, run = part(bundle, "", monkeypatch)
    given, here = {name: "rag.example"}, run.identity
    state = rundir.State(keeper._me, Status(phase), folder=here, was_up=was_up, given=given, leaves_some=leaves_some)
    run.write(rundir.STATE, msgspec.json.encode(state))
    monkeypatch.delenv(name, raising=False)
    keeper, _ = part(bundle, "", monkeypatch)
    assert keeper._docker._environment.get(name) == ("rag.example" if is_left else None)


def test_a_service_is_not_given_up_for_what_starts_again_while_it_is_taken_over(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last("running", rundir.Asked(reembed=True))
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    assert all(one.may_differ for one in taken.keeper._watched["search-0"].expected)
    taken.lives["search-0"] = {**inspected("running", "starting"), "RestartCount": 1}
    (taken.bin / "go").touch()
    with taken.kept():
        taken.until(lambda: taken.keeper._watched["minilm-0"].is_ready)
        assert not taken.keeper._watched["search-0"].is_called
        taken.lives["search-0"] = {**inspected("running", "healthy"), "RestartCount": 1}
        taken.say_lives()
        taken.until(lambda: taken.keeper._status().ready)
    assert taken.opened() == ["search-0"]


@pytest.mark.parametrize("fails", ["no_ps", "no_up"])
def test_a_service_is_not_given_up_where_docker_fails_once_while_it_is_taken_over(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last("running", rundir.Asked())
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    for name in (fails, "go"):
        (taken.bin / name).touch()
    with taken.kept():
        taken.until(lambda: taken.keeper._status().ready)
    assert not (taken.bin / fails).exists()


def test_docker_is_told_ever_less_often_to_start_what_it_does_not(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last("running", rundir.Asked())
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    monkeypatch.setattr(keeping, "delay_s", lambda failures: 0.0 if failures < 3 else 3600.0)
    tried = taken.bin / "tried"
    for name in ("never_up", "go"):
        (taken.bin / name).touch()
    with taken.kept():
        taken.until(lambda: tried.exists() and len(tried.read_text()) == 3)
        looks = len(taken.called())
        taken.until(lambda: len(taken.called()) > looks + 5)
    assert len(tried.read_text()) == 3


@pytest.mark.parametrize("state", ["exited", ""])
def test_what_is_stopped_or_removed_while_a_service_is_taken_over_is_started_again(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last("running", rundir.Asked())
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    with taken.kept():
        # All was there, and one is still readied.
        taken.until(lambda: taken.opened() == ["search-0"] and taken.keeper._has_started)
        looks = len(taken.called())
        taken.until(lambda: len(taken.called()) > looks + 5)
        assert not any(taken.started(name) for name in taken.lives)
        before = taken.lives.pop("minilm-0")
        taken.lives |= {"minilm-0": inspected(state)} if state else {}
        taken.say_lives()
        taken.until(lambda: taken.started("minilm-0"))
        assert taken.keeper._phase == "starting"
        taken.lives["minilm-0"] = before
        taken.say_lives()
        (taken.bin / "go").touch()
        taken.until(lambda: taken.keeper._status().ready)


def test_what_somebody_pauses_is_left_so(quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    monkeypatch.setattr(keeping, "delay_s", lambda _: 0.0)
    (taken.bin / "go").touch()
    with taken.kept():
        taken.until(lambda: taken.keeper._status().ready)
        taken.lives["minilm-0"] = inspected("paused", "healthy")
        taken.say_lives()
        taken.until(lambda: "paused" in taken.keeper._watched["minilm-0"].status.waiting_for)
        looks = len(taken.said())
        taken.until(lambda: len(taken.said()) > looks + 10)
        assert not taken.started("minilm-0")


@pytest.mark.parametrize("phase", ["running", "starting"])
def test_docker_is_waited_for_by_whoever_takes_over_what_was_up_until_that_is_told_to_end(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, phase: Phase
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last(phase, rundir.Asked())
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    (taken.bin / "away").touch()
    told = threading.Event()
    thread = threading.Thread(target=taken.keeper.serve, args=(told,))
    thread.start()
    try:
        if phase == "running":
            # Twice, so that it has not given up after the first.
            taken.until(lambda: sum("docker does not answer" in said for said in caplog.messages) > 1)
            assert thread.is_alive()
            told.set()
        thread.join(30.0)
        assert not thread.is_alive()
    finally:
        told.set()
        (taken.bin / "away").unlink()
        thread.join()
    # To be told to end is no failure.
    assert (taken.keeper._failure is None) == (phase == "running")


def kill_keeper(run: rundir.RunDirectory) -> None:
    holder = run.holder()
    assert holder is not None
    os.kill(holder.pid, signal.SIGKILL)
    while run.is_held():
        time.sleep(0.02)


@pytest.mark.parametrize("how", ["late", "interrupted", "refused"])
def test_a_takeover_that_comes_to_nothing_leaves_the_service_as_it_was(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.say_lives()
    go, secrets = taken.bin / "go", taken.run.path / preparing.SECRETS
    go.touch()
    assert actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=lambda _: None)
    served = (taken.run.path / "service/endpoints.json").read_bytes()
    kill_keeper(taken.run)
    go.unlink()
    if how == "refused":
        secrets.rmdir()
        secrets.touch()

    def watch(status: Status) -> None:
        if how == "interrupted" and any(one.name == "search-0" for one in status.processes):
            raise KeyboardInterrupt

    with pytest.raises(NotStarted if how != "interrupted" else KeyboardInterrupt) as raised:
        actuator.start(bundle, port=None, reembed=False, timeout_s=2.0 if how == "late" else 60.0, watch=watch)
    status = actuator.status(bundle)
    if how == "refused":
        assert (status.phase, len(status.notes)) == ("down", 2)
        assert status.notes[1].endswith(f"`harmoniac up {bundle}` takes them over")
        secrets.unlink()
    else:
        assert (status.phase, status.notes) == ("starting", ("it goes on as it was while it is taken over",))
    if isinstance(raised.value, NotStarted):
        (found,) = raised.value.found
        after = f"nobody looks after it: `harmoniac up {bundle}`" if how == "refused" else "so does its takeover"
        assert f"the service goes on as it was, and {after}" in found.help
    # Whoever comes next takes it over, or waits for who is about to.
    go.touch()
    assert not actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=lambda _: None)
    assert actuator.status(bundle).phase == "running"
    assert (taken.run.path / "service/endpoints.json").read_bytes() == served
    assert not (taken.bin / "ended").exists()
    assert actuator.stop(bundle)
    assert " down " in (taken.bin / "ended").read_text()
    assert actuator.status(bundle) == NOTHING_LEFT


@pytest.mark.parametrize(("phase", "goes_on"), [("running", True), ("stopping", False)])
def test_a_service_that_was_up_is_said_to_go_on_before_who_takes_it_over_has_said_anything(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: Phase, *, goes_on: bool
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken, actuator = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch), actuator_for("compose")
    assert actuator is not None
    taken.say_last(phase, rundir.Asked())
    lock, me = taken.run.lock(), pids.identify(os.getpid())
    assert lock is not None
    assert me is not None
    try:
        # Who holds it without a name cleans up.
        assert actuator.status(tmp_path / "bundle") == Status("starting")
        taken.run.sign(lock, me)
        notes = ("it goes on as it was while it is taken over",) if goes_on else ()
        assert actuator.status(tmp_path / "bundle") == Status("starting", notes=notes)
    finally:
        os.close(lock)


def test_a_service_is_not_given_up_for_what_was_gone_when_it_was_taken_over_and_ends_again(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last("running", rundir.Asked())
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    del taken.lives["minilm-0"]
    (taken.bin / "go").touch()
    with taken.kept():
        taken.until(lambda: taken.keeper._watched["search-0"].is_ready)
        taken.lives["minilm-0"] = {**inspected("restarting"), "RestartCount": 1}
        taken.say_lives()
        taken.until(lambda: "its next start, after" in taken.keeper._watched["minilm-0"].status.waiting_for)
        looks = len(taken.called())
        taken.until(lambda: len(taken.called()) > looks + 3)
        taken.lives["minilm-0"] = inspected("running", "healthy")
        taken.say_lives()
        taken.until(lambda: taken.keeper._status().ready)


def test_what_nothing_is_there_of_is_started_and_not_taken_over(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last("running", rundir.Asked())
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    (taken.bin / "containers").write_text("[]")
    (taken.bin / "no_up").touch()
    told = threading.Event()
    thread = threading.Thread(target=taken.keeper.serve, args=(told,))
    thread.start()
    try:
        thread.join(30.0)
        assert not thread.is_alive()
    finally:
        told.set()
        thread.join()
    assert taken.keeper._failure is not None
    assert " down " in (taken.bin / "ended").read_text()


def test_containers_that_docker_does_not_remove_are_known_to_whoever_asks_until_it_does(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.say_lives()
    for name in ("go", "no_down"):
        (taken.bin / name).touch()
    monkeypatch.setenv("HARMONIA_ALLOWED_HOSTS", "rag.example")
    assert actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=lambda _: None)
    inside = taken.run.path / INSIDE
    seen = inside.stat().st_ino, (inside / TOKEN).read_bytes()
    for _ in range(2):
        with pytest.raises(Rejected, match="E0922"):
            actuator.stop(bundle)
        status = actuator.status(bundle)
        assert (status.phase, len(status.notes)) == ("down", 1)
    # They are taken over with the folders that they see, which are not made anew beside them, and as they were started.
    monkeypatch.delenv("HARMONIA_ALLOWED_HOSTS")
    assert actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=lambda _: None)
    state = taken.run.read_state()
    assert state is not None
    assert state.given == {"HARMONIA_ALLOWED_HOSTS": "rag.example"}
    assert (inside.stat().st_ino, (inside / TOKEN).read_bytes()) == seen
    with pytest.raises(Rejected, match="E0922"):
        actuator.stop(bundle)
    (taken.bin / "no_down").unlink()
    assert actuator.stop(bundle)
    assert actuator.status(bundle) == NOTHING_LEFT
    assert not actuator.stop(bundle)


@pytest.mark.parametrize("how", ["late", "no_up"])
def test_a_start_that_fails_says_what_docker_does_not_remove_and_how_to_go_on(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.say_lives()
    for name in ("no_down", how):
        (taken.bin / name).touch()

    def watch(_: Status) -> None:
        if how == "late" and taken.opened():
            raise given_up("search-0", "it is late", "", [])

    with pytest.raises(NotStarted) as raised:
        actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=watch)
    (found,) = raised.value.found
    assert "not all that was started is stopped again" in found.help
    assert f"`harmoniac down {bundle}` tries again" in found.help
    status = actuator.status(bundle)
    assert (status.phase, status.failure is None) == ("down", how == "late")
    assert status.notes[-1].endswith(f"`harmoniac up {bundle}` takes them over")
    (taken.bin / "no_down").unlink()
    assert actuator.stop(bundle)
    assert actuator.status(bundle) == NOTHING_LEFT


def test_a_start_that_failed_and_was_stopped_is_in_no_engine_any_more(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, taken, _ = with_actuator(quickstart, tmp_path, monkeypatch)
    (taken.bin / "engine").write_text("one")
    taken.say_lives()
    for name in ("go", "no_up"):
        (taken.bin / name).touch()
    taken.keeper.serve(threading.Event())  # type: ignore[arg-type]
    state = taken.run.read_state()
    assert state is not None
    assert (state.status.phase, state.engine) == ("failed", "")


def test_a_takeover_that_waits_for_docker_and_is_told_to_end_has_not_failed(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.say_last("running", rundir.Asked())
    taken.say_lives()
    for name in ("away", "no_down"):
        (taken.bin / name).touch()

    def watch(_: Status) -> None:
        # Who has said anything hears signals.
        raise given_up("search-0", "it is late", "", [])

    with pytest.raises(NotStarted):
        actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=watch)
    assert actuator.status(bundle).phase == "starting"
    with pytest.raises(Rejected, match="E0922"):
        actuator.stop(bundle)
    status = actuator.status(bundle)
    assert (status.phase, status.failure, len(status.notes)) == ("down", None, 1)
    assert status.notes[0].endswith(f"`harmoniac up {bundle}` takes them over")
    for name in ("away", "no_down"):
        (taken.bin / name).unlink()
    assert actuator.stop(bundle)
    assert actuator.status(bundle) == NOTHING_LEFT


def test_docker_is_not_asked_again_by_whoever_tells_a_keeper_to_end_that_ends_well(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.start(actuator, bundle)
    # In a shell where no engine answers, as without its DOCKER_HOST.
    monkeypatch.setenv("PATH", with_docker(tmp_path / "none", "#!/bin/sh\nexit 1\n")["PATH"])
    assert actuator.stop(bundle)
    assert actuator.status(bundle) == NOTHING_LEFT


@pytest.mark.parametrize("who", ["the same up", "down", "up", "the keeper"])
def test_what_a_killed_keeper_told_docker_to_start_is_withdrawn_by_whoever_comes_next(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    assert isinstance(actuator, kept.Kept)
    taken.say_lives()
    for name in ("go", "long_up"):
        (taken.bin / name).touch()
    upping = taken.bin / "upping"

    def watch(_: Status) -> None:
        if who == "the same up" and upping.exists() and taken.run.is_held():
            kill_keeper(taken.run)

    def start() -> bool:
        return actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=watch)

    if who == "the same up":
        with pytest.raises(NotStarted):
            start()
    else:
        # Whoever told it to start is killed as well.
        actuator._spawn(bundle.resolve(), taken.run, rundir.Asked())
        ends = time.monotonic() + 30.0
        while not upping.exists():
            assert time.monotonic() < ends
            time.sleep(0.02)
        if who != "the keeper":
            kill_keeper(taken.run)
            (note,) = actuator.status(bundle).notes
            assert note.endswith(f"`harmoniac up {bundle}` takes them over")
        assert start() if who == "up" else actuator.stop(bundle)
    order = pids.identify(int(upping.read_text()))
    if order is not None:
        pids.kill([order])
    assert order is None
    assert (" down " in (taken.bin / "ended").read_text()) if who != "up" else actuator.stop(bundle)
    assert actuator.status(bundle) == NOTHING_LEFT


def test_only_what_is_told_to_start_or_to_end_containers_bears_their_mark(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, bin_ = tmp_path / "bundle", tmp_path / "bin"
    written(quickstart, bundle)
    noting = '#!/bin/sh\necho "$HARMONIA_ORDERS $*" >> "$(dirname "$0")/noted"\n'
    monkeypatch.setenv("PATH", f"{with_docker(bin_, noting)['PATH']}:{os.environ['PATH']}")
    docker = Docker(bundle, os.environ)
    docker.engine()
    docker.containers()
    assert all(line.startswith(" ") for line in (bin_ / "noted").read_text().splitlines())
    (bin_ / "noted").unlink()
    with (tmp_path / "log").open("wb") as log:
        docker.up((), log).wait()
    docker.stop("gateway", 1.0)
    docker.down(1.0)
    noted = (bin_ / "noted").read_text().splitlines()
    asked = [line for line in noted if line.startswith((" ps ", " network ls "))]
    assert (len(noted) - len(asked), len(asked)) == (4, 2)
    assert all(line.startswith(f"{docker.project} ") for line in noted if line not in asked)


@pytest.mark.parametrize("has_files", [True, False])
@pytest.mark.parametrize("has_containers", [True, False])
def test_what_bears_the_name_of_a_service_is_removed_also_where_no_file_says_so_and_no_container_is_there(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_files: bool, has_containers: bool
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.start(actuator, bundle)
    kill_keeper(taken.run)
    (taken.bin / "networks").write_text("its-network\n")
    if not has_containers:
        (taken.bin / "only").write_text("nobody's")
    if not has_files:
        (bundle / "compose.yaml").unlink()
    assert actuator.stop(bundle)
    assert (taken.bin / "removed").read_text().splitlines() == [*(["any"] if has_containers else []), "its-network"]
    assert (taken.bin / "ended").exists() == has_files
    assert actuator.status(bundle) == NOTHING_LEFT


@pytest.mark.parametrize("there", [(), ("compose.a.yaml",), ("compose.overlay.yaml",)])
def test_containers_of_several_hosts_are_ended_also_where_not_all_their_files_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...]
) -> None:
    noting = '#!/bin/sh\necho "$*" >> "$(dirname "$0")/noted"\n[ "$1" != ps ] || echo any\n'
    monkeypatch.setenv("PATH", f"{with_docker(tmp_path / 'bin', noting)['PATH']}:{os.environ['PATH']}")
    for name in there:
        (tmp_path / name).touch()
    Docker(tmp_path, os.environ, ("compose.a.yaml", "compose.overlay.yaml")).down(1.0)
    said = (tmp_path / "bin/noted").read_text()
    assert " down " not in said
    assert "stop --time 1 any\nrm --force any\n" in said


@pytest.mark.parametrize("network", ["host", "bridge"])
def test_the_gateway_is_shown_at_the_port_where_it_answers_on_this_host(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    bundle = tmp_path / "bundle"
    written(quickstart, bundle, f'[compose]\nnetwork = "{network}"\nfirst_port = 20000\n')
    taken = Taken(bundle, "", tmp_path / "bin", monkeypatch)
    with taken.kept():
        taken.until(lambda: taken.keeper._watched["gateway"].status.port is not None)
        status = taken.keeper._status()
        (shown,) = (one.port for one in status.processes if one.name == "gateway")
        assert status.url.endswith(f":{shown}")
        inside = taken.keeper._watched["gateway"].port
        assert inside == (shown if network == "host" else 20_000)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_start_that_is_interrupted_as_its_keeper_begins_is_stopped_again(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    assert isinstance(actuator, kept.Kept)
    taken.say_lives()
    (taken.bin / "go").touch()
    spawn, told = actuator._spawn, []

    def interrupted(bundle: Path, run: rundir.RunDirectory, asked: rundir.Asked) -> Any:
        told.append(spawn(bundle, run, asked))
        signal.raise_signal(number)
        return told[0]

    monkeypatch.setattr(actuator, "_spawn", interrupted)
    # It bears no mark yet, and has signed nothing.
    monkeypatch.setattr(kept, "keepers_of", lambda *_: [])
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=lambda _: None)
        # It is told as before from then on.
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
        still = told[0].poll() is None
        monkeypatch.undo()
        actuator.stop(bundle)
    assert not still
    assert actuator.status(bundle) == NOTHING_LEFT


def test_what_a_keeper_writes_is_its_owners_alone(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.start(actuator, bundle)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in taken.run.logs.glob("supervisor.log")}
    assert actuator.stop(bundle)
    assert modes == {0o600}


def test_a_service_that_somebody_looks_after_or_stops_is_not_left(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    assert isinstance(actuator, kept.Kept)
    assert not actuator._may_be_left(bundle)
    taken.say_last("starting", rundir.Asked())
    assert actuator._may_be_left(bundle)
    lock = taken.run.lock()
    assert lock is not None
    try:
        assert not actuator._may_be_left(bundle)
    finally:
        os.close(lock)
