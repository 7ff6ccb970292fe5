"""A gateway over emulated replicas that go wrong, clients that ask it, and the promise that all of this keeps.

Two pipelines: `walks` calls a function of 40 ms, `says` streams what a language model says. Each stage has three
replicas unless a test says otherwise, and requests come at about 60 % of what they can do. At every scrape, all that
was accepted is in exactly one place.
"""

import asyncio
import itertools
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import msgspec

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.launch import REQUEST_HEADER
from harmonia_compiler.contract.plan import Replica
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.document import Rehearsal
from harmonia_compiler.emulate.servers.faults import Fault
from harmonia_compiler.emulate.servers.host import Host
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.runtime.gateway.transport import Transport
from harmonia_compiler.runtime.load.sender import session
from tests.chaos.proxy import FaultProxy
from tests.emulate.planned import planned_for
from tests.gateway.fakes import Served, serving

MODEL = "meta-llama/Llama-3.2-3B-Instruct"
SOURCE = f"""
component walk(question: text) -> text ~ 20 tokens = python("code:walk", takes: 40 ms)
component model = llm("{MODEL}")
component answer(question: text) -> text ~ 30 tokens = model("{{question}}", max_tokens: 60)

pipeline walks(question: text ~ 20 tokens) -> text {{
    load 1 rps
    return walk(question)
}}

pipeline says(question: text ~ 20 tokens) -> text {{
    load 1 rps
    return stream answer(question)
}}
"""
#: The component that gives the answer of each pipeline of these tests.
ANSWERING = {"walks": "walk", "says": "answer", "finds": "say"}
#: Requests a second to one replica of the function that make it busy for 60 % of the time.
WALKS_RPS = 15.0
_SCRAPE_S = 0.1


def planned(folder: Path) -> Scenario:
    """The plan that all tests here clone replicas of."""
    return planned_for(folder, SOURCE)


@dataclass(frozen=True)
class Asked:
    """What became of one request. Times are in seconds since the load began; `replicas` made its calls, of `stages`."""

    number: int
    at_s: float
    took_s: float
    status: int
    code: str
    replicas: tuple[str, ...]
    stages: tuple[str, ...]
    done: bool

    @property
    def answered(self) -> bool:
        return self.status == 200 and not self.code


