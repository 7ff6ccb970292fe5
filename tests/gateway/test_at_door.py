"""As many are worked on as may be: who comes then waits at the door, without a call, as long as that may help."""

import asyncio
import gc
from collections.abc import Callable

import pytest

from harmonia_compiler.contract.program import Call, Parameter
from harmonia_compiler.policy import schedule as of_schedule
from harmonia_compiler.policy.limit import Limit
from harmonia_compiler.policy.pipeline import Pipeline, Promise
from harmonia_compiler.policy.schedule import Hopeless, Schedule
from harmonia_compiler.policy.vacancies import Vacancies
from harmonia_compiler.runtime.gateway.at_door import AtDoor
from harmonia_compiler.runtime.gateway.body import ClientGone
from tests.gateway.fakes import FakeEngine, Served, eventually, program, serving

CHAT = "/v1/chat/completions"
SAYING = program("p", (Parameter("question"), Call("say", ("question",), (0,))), deadline_ms=30_000.0)
HURRIED = program("p", (Parameter("question"), Call("say", ("question",), (0,))), deadline_ms=1000.0)


def ask(**more: object) -> dict[str, object]:
    return {"model": "p", "messages": [{"role": "user", "content": "hi"}], **more}


class Fixed(Limit):
    """A limit that stays as it is."""

    def ended(self, *_: object) -> None:
        pass


def at_most(served: Served, most: int) -> Pipeline:
    """Let so many be worked on at once, of whom many a second end."""
    pipeline = served.gateway.schedule.pipeline(served.gateway.service.programs["p"])
    pipeline.limit = Fixed(most=float(most))
    for _ in range(1000):
        pipeline.vacancies.freed(served.gateway.clock(), 30.0, 1.0, empty=True)
    return pipeline


async def scraped(served: Served) -> tuple[int, int]:
    """How many wait at the door by what Prometheus is told, and how many are in flight, both at one time."""
    _, text = await served.client.get("/metrics")
    names = ("harmonia_waiting_at_door", "harmonia_requests_in_flight")
    found = {name: line for line in text.splitlines() for name in names if line.startswith(f'{name}{{pipeline="p"}}')}
    at_door, in_flight = (int(float(found[name].split()[-1])) for name in names)
    return at_door, in_flight


def posted(served: Served, **more: object) -> "asyncio.Task[tuple[int, object]]":
    async def post() -> tuple[int, object]:
        status, body, headers = await served.client.post(CHAT, ask(**more))
        return status, body["error"]["code"] if "error" in body else headers.get("retry-after")

    return asyncio.ensure_future(post())


async def one_waits(served: Served, engine: FakeEngine) -> "list[asyncio.Task[tuple[int, object]]]":
    """One is worked on, for ever, and another waits at the door."""
    engine.hang = True
    first = posted(served)
    await eventually(lambda: engine.in_flight == 1)
    engine.hang = False
    second = posted(served)
    await eventually(lambda: served.gateway.schedule.at_door == 1)
    return [first, second]


