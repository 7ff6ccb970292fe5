"""How long the replicas of a simulated service worked in a part of its time."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harmonia_compiler.emulate.simulate.loop import Loop
from harmonia_compiler.emulate.simulate.service import Job
from harmonia_compiler.emulate.simulate.stations import Replica
from harmonia_compiler.emulate.simulate.steering import Further, Steering


@dataclass(slots=True)
class Worked:
    """Counts from the start, or from `begin`, to `end`. What is worked on at either counts on one of its sides.

    `busy_ms` is by replica, `whole_ms` how long it was counted, `further` are the replicas beside the plan's.
    """

    loop: Loop
    replicas: Mapping[str, Replica[Job]]
    steering: Steering | None
    busy_ms: dict[str, float] = field(default_factory=dict)
    whole_ms: float = 0.0
    further: tuple[Further, ...] = ()
    _before_ms: dict[str, float] = field(default_factory=dict)
    _since_ms: float = 0.0

    def begin(self) -> None:
        """Count from now on."""
        self._since_ms, self._before_ms = self.loop.now_ms, self._so_far()
        if self.steering is not None:
            self.steering.recount()

    def end(self) -> None:
        """Count no further."""
        self.whole_ms = self.loop.now_ms - self._since_ms
        self.busy_ms = {name: ms - self._before_ms.get(name, 0.0) for name, ms in self._so_far().items()}
        if self.steering is not None:
            self.further = self.steering.further

    def _so_far(self) -> dict[str, float]:
        return {name: replica.busy_ms for name, replica in self.replicas.items()}
