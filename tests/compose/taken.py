"""A service of containers whose keeper was killed, over a Docker that is a script."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoint, Endpoints
from harmonia_compiler.runtime.actuators.actuator import Actuator, Phase, Status, actuator_for
from harmonia_compiler.runtime.actuators.compose import keeper as keeping
from harmonia_compiler.runtime.actuators.supervision import pids, rundir
from tests.compose.test_files import written
from tests.compose.test_keeping import inspected, part, with_docker
from tests.emit.conftest import Planned

#: Docker whose containers are in the file beside it. It notes what it is to start and to end, and the endpoints that
#: there are whenever it is asked about containers, and opens the collections of a store once it may. What the container
#: says last that `says` names, it tells once all have ended, and not once they are removed. Where it has contexts, they
#: are in the one named `one`, and it notes what it is asked for in any other, which has nothing.
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
  logs)
    [ "$(cat "$own/says" 2>/dev/null)" = "$5" ] || exit 0
    until grep -q " stop --timeout [0-9]*$" "$own/ended"; do sleep 0.02; done 2>/dev/null
    sleep 0.3
    grep -q " down " "$own/ended" || echo "its last words" ;;
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


def kill_keeper(run: rundir.RunDirectory) -> None:
    holder = run.holder()
    assert holder is not None
    os.kill(holder.pid, signal.SIGKILL)
    while run.is_held():
        time.sleep(0.02)
