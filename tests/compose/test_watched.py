"""How long a container took until it was ready, as the controller is told."""

import time
from pathlib import Path

import pytest

from harmonia_compiler.contract.launch import Probe
from harmonia_compiler.runtime.actuators.compose.containers import life_of
from harmonia_compiler.runtime.actuators.compose.docker import Docker
from harmonia_compiler.runtime.actuators.compose.watched import Watched
from harmonia_compiler.runtime.actuators.supervision import rundir
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
    watched.look(life_of(WELL))
    assert watched.is_ready
    assert took_s(watched) is None
    watched.close()
