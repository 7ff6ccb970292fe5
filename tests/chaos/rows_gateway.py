"""What a service promises while its gateway is told to stop, or killed: run by `make chaos`."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import aiohttp
import msgspec
import psutil
import pytest

from harmonia_compiler.contract.bundle import Endpoint, Endpoints, ReplicaShare
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.host import Host
from tests.chaos.service import WALKS_RPS, emulated
from tests.gateway.processes import command, free_port

RPS = 3 * WALKS_RPS


@dataclass
class Beside:
    """A gateway that is a process, over replicas that are not."""

    bundle: Path
    port: int
    process: asyncio.subprocess.Process

    async def start(self) -> float:
        """Start it again; how long that took until it answers."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.process = await started(self.bundle, self.port)
        return loop.time() - began

    async def ask(self, session: aiohttp.ClientSession, pipeline: str) -> str:
        """What became of a request: `answered`, `refused`, `unheard` where no answer began, `cut`, or a status."""
        body = {"inputs": {"question": "why?"}, "stream": pipeline == "says"}
        url = f"http://127.0.0.1:{self.port}/v1/pipelines/{pipeline}"
        try:
            async with session.post(url, json=body) as response:
                raw = await response.read()
        except aiohttp.ClientConnectorError:
            return "refused"
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            return "unheard"
        except aiohttp.ClientError:
            return "cut"
        if response.status != 200:
            return str(response.status)
        return "answered" if pipeline == "walks" or raw.endswith(b"[DONE]\n\n") else "cut"


async def started(bundle: Path, port: int) -> asyncio.subprocess.Process:
    """The process, once it answers."""
    process = await asyncio.create_subprocess_exec(*command(bundle, port), stderr=asyncio.subprocess.DEVNULL)
    async with aiohttp.ClientSession() as session, asyncio.timeout(30.0):
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/healthz"):
                    return process
            except aiohttp.ClientError:
                assert process.returncode is None
                await asyncio.sleep(0.02)


@asynccontextmanager
async def beside(folder: Path, scenario: Scenario, endpoints: list[Endpoint]) -> AsyncIterator[Beside]:
    """The gateway in a process of its own."""
    bundle = folder / "bundle"
    (bundle / "run").mkdir(parents=True)
    shares = {one.replica: ReplicaShare(8) for one in endpoints}
    service = msgspec.structs.replace(scenario.service, shares=shares)
    (bundle / "service.json").write_bytes(msgspec.json.encode(service))
    (bundle / "run" / "endpoints.json").write_bytes(msgspec.json.encode(Endpoints(tuple(endpoints), 1)))
    port = free_port()
    found = Beside(bundle, port, await started(bundle, port))
    try:
        yield found
    finally:
        if found.process.returncode is None:
            found.process.kill()
        await found.process.wait()


async def load(
    gateway: Beside, session: aiohttp.ClientSession, pipeline: str, rps: float, for_s: float, seed: int
) -> list[str]:
    """What became of requests that come at random."""
    loop, chance, tasks = asyncio.get_running_loop(), Random(seed), []
    until = loop.time() + for_s
    while loop.time() < until:
        tasks.append(asyncio.create_task(gateway.ask(session, pipeline)))
        await asyncio.sleep(chance.expovariate(rps))
    return list(await asyncio.gather(*tasks))


@asynccontextmanager
async def loaded(
    folder: Path, scenario: Scenario, pipeline: str, for_s: float, seed: int
) -> AsyncIterator[tuple[Host, Beside, asyncio.Task[list[str]]]]:
    """The replicas, a gateway before them, and the load that comes for so long, in seconds."""
    async with (
        emulated(scenario) as (host, _, endpoints),
        beside(folder, scenario, endpoints) as gateway,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session,
    ):
        yield host, gateway, asyncio.create_task(load(gateway, session, pipeline, RPS, for_s, seed))


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