async def left(*tasks: "asyncio.Task[tuple[int, object]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("stream", [False, True])
async def test_who_waits_at_the_door_makes_no_call_and_is_let_in_when_a_place_comes_free(
    engine: FakeEngine, *, stream: bool
) -> None:
    async with serving([SAYING], {"llm": engine.port}) as served:
        at_most(served, 1)
        engine.hang = True
        first = posted(served)
        await eventually(lambda: engine.in_flight == 1)
        engine.hang = False
        second = asyncio.ensure_future(served.client.session.post(served.client.url + CHAT, json=ask(stream=stream)))
        await eventually(lambda: served.gateway.schedule.at_door == 1)
        counters = await served.client.counters("p")
        assert (counters["accepted"], counters["in_flight"]) == (2, 2)
        assert (len(engine.calls), served.gateway.under_way) == (1, 2)
        assert await scraped(served) == (1, 2)
        await left(first)
        answer = await second
        assert answer.status == 200
        assert "sky" in await answer.text()
        await eventually(lambda: served.gateway.under_way == 0)
        counters = await served.client.counters("p")
        assert counters == {"accepted": 2, "completed": 1, "cancelled": 1, "failed": 0, "shed": 0, "in_flight": 0}
        assert await scraped(served) == (0, 0)


async def test_a_client_that_leaves_while_it_waits_at_the_door_is_forgotten_at_once(engine: FakeEngine) -> None:
    async with serving([SAYING], {"llm": engine.port}) as served:
        pipeline = at_most(served, 1)
        first, second = await one_waits(served, engine)
        await left(second)
        await eventually(lambda: served.gateway.schedule.at_door == 0)
        await eventually(lambda: served.gateway.under_way == 1)
        counters = await served.client.counters("p")
        assert (counters["accepted"], counters["cancelled"], counters["in_flight"]) == (2, 1, 1)
        assert await scraped(served) == (0, 1)
        await left(first)
        await eventually(lambda: pipeline.under_way() == 0)
        assert len(engine.calls) == 1


async def test_who_came_first_is_refused_where_too_many_wait_and_told_when_to_come_back(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_schedule, "MOST_AT_DOOR", 1)
    async with serving([SAYING], {"llm": engine.port}) as served:
        at_most(served, 1)
        first, _ = tasks = await one_waits(served, engine)
        tasks.append(posted(served))
        assert await tasks[1] == (429, "overloaded")
        await left(first)
        assert (await tasks[2])[0] == 200
        counters = await served.client.counters("p")
        assert (counters["accepted"], counters["shed"], counters["completed"]) == (3, 1, 1)


async def test_nobody_waits_longer_than_its_time_though_nothing_happens(engine: FakeEngine) -> None:
    engine.hang = True
    async with serving([HURRIED], {"llm": engine.port}) as served:
        pipeline = at_most(served, 1)
        # Many places came free until now, and none does any more.
        pipeline.vacancies = Vacancies()
        for _ in range(1000):
            pipeline.vacancies.freed(served.gateway.clock(), 0.16, 30.0, empty=True)
        # As if one were worked on, whose own end would let it in.
        group = served.gateway.schedule.pipelines["p"].group(Promise(1.0))
        group.at_work += 1
        status, body, headers = await served.client.post(CHAT, ask())
        assert (status, body["error"]["code"]) == (429, "overloaded")
        assert int(headers["retry-after"]) > 1
        assert served.gateway.schedule.at_door == 0
        assert not engine.calls


async def test_who_waits_at_the_door_ends_with_the_gateway(engine: FakeEngine) -> None:
    async with serving([SAYING], {"llm": engine.port}) as served:
        at_most(served, 1)
        first, second = await one_waits(served, engine)
        served.front.cut()
        assert await first == await second == (503, "stopping")
        await eventually(lambda: served.gateway.under_way == 0)
        assert served.gateway.schedule.at_door == 0


def gone(waiting: AtDoor, task: "asyncio.Task[object]") -> None:
    waiting.interrupt(ClientGone())


def cancelled(waiting: AtDoor, task: "asyncio.Task[object]") -> None:
    task.cancel()


@pytest.mark.parametrize("ends", [gone, cancelled])
@pytest.mark.parametrize("first", [False, True])
async def test_who_leaves_in_the_moment_in_which_it_is_let_in_gives_its_place_back(
    engine: FakeEngine, ends: "Callable[[AtDoor, asyncio.Task[object]], None]", *, first: bool
) -> None:
    async with serving([SAYING], {"llm": engine.port}) as served:
        pipeline, schedule, clock = at_most(served, 1), served.gateway.schedule, served.gateway.clock
        journey = schedule.arrive(SAYING, Promise(30.0), clock())
        waiting = AtDoor(schedule, clock)
        task: asyncio.Task[object] = asyncio.ensure_future(waiting.let_in(SAYING, Promise(30.0)))
        await eventually(lambda: schedule.at_door == 1)
        if first:
            ends(waiting, task)
        schedule.end(journey, clock(), "broken")
        if not first:
            ends(waiting, task)
        with pytest.raises((ClientGone, asyncio.CancelledError)):
            await task
        assert (pipeline.under_way(), pipeline.at_work(), schedule.at_door) == (0, 0, 0)


async def test_with_some_at_the_door_every_request_is_in_one_place_at_every_scrape(engine: FakeEngine) -> None:
    engine.pause_s = 0.05
    most_seen = 0
    async with serving([HURRIED], {"llm": engine.port}) as served:
        pipeline = at_most(served, 2)
        storm = [posted(served) for _ in range(100)]
        while not all(task.done() for task in storm):
            most_seen = max(most_seen, served.gateway.schedule.at_door)
            counters = await served.client.counters("p")
            assert counters.pop("accepted") == sum(counters.values())
            at_door, in_flight = await scraped(served)
            assert at_door <= in_flight
            await asyncio.sleep(0.005)
        assert {status for status, _ in await asyncio.gather(*storm)} <= {200, 429, 504}
        counters = await served.client.counters("p")
        assert (counters["accepted"], counters["in_flight"]) == (100, 0)
        assert most_seen > 0
        assert (pipeline.under_way(), served.gateway.schedule.at_door) == (0, 0)
        assert await scraped(served) == (0, 0)


async def test_who_waited_at_the_door_has_what_is_left_of_its_time_and_no_more(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    knock = Schedule.knock

    def knocked(self: Schedule, program: object, promise: object, now: float, *told: object) -> object:
        """As if it had come to the door long before."""
        return knock(self, program, promise, now - 29.5, *told)  # type: ignore[arg-type]

    monkeypatch.setattr(Schedule, "knock", knocked)
    async with serving([SAYING], {"llm": engine.port}) as served:
        at_most(served, 1)
        engine.hang = True
        first = posted(served)
        await eventually(lambda: engine.in_flight == 1)
        second = posted(served)
        await eventually(lambda: served.gateway.schedule.at_door == 1)
        await left(first)
        async with asyncio.timeout(20.0):
            assert await second == (504, "deadline_exceeded")


@pytest.mark.parametrize("lets_in", [False, True])
async def test_who_waited_at_the_door_leaves_neither_a_timer_nor_a_cycle(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, *, lets_in: bool
) -> None:
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    later = loop.call_later

    def call_later(delay: float, callback: Callable[..., object], *given: object) -> asyncio.TimerHandle:
        timer = later(delay, callback, *given)
        if isinstance(getattr(callback, "__self__", None), AtDoor):
            timers.append(timer)
        return timer

    async with serving([SAYING], {"llm": engine.port}) as served:
        at_most(served, 1)
        schedule, clock, promise = served.gateway.schedule, served.gateway.clock, Promise(30.0)
        journey = schedule.arrive(SAYING, promise, clock())
        (group,) = schedule.pipeline(SAYING).groups.values()

        async def waits() -> None:
            try:
                begun = await AtDoor(schedule, clock).let_in(SAYING, promise)
            except Hopeless:
                return
            schedule.end(begun, clock(), "broken")

        monkeypatch.setattr(loop, "call_later", call_later)
        task = asyncio.ensure_future(waits())
        await eventually(lambda: schedule.at_door == 1)
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            if lets_in:
                schedule.end(journey, clock(), "broken")
            else:
                group.door.oldest.refused()
            await task
            del task
            gc.collect()
            kept = [each for each in gc.garbage if isinstance(each, AtDoor | Hopeless)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
        assert kept == []
        assert [timer.cancelled() for timer in timers] == [True]
