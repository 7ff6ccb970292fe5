"""Replicas that share a GPU of a node start one after another, though each has a launcher of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from harmonia_compiler.runtime.actuators.slurm.folder import SharedFolder
from harmonia_compiler.runtime.actuators.supervision.rundir import Asked
from harmonia_compiler.runtime.actuators.supervision.turns import turns_on_machine

from .cluster import Cluster
from .service import Place, up, write

_CODE = """
import os
import time

SEEN = "{seen}"


def say(what):
    with open(SEEN, "a") as file:
        file.write(f"{what} {os.environ['CUDA_VISIBLE_DEVICES']}\\n")


say("begins")
while os.path.exists(SEEN + ".holds"):
    time.sleep(0.05)
time.sleep(1.0)
say("ends")


def seen(question):
    return question
"""


def until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not so():
        assert time.monotonic() < end
        time.sleep(0.05)


@contextmanager
def launched(bundle: Path, *names: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The launchers of these replicas, as their steps would start them on one node."""
    program = "harmonia_compiler.runtime.actuators.slurm.step"
    gpus = dict.fromkeys(("SLURM_STEP_GPUS", "CUDA_VISIBLE_DEVICES"), "0,1")
    began = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", program, str(bundle), "12.0", name, "127.0.0.1"],
            env={**os.environ, **gpus, "SLURMD_NODENAME": "large"},
        )
        for name in names
    ]
    try:
        yield began
    finally:
        for one in began:
            one.terminate()
        for one in began:
            one.wait(30)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Two replicas share a GPU, and one has another."""
    places: list[Place] = [("large", (gpu,), "a100_sxm", 1.0) for gpu in (0, 0, 1)]
    found = write(tmp_path, places, code=_CODE.replace("{seen}", str(tmp_path / "seen")))
    (found / "run/logs").mkdir(parents=True)
    SharedFolder(found).begin(Asked(), {})
    SharedFolder(found).enter("12.0")
    return found


def seen(bundle: Path, gpu: int) -> list[str]:
    """What the replicas of a GPU said, one after the other."""
    path = bundle.parent / "seen"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split()[0] for line in lines if line.endswith(f" {gpu}")]


@pytest.mark.slow
def test_who_shares_a_gpu_starts_when_the_one_before_is_ready(bundle: Path) -> None:
    with launched(bundle, "see-0", "see-1"):
        until(lambda: len(seen(bundle, 0)) == 4)
    assert seen(bundle, 0) == ["begins", "ends"] * 2


@pytest.mark.slow
def test_nobody_else_waits_for_them_and_a_killed_one_keeps_nobody(bundle: Path) -> None:
    holds = bundle.parent / "seen.holds"
    holds.touch()
    with launched(bundle, "see-0") as (first,):
        until(lambda: seen(bundle, 0) == ["begins"])
        with launched(bundle, "see-1", "see-2"):
            until(lambda: seen(bundle, 1) == ["begins"])
            assert seen(bundle, 0) == ["begins"]
            # As Slurm ends a step: with what it was starting.
            for pid in (*(one.pid for one in psutil.Process(first.pid).children(recursive=True)), first.pid):
                os.kill(pid, signal.SIGKILL)
            until(lambda: seen(bundle, 0) == ["begins"] * 2)
            holds.unlink()
            until(lambda: seen(bundle, 0) == ["begins", "begins", "ends"])


@pytest.mark.slow
def test_of_two_launchers_of_one_replica_the_second_waits_until_the_first_has_gone(bundle: Path) -> None:
    mine = SharedFolder(bundle).of("12.0", "see-0")

    def pid() -> int | None:
        said = mine.status()
        return said.pid if said is not None and said.phase == "ready" else None

    with launched(bundle, "see-0", "see-0") as both:
        until(lambda: pid() is not None)
        first = pid()
        assert first is not None
        # Nothing keeps the other from the GPU any more.
        time.sleep(1.0)
        assert seen(bundle, 0) == ["begins", "ends"]
        serving, other = sorted(both, key=lambda one: one.pid != psutil.Process(first).ppid())
        for struck in (first, serving.pid):
            os.kill(struck, signal.SIGKILL)
        until(lambda: pid() not in (None, first))
        mine.ask_to_stop(drain=False)
        assert other.wait(30) == 0
    # What waited is told to end as well.
    with launched(bundle, "see-0", "see-0") as both:
        assert [one.wait(30) for one in both] == [0, 0]
    assert seen(bundle, 0) == ["begins", "ends"] * 2


@pytest.mark.slurm
def test_so_do_the_steps_of_a_real_job(cluster: Cluster, tmp_path: Path) -> None:
    places: list[Place] = [("large", (gpu,), "a100_sxm", 1.0) for gpu in (2, 2, 2)]
    bundle = write(tmp_path, places, code=_CODE.replace("{seen}", str(tmp_path / "seen")))
    with up(bundle):
        assert seen(bundle, 2) == ["begins", "ends"] * 3
    assert not cluster.call("squeue", "--noheader")


async def test_turns_are_those_of_one_job_on_one_node() -> None:
    secret = os.urandom(16)
    async with turns_on_machine(secret, "1 a")("gpu 0"):
        for other in ((secret, "1 b", "gpu 0"), (secret, "1 a", "gpu 1"), (os.urandom(16), "1 a", "gpu 0")):
            async with turns_on_machine(*other[:2])(other[2]):
                pass
