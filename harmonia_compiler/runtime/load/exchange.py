"""One request and what became of it: sent, its answer read to the end, every way to fail an outcome."""

import asyncio
import errno
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
import msgspec

from harmonia_compiler.contract.launch import ANSWER_LIMIT
from harmonia_compiler.contract.sse import DONE, EVENT_LIMIT, EventParser, Oversized
from harmonia_compiler.report.observation import Outcome, StageTime
from harmonia_compiler.runtime.load.bodies import Room, body_of
from harmonia_compiler.runtime.load.routes import Route, Told, failure
from harmonia_compiler.runtime.load.target import reason_of

#: For how long the end of a response may follow the end of its answer, in seconds.
_LINGER_S = 1.0
#: What answers is no service, or not one of this route.
_OTHER = "the answer is not of this route"
#: What fails for lack of something of this machine's, not of the service's.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})
OURS = "this machine: "


@dataclass(slots=True)
class Seen:
    """What was seen of a request so far. Times are the clock's, in seconds; `pieces` are those of its text."""

    sent: float
    first: float | None = None
    finished: float | None = None
    outcome: Outcome = Outcome.CANCELLED
    reason: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    stages: tuple[StageTime, ...] = ()
    answer_tokens: int | None = None
    answers: bool = False
    pieces: int = 0


@dataclass(frozen=True, slots=True)
class Asking:
    """A request that is ready to be sent; `streams` is whether it asks for its answer in pieces."""

    url: str
    body: bytes
    headers: dict[str, str]
    timeout_s: float
    streams: bool = True


async def ask(
    session: aiohttp.ClientSession, route: Route, asking: Asking, clock: Callable[[], float], room: Room
) -> Seen:
    """Send it and read the answer, for which there is room. Cancelled, it gives what was seen: the run has ended."""
    seen = Seen(clock())
    try:
        async with asyncio.timeout(asking.timeout_s):
            await _exchange(session, route, asking, clock, room, seen)
    except TimeoutError:
        _end(seen, clock(), Outcome.FAILED, f"no end within {asking.timeout_s:g} s")
    except asyncio.CancelledError:
        _end(seen, clock(), Outcome.CANCELLED, "cut off by the end of the run")
    except Oversized as problem:
        _end(seen, clock(), Outcome.FAILED, str(problem))
    except msgspec.ValidationError as problem:
        _, _, place = str(problem).rpartition(" - at ")
        _end(seen, clock(), Outcome.FAILED, f"{_OTHER}, at {place}" if place.startswith("`") else _OTHER)
    except msgspec.MsgspecError:
        _end(seen, clock(), Outcome.FAILED, _OTHER)
    except (aiohttp.ClientError, OSError) as problem:
        system = problem.os_error if isinstance(problem, aiohttp.ClientConnectorError) else problem
        is_ours = isinstance(system, OSError) and system.errno in _OURS
        _end(seen, clock(), Outcome.FAILED, f"{OURS if is_ours else ''}{reason_of(problem)}")
    return seen


async def _exchange(
    session: aiohttp.ClientSession, route: Route, asking: Asking, clock: Callable[[], float], room: Room, seen: Seen
) -> None:
    async with session.post(asking.url, data=asking.body, headers=asking.headers, allow_redirects=False) as response:
        if response.status != 200:
            _end(seen, clock(), *failure(response.status, await _said(response, room)))
        elif response.content_type == "text/event-stream":
            await _stream(response, route, clock, room, seen)
            # A connection can be used again once its end was read; what is wrong from here on is no matter.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_S):
                    async for _ in response.content.iter_any():
                        pass
        else:
            told = route.told(await body_of(response, ANSWER_LIMIT, room))
            # Pieces were asked for, and it came as one.
            seen.first = clock() if asking.streams else None
            _take(told, seen)
            _end(seen, clock(), *(told.failed or _complete(seen)))


async def _said(response: aiohttp.ClientResponse, room: Room) -> bytes:
    """What an error says; nothing where that has no end."""
    try:
        return await body_of(response, EVENT_LIMIT, room)
    except Oversized:
        return b""


async def _stream(
    response: aiohttp.ClientResponse, route: Route, clock: Callable[[], float], room: Room, seen: Seen
) -> None:
    # One event may be a whole answer.
    events = EventParser(ANSWER_LIMIT)
    with room.part() as hold:
        async for chunk in response.content.iter_any():
            hold(events.held + len(chunk))
            for raw in events.feed(chunk):
                if raw == DONE:
                    _end(seen, clock(), *_complete(seen))
                    return
                told = route.told(raw)
                # An answer that leaves as a whole is its own first text.
                if (told.text or told.ended) and seen.first is None:
                    seen.first = clock()
                _take(told, seen)
                if told.failed is not None:
                    _end(seen, clock(), *told.failed)
                    return
            hold(events.held)
    _end(seen, clock(), Outcome.FAILED, "the stream ended without [DONE]")


def _complete(seen: Seen) -> tuple[Outcome, str]:
    """How a request ended whose response was read to its end: there may have been no answer in it."""
    return (Outcome.OK, "") if seen.answers else (Outcome.FAILED, _OTHER)


def _end(seen: Seen, at: float, outcome: Outcome, reason: str) -> None:
    """The first end counts."""
    if seen.finished is None:
        seen.finished, seen.outcome, seen.reason = at, outcome, reason


def _take(told: Told, seen: Seen) -> None:
    seen.tokens_in = seen.tokens_in if told.tokens_in is None else told.tokens_in
    seen.tokens_out = seen.tokens_out if told.tokens_out is None else told.tokens_out
    seen.stages = told.stages or seen.stages
    seen.answer_tokens = seen.answer_tokens if told.answer_tokens is None else told.answer_tokens
    seen.answers = seen.answers or told.answers
    seen.pieces += told.text
