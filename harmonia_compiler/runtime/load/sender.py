"""An open loop: each request is sent at its time, whatever became of those before.

A closed loop, in which a client waits for an answer before it asks again, slows down with the service that it
measures and leaves out the waiting of all who would have come meanwhile.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import aiohttp

from harmonia_compiler.contract.launch import KEEP_ALIVE_S
from harmonia_compiler.report.observation import Observation, Outcome
from harmonia_compiler.runtime.load.bodies import Room
from harmonia_compiler.runtime.load.exchange import Asking, Seen, ask
from harmonia_compiler.runtime.load.routes import Route


@dataclass(frozen=True, slots=True)
class Meant:
    """A request that is to be sent at a time of the run, ready to be sent, and what its answer is held to."""

    at_ms: float
    asking: Asking
    pipeline: str
    request_class: str | None = None
    deadline_ms: float | None = None
    ttft_deadline_ms: float | None = None


def session(headers: dict[str, str], keep_alive_s: float = KEEP_ALIVE_S) -> aiohttp.ClientSession:
    """Connections without a limit of ours; none is kept long enough for the service to close it under our hands."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=keep_alive_s),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        trust_env=False,
    )


def _told(seen: Seen) -> int | None:
    return seen.answer_tokens


@dataclass(slots=True)
class Sender:
    """Sends from when it is made. `clock` is in seconds, of the event loop's length.

    `late` is told when each request was due. `answer_tokens` reads how long an answer was. `room` is for answers.
    """

    client: aiohttp.ClientSession
    route: Route
    clock: Callable[[], float]
    late: Callable[[float], object] = lambda _due: None
    answer_tokens: Callable[[Seen], int | None] = _told
    room: Room = field(default_factory=Room)
    sent: int = 0
    running: set["asyncio.Task[None]"] = field(default_factory=set)
    observed: list[Observation] = field(default_factory=list)
    start: float = field(init=False)
    _bugs: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start = self.clock()

    @property
    def now_ms(self) -> float:
        """The time of the run."""
        return self._ms(self.clock())

    @property
    def ended(self) -> dict[Outcome, int]:
        """How many requests have ended, by how."""
        return {outcome: sum(one.outcome is outcome for one in self.observed) for outcome in Outcome}

    async def send(self, coming: Iterable[Meant]) -> None:
        """Send all of them, in the order of their times."""
        for one in coming:
            # It was made ready beforehand, so that a long question is not what makes a request late.
            wait_s = self.start + one.at_ms / 1000.0 - self.clock()
            # Even when late: a sleep of nothing lets answers be read.
            await asyncio.sleep(max(0.0, wait_s))
            task = asyncio.create_task(self._one(one))
            self.running.add(task)
            task.add_done_callback(self._ended)

    async def drain(self) -> None:
        """Until every request has ended, however it does. Raises what was a bug of ours."""
        await asyncio.gather(*self.running, return_exceptions=True)
        if self._bugs:
            raise self._bugs[0]

    def cut_off(self) -> None:
        """End what runs: it is observed as cut off."""
        for task in self.running:
            task.cancel()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.running.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            self._bugs.append(bug)

    async def _one(self, one: Meant) -> None:
        self.late(self.start + one.at_ms / 1000.0)
        self.sent += 1
        seen = await ask(self.client, self.route, one.asking, self.clock, self.room)
        self.observed.append(
            Observation(
                pipeline=one.pipeline,
                arrived_ms=one.at_ms,
                sent_ms=self._ms(seen.sent),
                finished_ms=self._ms(self.clock() if seen.finished is None else seen.finished),
                outcome=seen.outcome,
                first_ms=None if seen.first is None else self._ms(seen.first),
                request_class=one.request_class,
                deadline_ms=one.deadline_ms,
                ttft_deadline_ms=one.ttft_deadline_ms,
                tokens_in=seen.tokens_in,
                tokens_out=seen.tokens_out,
                answer_tokens=self.answer_tokens(seen),
                reason=seen.reason,
                stages=seen.stages,
            )
        )

    def _ms(self, at: float) -> float:
        return (at - self.start) * 1000.0
