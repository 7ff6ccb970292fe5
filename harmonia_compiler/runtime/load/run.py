"""A measurement of a running service: an open loop of requests, beside which this machine is watched."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import aiohttp

from harmonia_compiler.report.observation import Observation, Outcome
from harmonia_compiler.runtime.load.exchange import Asking, Seen
from harmonia_compiler.runtime.load.machine import Watch
from harmonia_compiler.runtime.load.routes import Route
from harmonia_compiler.runtime.load.sender import Meant, Sender
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

    def meant(self, arrivals: Iterable[Arrival]) -> Iterator[Meant]:
        """The request of each arrival."""
        for number, arrival in enumerate(arrivals):
            own = self.target.deadline_of(arrival.request_class)
            yield Meant(
                arrival.at_ms,
                self._asking(number, arrival),
                self.target.model,
                arrival.request_class,
                own if self.deadline_ms is None else self.deadline_ms,
                self.ttft_deadline_ms,
            )

    def _asking(self, number: int, arrival: Arrival) -> Asking:
        question, limit = self.question(number, arrival), self.max_tokens(arrival)
        body = self.route.body(self.target, question, limit, stream=self.stream)
        headers = {"content-type": "application/json"}
        if arrival.request_class is not None:
            headers[_CLASS_HEADER] = arrival.request_class
        return Asking(self.route.path(self.target), body, headers, self.timeout_s, self.stream)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands."""

    at_s: float
    sent: int
    running: int
    ended: Mapping[Outcome, int]


@dataclass(frozen=True, slots=True)
class Ran:
    """What was observed, and until when requests were sent, in milliseconds of the run."""

    observed: list[Observation]
    until_ms: float
    watch: Watch
    was_stopped: bool


async def run(
    client: aiohttp.ClientSession,
    sending: Sending,
    arrivals: Iterable[Arrival],
    stop: asyncio.Event,
    tell: Callable[[Progress], object],
) -> Ran:
    """Send every request at its time and wait for the last answer; `stop` ends both, and what runs is cut off."""
    watch = Watch(perf_counter)
    sender = Sender(client, sending.route, perf_counter, watch.late, partial(_answer_tokens, target=sending.target))
    watch.start()
    side = [asyncio.create_task(watch.tick()), asyncio.create_task(_report(sender, tell))]
    pace = asyncio.create_task(sender.send(sending.meant(arrivals)))
    stopping = asyncio.create_task(_until(stop))
    try:
        await asyncio.wait({pace, stopping}, return_when=asyncio.FIRST_COMPLETED)
        until_ms = sender.now_ms
        if pace.done():
            pace.result()
        pace.cancel()
        drain = asyncio.create_task(sender.drain())
        await asyncio.wait({drain, stopping}, return_when=asyncio.FIRST_COMPLETED)
        sender.cut_off()
        await drain
    finally:
        for helper in (*side, pace, stopping):
            helper.cancel()
    return Ran(sender.observed, until_ms, watch, stop.is_set())


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


async def _report(sender: Sender, tell: Callable[[Progress], object]) -> None:
    while True:
        await asyncio.sleep(_PROGRESS_S)
        tell(Progress(sender.now_ms / 1000.0, sender.sent, len(sender.running), sender.ended))


def _answer_tokens(seen: Seen, target: Target) -> int | None:
    """The tokens of the text that came in pieces. A pipeline counts those of all its models: then by the pieces."""
    if seen.answer_tokens is not None or seen.pieces < 2:
        return seen.answer_tokens
    return seen.tokens_out if target.question_field is None else seen.pieces
