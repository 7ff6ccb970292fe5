"""A gateway that is a process of its own, over emulated replicas that are not, and the load that comes to it.

At every scrape, all that it has accepted is in exactly one place.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import aiohttp
import msgspec
import psutil

from harmonia_compiler.contract.bundle import Address, Endpoint, Endpoints, ReplicaShare
from harmonia_compiler.contract.plan import encode_plan
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.faults import Fault
from harmonia_compiler.emulate.servers.host import Host
from tests.chaos.service import WALKS_RPS, cloned, emulated
from tests.gateway.processes import command
from tests.ports import free_port

RPS = 3 * WALKS_RPS
_SCRAPE_S = 0.25


@dataclass(frozen=True)
class Start:
    """How the gateway is started: with what in its environment, behind which words, and where it writes its log."""

    environment: Mapping[str, str] = field(default_factory=dict)
    behind: tuple[str, ...] = ()
    log: Path = Path(os.devnull)


@dataclass
class Beside:
    """A gateway that is a process, over replicas that are not."""

    bundle: Path
    port: int
    how: Start
    process: asyncio.subprocess.Process
    scrapes: int = 0

    @property
    def run(self) -> Path:
        return self.bundle / "run"

    @property
    def itself(self) -> psutil.Process:
        return psutil.Process(self.process.pid)

    async def start(self) -> float:
        """Start it again; how long that took until it answers."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.process = await started(self.bundle, self.port, self.how)
        return loop.time() - began

    async def ask(self, session: aiohttp.ClientSession, pipeline: str) -> str:
        """What became of it: `answered`, `refused`, `unheard` where no answer began, `cut`, or a status and a code."""
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
            return f"{response.status} {msgspec.json.decode(raw)['error']['code']}"
        return "answered" if pipeline == "walks" or raw.endswith(b"[DONE]\n\n") else "cut"

    async def get(self, session: aiohttp.ClientSession, path: str) -> bytes:
        async with session.get(f"http://127.0.0.1:{self.port}{path}") as response:
            return await response.read()

    async def check_sum(self, session: aiohttp.ClientSession) -> Counter[str]:
        """Whether all that was accepted is in exactly one place; what was counted, in all pipelines together."""
        found: dict[str, Counter[str]] = {}
        for line in (await self.get(session, "/metrics")).decode().splitlines():
            name, _, rest = line.partition('{pipeline="')
            if rest and name.startswith("harmonia_requests_") and not name.endswith("_created"):
                pipeline, _, count = rest.partition('"} ')
                what = name.removeprefix("harmonia_requests_").removesuffix("_total")
                found.setdefault(pipeline, Counter())[what] += int(float(count))
        total: Counter[str] = Counter()
        for counts in found.values():
            assert counts["accepted"] == counts.total() - counts["accepted"], found
            total.update(counts)
        self.scrapes += 1
        return total

    async def scrape(self, session: aiohttp.ClientSession) -> None:
        """Look whether it is so, again and again, as long as the gateway is there."""
        while True:
            with suppress(aiohttp.ClientError):
                await self.check_sum(session)
            await asyncio.sleep(_SCRAPE_S)


async def started(bundle: Path, port: int, how: Start) -> asyncio.subprocess.Process:
    """The process, once it answers."""
    with how.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *how.behind, *command(bundle, port), stderr=log, env={**os.environ, **how.environment}
        )
    async with aiohttp.ClientSession() as session, asyncio.timeout(30.0):
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/healthz"):
                    return process
            except aiohttp.ClientError:
                assert process.returncode is None
                await asyncio.sleep(0.02)


def written(folder: Path, scenario: Scenario, endpoints: list[Endpoint], replicas: int = 3) -> Path:
    """The bundle of a plan that has these replicas."""
    bundle = folder / "bundle"
    (bundle / "run").mkdir(parents=True, exist_ok=True)
    shares = {one.replica: ReplicaShare(8) for one in endpoints}
    plan = msgspec.structs.replace(scenario.plan, replicas=tuple(cloned(scenario, replicas)))
    # What these replicas take, and not those that the plan had.
    latencies = {(use.engine, use.config): use.latency_ms for use in plan.profiles}
    takes_ms = {name: latencies[one.engine, one.config.describe()] for one in plan.replicas for name in one.serves}
    expected = {
        pipeline: {name: msgspec.structs.replace(one, service_ms=takes_ms[name]) for name, one in calls.items()}
        for pipeline, calls in scenario.service.expected.items()
    }
    service = msgspec.structs.replace(scenario.service, shares=shares, expected=expected)
    (bundle / "plan.json").write_bytes(encode_plan(plan))
    (bundle / "service.json").write_bytes(msgspec.json.encode(service))
    (bundle / "run" / "endpoints.json").write_bytes(msgspec.json.encode(Endpoints(tuple(endpoints), 1)))
    return bundle


@asynccontextmanager
async def beside(
    folder: Path, scenario: Scenario, endpoints: list[Endpoint], how: Start | None = None, replicas: int = 3
) -> AsyncIterator[Beside]:
    """The gateway in a process of its own."""
    bundle, port, how = written(folder, scenario, endpoints, replicas), free_port(), how or Start()
    found = Beside(bundle, port, how, await started(bundle, port, how))
    (found.run / "gateway.json").write_bytes(msgspec.json.encode(Address("127.0.0.1", port)))
    try:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as watching:
            scraping = watching.create_task(found.scrape(session))
            yield found
            scraping.cancel()
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
    folder: Path,
    scenario: Scenario,
    pipeline: str,
    for_s: float,
    seed: int,
    *faults: Fault,
    rps: float = RPS,
    how: Start | None = None,
) -> AsyncIterator[tuple[Host, Beside, asyncio.Task[list[str]]]]:
    """The replicas, a gateway before them, and the load that comes for so long, in seconds."""
    async with (
        emulated(scenario, *faults) as (host, _, endpoints),
        beside(folder, scenario, endpoints, how) as gateway,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session,
    ):
        host.begin()
        yield host, gateway, asyncio.create_task(load(gateway, session, pipeline, rps, for_s, seed))
