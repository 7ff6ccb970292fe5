"""An open loop: each request is sent at its time, whatever became of those before.

A closed loop, in which a client waits for an answer before it asks again, slows down with the service that it
measures and leaves out the waiting of all who would have come meanwhile.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from time import perf_counter

import aiohttp

from harmonia_compiler.report.observation import Observation, Outcome
from harmonia_compiler.runtime.gateway.http_pool import KEEP_ALIVE_S
from harmonia_compiler.runtime.load.exchange import Asking, Seen, ask
from harmonia_compiler.runtime.load.machine import Watch
from harmonia_compiler.runtime.load.routes import Route
from harmonia_compiler.runtime.load.target import Target
from harmonia_compiler.workload.request import Arrival

#: The class of a request, for a gateway of ours.
_CLASS_HEADER = "x-request-class"
#: How often progress is told, in seconds.
_PROGRESS_S = 5.0


@dataclass(frozen=True, slots=True)
class Sending:
    """How requests are made and what they are held to.

    `question` gives the question of a request, by its number. `deadline_ms` and `ttft_deadline_ms` go before what the
    target itself says.
    """

    target: Target
    route: Route
    question: Callable[[int, Arrival], str]
    max_tokens: Callable[[Arrival], int | None]
    timeout_s: float
    stream: bool = True
    deadline_ms: float | None = None
    ttft_deadline_ms: float | None = None


@dataclass(slots=True)
class Progress:
    """Where a run stands."""

    at_s: float = 0.0
    sent: int = 0
    running: int = 0
    ended: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))


@dataclass(frozen=True, slots=True)
class Ran:
    """What was observed, and until when requests were sent, in milliseconds of the run."""

    observed: list[Observation]
    until_ms: float
    watch: Watch
    was_stopped: bool


def session(headers: dict[str, str]) -> aiohttp.ClientSession:
    """Connections without a limit of ours; none is kept long enough for the service to close it under our hands."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        trust_env=False,
    )


async def run(
    client: aiohttp.ClientSession,
    sending: Sending,
    arrivals: Iterable[Arrival],
    stop: asyncio.Event,
    tell: Callable[[Progress], object],
) -> Ran:
    """Send every request at its time and wait for the last answer; `stop` ends both, and what runs is cut off."""
    loop = _Loop(client, sending)
    loop.watch.start()
    side = [asyncio.create_task(loop.watch.tick()), asyncio.create_task(loop.report(tell))]
    pace = asyncio.create_task(loop.pace(arrivals))
    stopping = asyncio.create_task(_until(stop))
    try:
        await asyncio.wait({pace, stopping}, return_when=asyncio.FIRST_COMPLETED)
        until_ms = loop.now_ms()
        if pace.done():
            pace.result()
        pace.cancel()
        drain = asyncio.create_task(_all(loop.running))
        await asyncio.wait({drain, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in loop.running:
            task.cancel()
        await drain
        if loop.bugs:
            raise loop.bugs[0]
    finally:
        for helper in (*side, pace, stopping):
            helper.cancel()
    return Ran(loop.observed, until_ms, loop.watch, stop.is_set())


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


async def _all(tasks: Collection[asyncio.Task[None]]) -> None:
    """Until all of them have ended, however they do."""
    await asyncio.gather(*tasks, return_exceptions=True)


def _answer_tokens(seen: Seen, target: Target) -> int | None:
    """The tokens of the text that came in pieces. A pipeline counts those of all its models: then by the pieces."""
    if seen.answer_tokens is not None or target.question_field is None:
        return seen.tokens_out if seen.answer_tokens is None else seen.answer_tokens
    return seen.pieces or None


class _Loop:
    def __init__(self, client: aiohttp.ClientSession, sending: Sending) -> None:
        self.client = client
        self.sending = sending
        self.running: set[asyncio.Task[None]] = set()
        self.observed: list[Observation] = []
        self.bugs: list[BaseException] = []
        self.progress = Progress()
        self.watch = Watch(perf_counter)
        self.start = perf_counter()

    def now_ms(self) -> float:
        return (perf_counter() - self.start) * 1000.0

    async def pace(self, arrivals: Iterable[Arrival]) -> None:
        for number, arrival in enumerate(arrivals):
            # Made ready beforehand, so that a long question is not what makes a request late.
            asking = self._asking(number, arrival)
            wait_s = self.start + arrival.at_ms / 1000.0 - perf_counter()
            # Even when late: a sleep of nothing lets answers be read.
            await asyncio.sleep(max(0.0, wait_s))
            task = asyncio.create_task(self._one(arrival, asking))
            self.running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            self.bugs.append(bug)

    async def report(self, tell: Callable[[Progress], object]) -> None:
        while True:
            await asyncio.sleep(_PROGRESS_S)
            self.progress.at_s, self.progress.running = self.now_ms() / 1000.0, len(self.running)
            tell(self.progress)

    def _asking(self, number: int, arrival: Arrival) -> Asking:
        sending = self.sending
        question, limit = sending.question(number, arrival), sending.max_tokens(arrival)
        body = sending.route.body(sending.target, question, limit, stream=sending.stream)
        headers = {"content-type": "application/json"}
        if arrival.request_class is not None:
            headers[_CLASS_HEADER] = arrival.request_class
        return Asking(sending.route.path(sending.target), body, headers, sending.timeout_s)

    async def _one(self, arrival: Arrival, asking: Asking) -> None:
        self.watch.late(self.start + arrival.at_ms / 1000.0)
        self.progress.sent += 1
        seen = await ask(self.client, self.sending.route, asking, perf_counter)
        self.progress.ended[seen.outcome] += 1
        sending = self.sending
        own = sending.target.deadline_of(arrival.request_class)
        self.observed.append(
            Observation(
                sending.target.model,
                arrival.at_ms,
                self._ms(seen.sent),
                self._ms(perf_counter() if seen.finished is None else seen.finished),
                seen.outcome,
                first_ms=None if seen.first is None else self._ms(seen.first),
                request_class=arrival.request_class,
                deadline_ms=own if sending.deadline_ms is None else sending.deadline_ms,
                ttft_deadline_ms=sending.ttft_deadline_ms,
                tokens_in=seen.tokens_in,
                tokens_out=seen.tokens_out,
                answer_tokens=_answer_tokens(seen, sending.target),
                reason=seen.reason,
                stages=seen.stages,
            )
        )

    def _ms(self, at: float) -> float:
        return (at - self.start) * 1000.0
