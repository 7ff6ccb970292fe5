"""What a service promises while the clock jumps: run by `make chaos`."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.faults import Fault
from tests.chaos.beside import Beside, Start, loaded
from tests.chaos.controlled import controlled
from tests.chaos.service import SOURCE
from tests.emulate.planned import planned_for

OFTEN_S = 0.5
HOUR_S = 3600
#: Where the library is that lies to a process about the time of day: where one says, or distributions put it.
FAKETIME = [
    *(Path(said) for said in [os.environ.get("LIBFAKETIME", "")] if said),
    *(found for folder in ("/usr/lib", "/usr/lib64") for found in Path(folder).glob("**/faketime/libfaketime.so.1")),
]

PROMISED = SOURCE.replace(
    "    load 1 rps\n    return walk", "    slo p95 latency <= 3 s\n    load 1 rps\n    return walk"
)
#: What Python runs before anything else: the time of day is off by what stands in a file.
OFF_BY = """
import os, time
real = time.time
def shifted():
    with open(os.environ["FAKETIME_TIMESTAMP_FILE"]) as file:
        return real() + float(file.read() or 0)
time.time = shifted
time.time_ns = lambda: int(shifted() * 1e9)
"""


@pytest.fixture(scope="session")
def promised(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """The plan of the same service, one of whose pipelines promises a time."""
    return planned_for(tmp_path_factory.mktemp("promised"), PROMISED)


@pytest.fixture(params=["python", "system"])
def clock(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Start, Path]:
    """How a process is started whose time of day can be moved, and the file that says by how much."""
    off = tmp_path / "off"
    off.write_text("+0")
    told = {"FAKETIME_TIMESTAMP_FILE": str(off)}
    if request.param == "python":
        (tmp_path / "shim").mkdir()
        (tmp_path / "shim" / "sitecustomize.py").write_text(OFF_BY)
        return Start({**told, "PYTHONPATH": str(tmp_path / "shim")}), off
    if not FAKETIME:
        pytest.skip("libfaketime is not installed")
    only_day = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}
    return Start({**told, **only_day, "LD_PRELOAD": str(FAKETIME[0])}), off


def move(off: Path, seconds: int) -> None:
    off.write_text(f"{seconds:+d}")


async def jump(off: Path) -> None:
    """An hour ahead, an hour back, and as it was."""
    for seconds in (HOUR_S, -HOUR_S, 0):
        await asyncio.sleep(1.5)
        move(off, seconds)


async def test_a_clock_that_jumps_by_an_hour_ends_nothing_early(
    promised: Scenario, seed: int, tmp_path: Path, clock: tuple[Start, Path]
) -> None:
    how, off = clock
    async with (
        loaded(tmp_path, promised, "walks", 7.0, seed, how=how) as (_, gateway, loading),
        controlled(gateway, OFTEN_S, how) as controller,
    ):
        await controller.until(controller.said, 10.0)
        await jump(off)
        said = controller.said()
        await controller.until(lambda: controller.said() != said, 5.0)
        assert set(await loading) == {"answered"}


async def test_a_clock_that_jumps_by_an_hour_ends_nothing_late(
    promised: Scenario, seed: int, tmp_path: Path, clock: tuple[Start, Path]
) -> None:
    how, off = clock
    faults = [Fault(f"walk-{number}", "hang", 0.0) for number in (1, 2, 3)]
    async with (
        loaded(tmp_path, promised, "walks", 0.0, seed, *faults, how=how) as (_, gateway, loading),
        aiohttp.ClientSession() as session,
    ):
        await loading
        jumping = asyncio.create_task(jump(off))
        took = await asyncio.gather(*(timed(gateway, session) for _ in range(10)))
        assert {became for became, _ in took} == {"504 deadline_exceeded"}
        assert all(2.5 < seconds < 4.0 for _, seconds in took), took
        await jumping


async def timed(gateway: Beside, session: aiohttp.ClientSession) -> tuple[str, float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    became = await gateway.ask(session, "walks")
    return became, loop.time() - began


def test_the_shim_moves_the_time_of_day_of_a_process(clock: tuple[Start, Path]) -> None:
    how, off = clock
    off.write_text("+3600")
    words = [sys.executable, "-c", "import time; print(time.time(), time.monotonic())"]
    there, monotonic = map(
        float, subprocess.check_output(words, env={**os.environ, **how.environment}, text=True).split()
    )
    here, here_monotonic = map(float, subprocess.check_output(words, text=True).split())
    assert 3500 < there - here < 3700
    assert abs(monotonic - here_monotonic) < 60
