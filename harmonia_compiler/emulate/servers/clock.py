"""The simulator's loop in real time: what it holds happens when it is due, or as soon after as this process can.

While something happens, `now_ms` is when it was due and not when it came to it. So a busy machine makes
answers late, which is told, and never the emulated replica slower.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from harmonia_compiler.emulate.simulate.loop import Happening, Loop


@dataclass(slots=True)
class RealLoop(Loop):
    """Happenings on the running event loop; `late`, where given, is told how late each was, in ms."""

    late: Callable[[float], object] | None = None
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _timer: asyncio.TimerHandle | None = None
    _armed_ms: float = 0.0

    def catch_up(self) -> None:
        """Let everything happen that is due. Whoever adds something from outside calls this first."""
        now = self._loop.time() * 1000.0
        while self._planned and (due := self._planned[0].at_ms) <= now:
            if self.late is not None and not self._planned[0].is_off:
                self.late(now - due)
            self.run(until_ms=due)
        self.now_ms = now

    def at(self, at_ms: float, action: Callable[[], object]) -> Happening:
        """Plan something; what lies in the past happens next."""
        happening = Loop.at(self, at_ms, action)
        self._arm()
        return happening

    def _arm(self) -> None:
        due = self._planned[0].at_ms if self._planned else None
        if self._timer is not None:
            if due is not None and self._armed_ms <= due:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._armed_ms = due
            self._timer = self._loop.call_at(due / 1000.0, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.catch_up()
        self._arm()
