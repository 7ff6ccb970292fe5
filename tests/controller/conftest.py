"""A bundle whose gateway and controller are processes, over two replicas that do as they are told."""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoint, Endpoints, ExpectedCalls, ReplicaShare, Service
from harmonia_compiler.contract.decision import Decision, Said
from harmonia_compiler.contract.plan import (
    Configuration,
    PipelineShare,
    Plan,
    Predicted,
    ProfileUse,
    Replica,
    Solver,
    encode_plan,
)
from harmonia_compiler.contract.program import Call, Parameter
from harmonia_compiler.contract.readings import Readings
from tests.gateway.fakes import COMPONENTS, ENGINES, FakeEngine, program
from tests.gateway.processes import started

SAY = program("say", (Parameter("question"), Call("say", ("question",), (0,))), streams=False)
#: What the plan expects of a call, and what one replica carries.
CALL_MS, CAPACITY_RPS = 100.0, 40.0
#: How long a slow replica takes, in seconds. It is still given its part of the calls: one that took twice as long as
#: the other, or more, would hardly be given any by whoever routes them, and the controller would learn little.
SLOW_S = 0.19
REPLICAS = ("llm-0", "llm-1")


def write_plan(bundle: Path) -> None:
    config = Configuration(1.0, 1.0)
    replicas = tuple(Replica(name, "llm", "here", (), 1.0, 1.0, config, ("say",)) for name in REPLICAS)
    plan = Plan(
        1,
        "throughput",
        (PipelineShare("say", 50.0, {"say": 1.0}),),
        {"say": COMPONENTS["say"]},
        {"llm": ENGINES["llm"]},
        replicas,
        {"say": Predicted(80.0, 20.0, 20.0, 1.0, "llm")},
        (ProfileUse("llm", config.describe(), "a test", CAPACITY_RPS, CALL_MS),),
        Solver("optimal", 0.0),
        {},
    )
    (bundle / "plan.json").write_bytes(encode_plan(plan))
    service = Service(
        {"say": SAY},
        {"llm": ENGINES["llm"]},
        {},
        dict.fromkeys(REPLICAS, ReplicaShare(8, CAPACITY_RPS)),
        {"say": {"say": ExpectedCalls(1.0, CALL_MS)}},
    )
    (bundle / "service.json").write_bytes(msgspec.json.encode(service))


@dataclass
class Running:
    """The bundle's folder, its gateway, and what became of the requests that were sent to it."""

    bundle: Path
    url: str
    client: aiohttp.ClientSession
    statuses: list[int] = field(default_factory=list)
    asked: Iterator[int] = field(default_factory=itertools.count)

    @property
    def run(self) -> Path:
        return self.bundle / "run"

    async def ask(self) -> None:
        # No two begin alike: those that do go to the same replica as long as it is not busy.
        inputs = {"question": f"{next(self.asked)} times: why?"}
        async with self.client.post(f"{self.url}/v1/pipelines/say", json={"inputs": inputs}) as answer:
            await answer.read()
            self.statuses.append(answer.status)

    async def readings(self) -> Readings:
        async with self.client.get(f"{self.url}/readings") as answer:
            return msgspec.json.decode(await answer.read(), type=Readings)

    async def reads(self, holds: Callable[[Readings], bool], within_s: float = 25.0) -> None:
        """Ask for the readings until a condition holds: the gateway looks at files from time to time."""
        until = time.monotonic() + within_s
        while not holds(found := await self.readings()):
            assert time.monotonic() < until, found
            await asyncio.sleep(0.02)

    def decision(self) -> Decision | None:
        with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
            return msgspec.json.decode((self.run / "decision.json").read_bytes(), type=Decision)
        return None

    def said(self) -> Said | None:
        with contextlib.suppress(FileNotFoundError):
            return msgspec.json.decode((self.run / "controller.json").read_bytes(), type=Said)
        return None

    async def load_until(self, holds: Any, within_s: float = 25.0, pause_s: float = 0.02) -> None:
        """Send requests until a condition holds, and fail where it does not in time or a request does."""
        until, tasks = time.monotonic() + within_s, list[asyncio.Task[None]]()
        while not holds():
            assert time.monotonic() < until, self.said()
            tasks.append(asyncio.create_task(self.ask()))
            await asyncio.sleep(pause_s)
        await asyncio.gather(*tasks)
        assert set(self.statuses) <= {200}

    @contextlib.contextmanager
    def controlled(self, every_s: float = 0.6) -> Iterator["subprocess.Popen[bytes]"]:
        """The controller, until the end of the context."""
        command = [sys.executable, "-m", "harmonia_compiler.runtime.controller", str(self.bundle)]
        process = subprocess.Popen([*command, "--every", str(every_s)], env={**os.environ})
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
            assert process.wait(10) in (0, -signal.SIGKILL)


@pytest.fixture
async def two() -> AsyncIterator[tuple[FakeEngine, FakeEngine]]:
    engines = await FakeEngine(pause_s=0.1).start(), await FakeEngine(pause_s=0.1).start()
    yield engines
    for engine in engines:
        await engine.stop()


@pytest.fixture
async def running(tmp_path: Path, two: tuple[FakeEngine, FakeEngine]) -> AsyncIterator[Running]:
    bundle = tmp_path / "bundle"
    (bundle / "run").mkdir(parents=True)
    write_plan(bundle)
    endpoints = [Endpoint(name, "llm", "127.0.0.1", one.port) for name, one in zip(REPLICAS, two, strict=True)]
    (bundle / "run" / "endpoints.json").write_bytes(msgspec.json.encode(Endpoints(tuple(endpoints), 1)))
    with started(bundle) as gateway:
        async with aiohttp.ClientSession() as client:
            yield Running(bundle, gateway.url, client)
