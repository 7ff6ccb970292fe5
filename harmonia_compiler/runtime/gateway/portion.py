"""The calls of one request that have no task yet: a request may make tens of thousands at once, within lists of lists.

As many as `PORTION` are begun at once, as nearly every request makes; of more a portion in each turn of the event
loop, so that other requests go on. No more than `MOST` of one request are on their way, so that letting all go again
that nobody awaits any more holds nobody up either.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from harmonia_compiler.policy.events import Send

#: How many calls are begun in one turn of the event loop, and how many of one request are on their way at once.
PORTION, MOST = 64, 1024


class Begin(Protocol):
    """Begins a call, which had been `put_off` or had not."""

    def __call__(self, send: Send, *, put_off: bool) -> None:
        """Begin it."""


@dataclass(slots=True)
class Portions:
    """Calls in the order in which they are to be begun; `on_way` says how many have and have not ended."""

    begin: Begin
    on_way: Callable[[], int]
    loop: asyncio.AbstractEventLoop
    _calls: dict[int, Send] = field(default_factory=dict)
    _handle: asyncio.Handle | None = None

    def __iter__(self) -> Iterator[Send]:
        return iter(self._calls.values())

    def add(self, send: Send) -> bool:
        """Begin a call, now or when its turn comes; whether it has begun."""
        if not self._calls and self.on_way() < PORTION:
            self.begin(send, put_off=False)
            return True
        self._calls[send.call] = send
        self.go_on()
        return False

    def drop(self, call: int) -> Send | None:
        """The call is not to be begun any more; None where it has."""
        return self._calls.pop(call, None)

    def go_on(self) -> None:
        """There may be room for more."""
        if self._calls and self._handle is None and self.on_way() < MOST:
            self._handle = self.loop.call_soon(self._begin_some)

    def stop(self) -> list[Send]:
        """Begin nothing any more; what had not begun."""
        if self._handle is not None:
            self._handle.cancel()
        left, self._calls = [*self], {}
        return left

    def _begin_some(self) -> None:
        self._handle = None
        for call in [call for call, _ in zip(self._calls, range(min(PORTION, MOST - self.on_way())), strict=False)]:
            self.begin(self._calls.pop(call), put_off=True)
        self.go_on()
