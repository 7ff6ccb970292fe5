"""A request that waits at the door, without any call, until a place among those that are worked on is its own."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from harmonia_compiler.contract.program import Program
from harmonia_compiler.policy.journey import Journey
from harmonia_compiler.policy.pipeline import Promise
from harmonia_compiler.policy.schedule import Hopeless, Schedule


@dataclass(slots=True, eq=False)
class AtDoor:
    """One such request. `clock` is that of the schedule, in seconds.

    What is raised is kept by nothing here, so that a request that ends so leaves no reference cycle.
    """

    schedule: Schedule
    clock: Callable[[], float]
    _ended: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _journey: Journey | None = None
    _why: Exception | None = None

    def interrupt(self, reason: Exception) -> None:
        """Let it wait no more, nor begin, for this reason."""
        self._why = reason
        self._end()

    async def let_in(self, program: Program, promise: Promise) -> Journey:
        """Its journey, once it is let in. Raises Hopeless where it is not, or what `interrupt` was given."""
        knock = self.schedule.knock(program, promise, self.clock(), self._begin, self._end)
        timer = asyncio.get_running_loop().call_later(knock.until_s - knock.came_s, self._end)
        begun = None
        try:
            await self._ended
            if self._why is None:
                begun = self._journey
        finally:
            timer.cancel()
            self.schedule.leave(knock)
            # Whoever was let in and ended in the same moment has a place that others wait for.
            if self._journey is not None and begun is None:
                self.schedule.end(self._journey, self.clock(), "broken")
        if begun is None:
            raise self._reason() or Hopeless(
                "no place among those that are worked on came free for it",
                self.schedule.place_after_s(program, promise, self.clock()),
            )
        return begun

    def _begin(self, journey: Journey) -> None:
        self._journey = journey
        self._end()

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _reason(self) -> Exception | None:
        """What it was interrupted for, once."""
        reason, self._why = self._why, None
        return reason
