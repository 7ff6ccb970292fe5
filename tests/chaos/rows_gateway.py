"""What a service promises while its gateway is told to stop, or killed: run by `make chaos`."""

import asyncio
import signal
from pathlib import Path

import psutil
import pytest

from harmonia_compiler.emulate.scenario import Scenario
from tests.chaos.beside import RPS, loaded


@pytest.mark.parametrize("pipeline", ["walks", "says"])
async def test_a_gateway_that_is_told_to_stop_ends_what_it_has_taken_in(
    scenario: Scenario, seed: int, pipeline: str, tmp_path: Path
) -> None:
    async with loaded(tmp_path, scenario, pipeline, 3.0, seed) as (_, gateway, loading):
        await asyncio.sleep(1.5)
        gateway.process.send_signal(signal.SIGTERM)
        became = await loading
        assert await gateway.process.wait() == 0
        assert set(became) <= {"answered", "refused", "unheard"}
        # Whose connection was being made at that moment: the kernel had taken it in, and the gateway had not.
        assert became.count("unheard") <= 2
        assert became.count("answered") > RPS / 2


@pytest.mark.parametrize("pipeline", ["walks", "says"])
async def test_a_gateway_that_is_killed_is_soon_back_and_leaves_no_replica_at_work(
    scenario: Scenario, seed: int, pipeline: str, tmp_path: Path
) -> None:
    async with loaded(tmp_path, scenario, pipeline, 8.0, seed) as (host, gateway, loading):
        await asyncio.sleep(2.0)
        gateway.process.kill()
        await gateway.process.wait()
        await asyncio.sleep(0.5)
        worked_ms = sum(one.works.busy_ms for one in host.replicas.values())
        await asyncio.sleep(0.5)
        assert sum(one.works.busy_ms for one in host.replicas.values()) == worked_ms
        assert await gateway.start() < 3.0
        became = await loading
        assert set(became) <= {"answered", "refused", "unheard", "cut"}
        assert became[-10:] == ["answered"] * 10
        assert psutil.pid_exists(gateway.process.pid)
