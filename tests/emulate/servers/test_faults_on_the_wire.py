"""Emulated replicas that fail, hang, lie, slow down, die and start anew, seen from the wire."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise

import aiohttp
import pytest

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.types import Value
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.clock import RealLoop
from harmonia_compiler.emulate.servers.faults import Fault
from harmonia_compiler.runtime.gateway.milvus_transport import MilvusTransport
from harmonia_compiler.runtime.gateway.transport import Refused, Unreachable
from tests.emulate.planned import planned_for
from tests.emulate.servers.emulated import MODEL, SOURCE, called, client, emulated


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    return planned_for(tmp_path_factory.mktemp("app"), SOURCE)


async def test_a_replica_fails_hangs_and_lies_when_it_is_told_to(planned: Scenario) -> None:
    walk, model = (
        next(one.id for one in planned.plan.replicas if one.engine == engine) for engine in ("walk", "model")
    )
    wrong = (Fault(walk, "fail", share=0.5), Fault(model, "hang"), Fault(model, "lie"))
    async with emulated(planned, *wrong) as (_, at), aiohttp.ClientSession() as session:
        outcomes = []
        for request in range(4):
            try:
                await called(planned, at["walk"], "walk", str(request), question="q")
                outcomes.append("ok")
            except Refused as refused:
                outcomes.append(str(refused.status))
        assert sorted(outcomes) == ["500", "500", "ok", "ok"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await called(planned, at["model"], "grade", "1", question="q")
        for engine, status in (("walk", 503), ("model", 200)):
            async with session.get(f"http://127.0.0.1:{at[engine].port}/health") as answer:
                assert answer.status == status


async def test_a_replica_that_hangs_says_no_more_of_what_it_has_begun(planned: Scenario) -> None:
    model = next(one.id for one in planned.plan.replicas if one.engine == "model")
    hang, came = Fault(model, "hang"), list[float]()
    async with emulated(planned) as (replicas, at), client(at["model"]) as ask:
        condition = replicas.replicas[model].condition
        stream = await ask.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "hello"}],
            max_tokens=150,
            extra_body={"ignore_eos": True},
            stream=True,
        )
        async for _piece in stream:
            came.append(time.monotonic())
            if len(came) == 5:
                condition.change(hang, begins=True)
                asyncio.get_running_loop().call_later(0.5, partial(condition.change, hang, begins=False))
    gaps = [after - before for before, after in pairwise(came)]
    # Of what it had written, some may be read once it hangs.
    assert max(gaps[4:]) > 0.4
    assert len(came) > 100, "and it goes on where it was"


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20.0):
        while not holds():
            await asyncio.sleep(0.01)


async def until_unreachable(ask: Callable[[], Awaitable[Value]]) -> None:
    async def for_ever() -> None:
        while True:
            await ask()
            await asyncio.sleep(0.02)

    with pytest.raises(Unreachable):
        await for_ever()


async def until_it_answers(ask: Callable[[], Awaitable[Value]]) -> None:
    async with asyncio.timeout(20.0):
        while True:
            try:
                assert await ask()
                break
            except Unreachable:
                await asyncio.sleep(0.05)


async def test_a_replica_dies_and_comes_back_on_its_port(planned: Scenario) -> None:
    walk = next(one.id for one in planned.plan.replicas if one.engine == "walk")
    async with emulated(planned, Fault(walk, "die", from_s=1.0, until_s=3.0)) as (_, at):
        ask = partial(called, planned, at["walk"], "walk", "1", question="q")
        assert await ask()
        await until_unreachable(ask)
        await until_it_answers(ask)


async def test_a_store_fails_hangs_lies_and_dies_as_others_do(planned: Scenario) -> None:
    store = next(one.id for one in planned.plan.replicas if one.engine == "search")
    asked: dict[str, Value] = {"query": [0.1] * 384}
    async with emulated(planned, Fault(store, "fail")) as (_, at):
        assert await said_of(at["search"]) is not None
    async with emulated(planned, Fault(store, "fail"), Fault(store, "lie")) as (_, at):
        with pytest.raises(Refused, match="told to fail"):
            await called(planned, at["search"], "search", "1", **asked)
    async with emulated(planned, Fault(store, "hang"), Fault(store, "lie")) as (_, at):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await called(planned, at["search"], "search", "1", **asked)
        assert await said_of(at["search"]) is None
    async with emulated(planned, Fault(store, "die", until_s=2.0)) as (_, at):
        ask = partial(called, planned, at["search"], "search", "1", **asked)
        await until_unreachable(ask)
        await until_it_answers(ask)


async def said_of(store: Endpoint) -> str | None:
    """Why a store is not ready, as the gateway asks it."""
    transport = MilvusTransport()
    try:
        return await transport.answers(store)
    finally:
        await transport.close()


async def test_times_of_faults_count_from_the_first_request(planned: Scenario) -> None:
    walk = next(one.id for one in planned.plan.replicas if one.engine == "walk")
    async with emulated(planned, Fault(walk, "fail", from_s=1.0, until_s=1.5)) as (replicas, at):
        condition = replicas.replicas[walk].condition
        assert condition.now("fail") is None
        await until(lambda: condition.now("fail") is not None)
        await until(lambda: condition.now("fail") is None)
        assert await called(planned, at["walk"], "walk", "1", question="q")


async def test_a_replica_that_died_loads_its_weights_anew_each_time(planned: Scenario) -> None:
    walk = next(one.id for one in planned.plan.replicas if one.engine == "walk")
    twice = [Fault(walk, "die", from_s=at_s, until_s=at_s + 0.05) for at_s in (0.0, 3.0)]
    async with emulated(planned, *twice, start_s={"walk": 1.5}) as (replicas, at):
        condition = replicas.replicas[walk].condition
        for _ in range(2):
            await until(lambda: not condition.is_loaded)
            await until(lambda: condition.is_loaded)
            assert await called(planned, at["walk"], "walk", "1", question="q")


async def test_two_that_slow_a_model_slow_it_together_until_either_ends(planned: Scenario) -> None:
    model = next(one.id for one in planned.plan.replicas if one.engine == "model")
    both = (Fault(model, "slow", factor=3.0), Fault(model, "slow", factor=2.0, until_s=1.0))
    async with emulated(planned, *both) as (replicas, _):
        condition = replicas.replicas[model].condition
        assert condition.slowness == 6.0
        while (slowness := condition.slowness) == 6.0:
            await asyncio.sleep(0.01)
        assert slowness == 3.0


async def test_a_replica_that_loads_its_weights_says_so(planned: Scenario) -> None:
    async with emulated(planned, start_s={"model": 5.0}) as (replicas, at):
        with pytest.raises(Refused) as refused:
            await called(planned, at["model"], "grade", "1", question="q")
        assert refused.value.status == 503
        address = f"http://127.0.0.1:{at['model'].port}"
        asked = ("/v1/models", "/metrics", "/health")
        async with aiohttp.ClientSession() as client:
            assert [(await client.get(f"{address}{path}")).status for path in asked] == [503] * len(asked)
            model = next(one for one in replicas.replicas.values() if one.engine == "model")
            while not model.condition.is_loaded:
                await asyncio.sleep(0.05)
            assert [(await client.get(f"{address}{path}")).status for path in asked] == [200] * len(asked)
        assert await called(planned, at["model"], "grade", "1", question="q") in {"yes", "no"}


async def test_happenings_follow_their_plan_and_not_the_delay_of_the_machine() -> None:
    late: list[float] = []
    seen: list[float] = []
    clock = RealLoop(late=late.append)
    clock.catch_up()
    began = clock.now_ms

    def step(number: int) -> None:
        seen.append(clock.now_ms - began)
        if number < 5:
            clock.after(10.0, lambda: step(number + 1))

    clock.after(10.0, lambda: step(1))
    await asyncio.sleep(0.002)
    # The loop is held up: what was due meanwhile happens afterwards, at the times that were planned.
    until = asyncio.get_running_loop().time() + 0.08
    while asyncio.get_running_loop().time() < until:
        pass
    await asyncio.sleep(0.02)
    assert seen == pytest.approx([10.0, 20.0, 30.0, 40.0, 50.0], abs=0.01)
    assert max(late) > 20.0