@dataclass
class Chaos:
    """A running service. Replicas are named after their stage: `walk-1`, `model-1`."""

    served: Served
    host: Host
    proxies: dict[str, FaultProxy]
    session: aiohttp.ClientSession
    asked: list[Asked] = field(default_factory=list)
    scrapes: int = 0
    _began: float = 0.0
    _numbers: Iterable[int] = field(default_factory=itertools.count)

    @property
    def now_s(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    def begin(self) -> None:
        """From here count the times of faults and requests."""
        self._began = asyncio.get_running_loop().time()
        self.host.begin()

    async def load(self, pipeline: str, rps: float, until_s: float, seed: int) -> list[Asked]:
        """Requests at random times, whatever becomes of those before; all of them, once all have ended."""
        chance, tasks = Random(seed), []
        at = self.now_s
        while (at := at + chance.expovariate(rps)) < until_s:
            await asyncio.sleep(max(0.0, at - self.now_s))
            tasks.append(asyncio.create_task(self.ask(pipeline)))
        found = list(await asyncio.gather(*tasks))
        self.asked += found
        return found

    async def ask(self, pipeline: str, number: int | None = None) -> Asked:
        """One request; of a pipeline that streams, a stream."""
        number = next(iter(self._numbers)) if number is None else number
        began, streams = self.now_s, pipeline == "says"
        body = {"inputs": {"question": f"question {number}"}, "stream": streams}
        url = f"{self.served.client.url}/v1/pipelines/{pipeline}"
        async with self.session.post(url, json=body, headers={REQUEST_HEADER: f"r{number}"}) as response:
            raw = await response.read()
            status = response.status
        took = self.now_s - began
        done, last = True, dict[str, Any]()
        if status == 200 and streams:
            events = [line[6:] for line in raw.split(b"\n") if line.startswith(b"data: ")]
            done = events[-1] == b"[DONE]"
            last = msgspec.json.decode(events[-2 if done else -1])
        else:
            last = msgspec.json.decode(raw)
        stages = last.get("timings", {}).get("stages", ())
        code = last.get("error", {}).get("code", "")
        replicas = tuple(stage["replica"] for stage in stages if stage.get("replica"))
        if status == 200 and not code:
            # What an emulated replica says begins with whom it says it to, as far as it is long enough.
            meant = f"{ANSWERING[pipeline]}.r{number}."
            assert last["value"].startswith(meant[: len(last["value"])])
        called = tuple(stage["component"] for stage in stages)
        return Asked(number, began, took, status, code, replicas, called, done)

    async def scrape(self) -> None:
        """Look whether every request that was accepted is in exactly one place, again and again."""
        while True:
            await self.check_sum()
            await asyncio.sleep(_SCRAPE_S)

    async def check_sum(self) -> dict[str, int]:
        """Whether it is so now; what was counted, in all pipelines together."""
        total: Counter[str] = Counter()
        for pipeline in self.served.gateway.service.programs:
            counters = await self.served.client.counters(pipeline)
            parts = sum(count for name, count in counters.items() if name != "accepted")
            assert counters["accepted"] == parts, counters
            total.update(counters)
        self.scrapes += 1
        return dict(total)

    def left_out(self, engine: str) -> int:
        """How often replicas of an engine were left out."""
        return self.served.gateway.dispatcher.queues[self.engine(engine)].line.pool.left_out

    def engine(self, stage: str) -> str:
        """The engine of a stage's replicas."""
        return next(one.engine for name, one in self.host.replicas.items() if name.startswith(f"{stage}-"))


def share(asked: Iterable[Asked], replica: str, since_s: float = 0.0) -> float:
    """The part of the calls that a replica took, as far as clients were told."""
    counts = Counter(name for one in asked if one.at_s >= since_s for name in one.replicas)
    return counts[replica] / max(1, counts.total())


def quantile(asked: Iterable[Asked], part: float) -> float:
    """The time that so large a part of the answers took at the most."""
    times = sorted(one.took_s for one in asked if one.answered)
    return times[min(len(times) - 1, math.ceil(part * len(times)) - 1)] if times else math.inf


def _likeness(replica: Replica) -> tuple[bool, bool]:
    """How well a replica of the plan stands for all: a model on a GPU, a function on one core."""
    return replica.config.gpus > 0, replica.config.cores == 1.0


def cloned(scenario: Scenario, replicas: int = 3) -> list[Replica]:
    """So many replicas of each stage, named after it; a store is one server."""
    return [
        msgspec.structs.replace(one, id=f"{one.engine}-{number}")
        for one in {one.engine: one for one in sorted(scenario.plan.replicas, key=_likeness)}.values()
        for number in range(1, (1 if kinds()[scenario.plan.engines[one.engine].kind].stateful else replicas) + 1)
    ]


@asynccontextmanager
async def emulated(
    scenario: Scenario, *faults: Fault, replicas: int = 3
) -> AsyncIterator[tuple[Host, dict[str, FaultProxy], list[Endpoint]]]:
    """So many replicas of each stage, each behind a proxy, and where those listen."""
    outcomes = dict(scenario.behaviour.outcomes)
    host = Host(
        Rehearsal(scenario.service, tuple(cloned(scenario, replicas)), outcomes, 3, faults=faults), load_cards()
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(host.stop)
        proxies: dict[str, FaultProxy] = {}
        for one in await host.start():
            proxies[one.replica] = await FaultProxy(one.port).start()
            stack.push_async_callback(proxies[one.replica].stop)
        yield (
            host,
            proxies,
            [Endpoint(name, host.replicas[name].engine, "127.0.0.1", one.port) for name, one in proxies.items()],
        )


@asynccontextmanager
async def chaos(
    scenario: Scenario,
    *faults: Fault,
    replicas: int = 3,
    concurrency: int = 8,
    milvus: Transport | None = None,
) -> AsyncIterator[Chaos]:
    """The service with so many replicas of each stage, and the faults that it will have."""
    service = scenario.service
    async with (
        emulated(scenario, *faults, replicas=replicas) as (host, proxies, endpoints),
        serving(
            dict(service.programs), endpoints, engines=service.engines, concurrency=concurrency, milvus=milvus
        ) as served,
        # None is kept so long that the gateway closes it just as it is used again, however this machine stalls.
        session({}, keep_alive_s=1.0) as client,
    ):
        running = Chaos(served, host, proxies, client)
        running.begin()
        async with asyncio.TaskGroup() as beside:
            scraping = beside.create_task(running.scrape())
            yield running
            scraping.cancel()
        ended = await running.check_sum()
        assert ended["in_flight"] == 0
        assert running.scrapes > 1
