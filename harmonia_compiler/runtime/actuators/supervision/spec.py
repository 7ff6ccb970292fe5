"""What a process of a service is to be, and what those of one service have in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harmonia_compiler.contract.launch import Launch
from harmonia_compiler.runtime.actuators.supervision.fitting import NOTHING, Need
from harmonia_compiler.runtime.actuators.supervision.logs import Logs
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory
from harmonia_compiler.runtime.actuators.supervision.store import Expected
from harmonia_compiler.runtime.actuators.supervision.turns import Turns, turns_within


@dataclass(frozen=True, slots=True)
class Spec:
    """What is to run.

    `data` is its folder below the bundle's `data`, `code` where the user's Python lies, `port` a port that the user
    fixed, on which with `shares_port` the one that it takes over from may listen as well, `collections` those that a
    Milvus is to serve, `stage` a folder on this host's own disk onto which weights are copied first. Processes of the
    same `likeness` can stand in for each other.
    """

    name: str
    engine: str
    launch: Launch
    bundle: Path
    data: str = ""
    devices: Sequence[int] = ()
    cpus: Sequence[int] = ()
    port: int | None = None
    shares_port: bool = False
    collections: Sequence[Expected] = ()
    code: Path | None = None
    stage: Path | None = None
    need: Need = NOTHING
    likeness: str = ""


class Shared:
    """What the processes of one service have in common: turns, ports, where they write, whom they tell.

    Where they are kept by several of ours, `turn` is what those agree by.
    """

    def __init__(
        self,
        run: RunDirectory,
        logs: Logs,
        outer: dict[str, str],
        changed: Callable[[], None],
        turn: Turns | None = None,
    ) -> None:
        self.run, self.logs, self.outer, self.changed = run, logs, outer, changed
        self.ports: set[int] = set()
        self._names: set[str] = set()
        #: Waited for in the order of the names.
        self.turn: Turns = turn or turns_within()

    def take_name(self, wanted: str) -> str:
        """A name that no other process has: what is to take the place of one bears the same in its plan."""
        names = (wanted, *(f"{wanted[:56]}.{number}" for number in range(2, len(self._names) + 3)))
        name = next(name for name in names if name not in self._names)
        self._names.add(name)
        return name

    def give_name_back(self, name: str) -> None:
        """Its process has ended for good."""
        self._names.discard(name)
