"""One emulated replica as its callers see it: it takes calls, is healthy or not, and goes wrong when it is told to."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from harmonia_compiler.contract.launch import CALL_HEADER, REQUEST_HEADER
from harmonia_compiler.emulate.servers.faults import Fault

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Called:
    """For which request and for which of its calls the gateway says that it calls; empty where nobody says."""

    request: str
    component: str
    place: str


def called(headers: Mapping[str, str]) -> Called:
    """What the headers of a call say."""
    component, _, place = headers.get(CALL_HEADER, "").partition(";")
    return Called(headers.get(REQUEST_HEADER, ""), component, place)


def problem(status: int, message: str, kind: str = "BadRequestError") -> web.Response:
    """An error as vLLM and our workers write it."""
    return web.json_response(
        {"error": {"message": message, "type": kind, "param": None, "code": status}}, status=status
    )


@dataclass(slots=True)
class Condition:
    """How a replica is doing: its faults, its start, and what it has answered. `clock` is in seconds."""

    faults: Sequence[Fault]
    clock: Callable[[], float]
    ready_s: float
    answered: int = 0
    _began_s: float = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        self._began_s = self.clock()

    @property
    def age_s(self) -> float:
        """How long ago it began."""
        return self.clock() - self._began_s

    def now(self, way: str) -> Fault | None:
        """The fault of this kind that is on."""
        return next((fault for fault in self.faults if fault.way == way and fault.is_on(self.age_s)), None)

    @property
    def is_up(self) -> bool:
        """Whether it listens."""
        return self.now("die") is None

    @property
    def is_loaded(self) -> bool:
        """Whether its weights are there."""
        return self.age_s >= self.ready_s

    @property
    def slowness(self) -> float:
        """How many times as long as usual everything takes."""
        slow = self.now("slow")
        return 1.0 if slow is None else slow.factor

    def health(self) -> web.Response:
        """What it says of itself."""
        wrong = next((fault for way in ("hang", "fail") if (fault := self.now(way)) is not None), None)
        well = self.is_loaded and (wrong is None or wrong.lies)
        return web.Response(status=200 if well else 503)

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a call be answered, or go wrong."""
        if not self.is_loaded:
            return problem(503, "the model is being loaded", "ServiceUnavailable")
        if self.now("hang") is not None:
            await asyncio.Event().wait()
        failing = self.now("fail")
        if failing is not None:
            # Every so many, evenly: a share of one half fails each second call.
            self._count += 1
            if int(self._count * failing.share) > int((self._count - 1) * failing.share):
                return problem(500, "the engine was told to fail", "InternalServerError")
        response = await handler(request)
        self.answered += 1
        return response
