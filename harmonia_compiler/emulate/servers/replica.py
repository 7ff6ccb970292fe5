"""One emulated replica as its callers see it: it takes calls, is healthy or not, and goes wrong when it is told to."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from harmonia_compiler.contract.launch import CALL_HEADER, REQUEST_HEADER
from harmonia_compiler.emulate.servers.faults import Fault, Way

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
    """An error as vLLM writes it."""
    return web.json_response(
        {"error": {"message": message, "type": kind, "param": None, "code": status}}, status=status
    )


_LOADING = "the model is being loaded"


def loading() -> web.Response:
    """What is answered where weights are not there yet."""
    return problem(503, _LOADING, "ServiceUnavailable")


@dataclass(slots=True)
class Condition:
    """How a replica is doing: the faults that are on, whether it has started, and how many calls it has ended.

    One for a list counts as those for its items, as in a plan.

    It takes `start_s` to load, by `clock`, both in seconds.
    """

    clock: Callable[[], float]
    start_s: float
    calls: int = 0
    faults: list[Fault] = field(default_factory=list)
    _moves: asyncio.Event = field(default_factory=asyncio.Event)
    _ready_s: float = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        self._moves.set()
        self.start()

    def start(self) -> None:
        """Begin to load, as a process does that was started."""
        self._ready_s = self.clock() + self.start_s

    def change(self, fault: Fault, *, begins: bool) -> None:
        """Let a fault begin, or end."""
        if begins:
            self.faults.append(fault)
        else:
            self.faults.remove(fault)
        if self.now("hang") is None:
            self._moves.set()
        else:
            self._moves.clear()

    async def moving(self) -> None:
        """Until it does not hang: a process that is held says nothing more of what it has begun either."""
        await self._moves.wait()

    def now(self, way: Way) -> Fault | None:
        """The fault of this kind that is on."""
        return next((fault for fault in self.faults if fault.way == way), None)

    @property
    def is_loaded(self) -> bool:
        """Whether its weights are there."""
        return self.clock() >= self._ready_s

    @property
    def slowness(self) -> float:
        """How many times as long as usual everything takes."""
        return math.prod(fault.factor for fault in self.faults if fault.way == "slow")

    @property
    def says_well(self) -> bool:
        """What it says of itself."""
        well = self.is_loaded and self.now("hang") is None and self.now("fail") is None
        return well != (self.now("lie") is not None)

    async def refusal(self) -> tuple[int, str] | None:
        """Why it does not answer a call, as a status of HTTP and a message. Never comes back where it hangs."""
        if not self.is_loaded:
            return 503, _LOADING
        if self.now("hang") is not None:
            await asyncio.Event().wait()
        failing = self.now("fail")
        if failing is not None:
            # Every so many, evenly: a share of one half fails each second call.
            self._count += 1
            if int(self._count * failing.share) > int((self._count - 1) * failing.share):
                return 500, "the engine was told to fail"
        return None

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a call over HTTP be answered, or go wrong."""
        if (refusal := await self.refusal()) is not None:
            status, message = refusal
            return problem(status, message, "ServiceUnavailable" if status == 503 else "InternalServerError")
        try:
            response = await handler(request)
            await self.moving()
        finally:
            # What its client has given up is worked on all the same.
            self.calls += 1
        return response
