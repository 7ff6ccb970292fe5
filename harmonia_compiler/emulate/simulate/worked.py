"""What the replicas of a simulated service did in a part of its time."""

from dataclasses import dataclass, field

from harmonia_compiler.emulate.simulate.service import Service
from harmonia_compiler.emulate.simulate.steering import Steering
from harmonia_compiler.emulate.uses import Further, Usage


@dataclass(slots=True)
class Worked:
    """Counts from the start, or from `begin`, to `end`. What is worked on at either counts on one of its sides.

    `done` is by replica, `whole_ms` how long it was counted, `further` are the replicas beside the plan's.
    """

    service: Service
    steering: Steering | None
    done: dict[str, Usage] = field(default_factory=dict)
    whole_ms: float = 0.0
    further: tuple[Further, ...] = ()
    _before: dict[str, Usage] = field(default_factory=dict)
    _since_ms: float = 0.0

    def begin(self) -> None:
        """Count from now on."""
        self._since_ms, self._before = self.service.loop.now_ms, self._so_far()
        if self.steering is not None:
            self.steering.recount()

    def end(self) -> None:
        """Count no further."""
        self.whole_ms = self.service.loop.now_ms - self._since_ms
        for name, now in self._so_far().items():
            before = self._before.get(name, Usage(0.0, 0))
            self.done[name] = Usage(now.busy_ms - before.busy_ms, now.calls - before.calls)
        if self.steering is not None:
            self.further = self.steering.further

    def _so_far(self) -> dict[str, Usage]:
        calls = dict.fromkeys(self.service.replicas, 0)
        for one in self.service.watch.readings(self.service.lines).calls:
            calls[one.replica] += one.items
        return {name: Usage(replica.busy_ms, calls[name]) for name, replica in self.service.replicas.items()}
