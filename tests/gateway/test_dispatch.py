"""Which replica takes a call, and who waits for one."""

import asyncio

import pytest
from starlette.types import Scope

from harmonia_compiler.contract.bundle import Endpoint, Endpoints, ReplicaShare, Service
from harmonia_compiler.contract.program import Call, Parameter
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.policy.line import (
    RETRY_AFTER_MAX_S,
    WAITING_AT_LEAST,
    Line,
    NoReplica,
    QueueFull,
)
from harmonia_compiler.policy.waiting import Standing
from harmonia_compiler.runtime.gateway.common import Common
from harmonia_compiler.runtime.gateway.dispatch import LOOK_S, Dispatcher, EngineQueue
from harmonia_compiler.runtime.gateway.http_transport import HttpTransport
from harmonia_compiler.runtime.gateway.problem import Problem
from harmonia_compiler.runtime.gateway.service import Gateway
from tests.gateway.fakes import ENGINES, RECORD, program


def endpoint(name: str, port: int | None = None) -> Endpoint:
    return Endpoint(name, "llm", "127.0.0.1", ord(name) if port is None else port)


def queue(concurrency: int, *names: str) -> EngineQueue:
    made = EngineQueue(Line(ReplicaShare(concurrency), {}), asyncio.get_running_loop().time)
    made.set_replicas([endpoint(name) for name in names])
    return made


async def test_calls_spread_evenly_and_wait_in_order() -> None:
    waiting = queue(1, "a", "b")
    taken = [await waiting.acquire() for _ in range(2)]
    assert {one.replica for one in taken} == {"a", "b"}
    order: list[int] = []

    async def call(number: int) -> None:
        got = await waiting.acquire()
        order.append(number)
        waiting.release(got)

    tasks = [asyncio.create_task(call(number)) for number in range(4)]
    await asyncio.sleep(0)
    assert order == []
    for one in taken:
        waiting.release(one)
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3]
    assert [replica.in_flight for replica in waiting.line.replicas.values()] == [0, 0]


async def test_nobody_waits_for_an_engine_without_replicas() -> None:
    waiting = queue(1)
    with pytest.raises(NoReplica):
        await waiting.acquire()


async def test_who_waits_learns_that_the_last_replica_is_gone() -> None:
    waiting = queue(1, "a")
    taken = await waiting.acquire()
    task = asyncio.create_task(waiting.acquire())
    await asyncio.sleep(0)
    waiting.set_replicas([])
    with pytest.raises(NoReplica):
        await task
    waiting.release(taken)


async def test_who_waits_moves_to_a_new_replica() -> None:
    waiting = queue(1, "a")
    taken = await waiting.acquire()
    task = asyncio.create_task(waiting.acquire())
    await asyncio.sleep(0)
    waiting.set_replicas([endpoint("a"), endpoint("b")])
    assert (await task).replica == "b"
    assert waiting.line.replicas["a"].in_flight == 1
    waiting.release(taken)
    assert waiting.line.replicas["a"].in_flight == 0


async def test_a_replica_that_came_back_elsewhere_starts_from_nothing() -> None:
    waiting = queue(1, "a")
    before = await waiting.acquire()
    waiting.set_replicas([endpoint("a", port=2)])
    after = await waiting.acquire()
    assert after.port == 2
    waiting.release(before)
    assert waiting.line.replicas["a"].in_flight == 1


async def test_the_queue_is_bounded_and_says_when_to_come_back() -> None:
    waiting = queue(1, "a")
    waiting.line.held_s.add(100.0)
    await waiting.acquire()
    tasks = [asyncio.create_task(waiting.acquire((), Standing(request=at))) for at in range(WAITING_AT_LEAST)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull, match="64 calls of 64 requests wait") as raised:
        await waiting.acquire((), Standing(request=WAITING_AT_LEAST))
    assert raised.value.retry_after_s == RETRY_AFTER_MAX_S
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not waiting.line.waiting


async def test_who_is_cancelled_as_its_turn_comes_gives_the_replica_back() -> None:
    waiting = queue(1, "a")
    taken = await waiting.acquire()
    task = asyncio.create_task(waiting.acquire())
    await asyncio.sleep(0)
    waiting.release(taken)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert waiting.line.replicas["a"].in_flight == 0
    assert (await waiting.acquire()).replica == "a"


async def test_replicas_of_engines_that_nothing_calls_are_left_out() -> None:
    dispatcher = Dispatcher({"llm": ReplicaShare(2)}, {}, asyncio.get_running_loop().time)
    dispatcher.set_endpoints([endpoint("a"), Endpoint("x", "other", "127.0.0.1", 1)])
    assert [one.replica for one in dispatcher.endpoints("llm")] == ["a"]


def test_a_time_in_which_the_gateway_itself_did_not_run_is_nobody_s_silence() -> None:
    now = 0.0
    waiting = EngineQueue(Line(ReplicaShare(1), {}), lambda: now)
    waiting.set_replicas([endpoint("a"), endpoint("b")])
    pool = waiting.line.pool
    for _ in range(30):
        pool.answered(endpoint("a"), "c", 0.1, 0.1, now)
    assert {pool.take(now), pool.take(now)} == {endpoint("a"), endpoint("b")}
    waiting.look()
    now = 60.0
    waiting.look()
    assert pool.left_out == 0
    while now < 62.0:
        now += LOOK_S
        waiting.look()
    assert pool.left_out >= 1


async def test_a_place_that_generations_share_goes_to_whoever_comes_first_in_any_of_them() -> None:
    common, clock = Common(), asyncio.get_running_loop().time
    made = [Dispatcher({"llm": ReplicaShare(1)}, {}, clock, common=common) for _ in range(2)]
    for dispatcher in made:
        dispatcher.set_endpoints([endpoint("a")])
    old, new = (dispatcher.queues["llm"] for dispatcher in made)
    taken = await old.acquire()
    order: list[float] = []

    async def call(queue: EngineQueue, at: float) -> None:
        got = await queue.acquire(standing=Standing(at))
        order.append(at)
        queue.release(got)

    async with asyncio.TaskGroup() as calls:
        for queue, at in ((old, 1.0), (new, 0.0), (old, 3.0), (new, 2.0)):
            calls.create_task(call(queue, at))
        await asyncio.sleep(0)
        assert order == []
        old.release(taken)
    assert order == [0.0, 1.0, 2.0, 3.0]
    made[0].leave()
    assert await new.acquire() == endpoint("a")


async def test_a_request_is_told_of_what_waits_in_another_generation_as_long_as_that_serves() -> None:
    common, clock = Common(), asyncio.get_running_loop().time
    saying = program("p", (Parameter("question"), Call("say", ("question",), (0,))), deadline_ms=5000.0)
    service = Service({"p": saying}, {"llm": ENGINES["llm"]}, {}, {"a": ReplicaShare(1)})
    to = {"http": HttpTransport()}
    old, new = (Gateway(service, kinds(), to, lambda *_: RECORD, clock, common=common) for _ in range(2))
    for gateway in (old, new):
        gateway.set_endpoints(Endpoints((endpoint("a"),), 1))
        gateway.schedule.lines["llm"].held_s.add(1.0)
    assert old.schedule.lines["llm"].ask(clock()) is not None
    # One is at the replica, and one waits that will make twenty more calls.
    scope: Scope = {"extensions": {}}
    journey = await old.arrive(saying, None, scope, streams=False)
    old.schedule.puts_off(journey, "say", 20)
    with pytest.raises(Problem, match="it would wait for about"):
        await new.arrive(saying, None, scope, streams=False)
    old.leave()
    await new.arrive(saying, None, scope, streams=False)
    await new.close()
