"""What a target must be able to do with a bundle, and how a target's actuator is found.

A target that can be started is one module or package in this folder that bears the target's name and defines
`ACTUATOR`. Nothing here knows processes, containers or jobs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import msgspec

from harmonia_compiler.contract.decision import Said
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.runtime.bundle import read_contents
from harmonia_compiler.runtime.owning import check_readable

Phase = Literal["down", "starting", "running", "stopping", "failed"]
ProcessPhase = Literal["waiting", "starting", "ready", "restarting", "stopping", "stopped", "failed"]


class ProcessStatus(msgspec.Struct, frozen=True):
    """One replica, or the gateway (whose `engine` is empty).

    `since` is when the present phase began, in seconds of the epoch; `last_exit` how the previous
    process ended; `waiting_for` what must happen before it is ready; `absent` the collections that
    nobody had ingested when it started; `started_in_s` how long it took from its start until it was
    ready, last time. A process id is only good together with `birth`, since the number may have been
    given to another process.
    """

    name: str
    engine: str
    phase: ProcessPhase
    since: float
    pid: int | None = None
    birth: float | None = None
    port: int | None = None
    restarts: int = 0
    last_exit: str = ""
    waiting_for: str = ""
    absent: tuple[str, ...] = ()
    started_in_s: float | None = None


class Failure(msgspec.Struct, frozen=True):
    """Why a start was given up: the process, and a phrase that names the probe or the exit."""

    process: str
    reason: str


class GenerationStatus(msgspec.Struct, frozen=True):
    """One generation of a service that is replaced while it runs.

    `share` is its part of new requests, `is_base` whether the service is what it says; `arrived` and `answered` count
    its requests as far as the gateway told.
    """

    number: int
    share: float
    is_base: bool
    since: float
    arrived: int = 0
    answered: int = 0


class RolloutStatus(msgspec.Struct, frozen=True):
    """How far a wish for a generation is, by its id; where it came to nothing, which process is why, and the reason."""

    id: str
    to: int
    share: float
    phase: Literal["starting", "done", "failed"]
    process: str = ""
    why: str = ""


class Status(msgspec.Struct, frozen=True):
    """A service as it stands.

    `url` is where the gateway listens, once it does; `notes` are findings about the state itself, one sentence each.
    `beside` are processes that the service does well without, and `said` is what its controller said last.
    `history` are the generations that served, the present one last; `rollout` is what somebody last asked for.
    `is_stale` is whether nobody has looked for a while, so that it may be so no more; a note says why.
    """

    phase: Phase
    processes: tuple[ProcessStatus, ...] = ()
    failure: Failure | None = None
    url: str = ""
    notes: tuple[str, ...] = ()
    beside: tuple[ProcessStatus, ...] = ()
    said: Said | None = None
    generations: tuple[GenerationStatus, ...] = ()
    history: tuple[int, ...] = ()
    rollout: RolloutStatus | None = None
    is_stale: bool = False

    @property
    def is_running(self) -> bool:
        """Whether it is up, as far as anybody has looked of late."""
        return self.phase == "running" and not self.is_stale

    @property
    def ready(self) -> bool:
        """Whether every process answers."""
        return self.is_running and all(process.phase == "ready" for process in self.processes)


#: Of a service of which nothing runs, and that `stop` has nothing to do for.
NOTHING_LEFT = Status("down")


class NotStarted(Rejected):
    """A start that was given up: what failed, and the last lines that it wrote."""

    def __init__(self, why: Diagnostic, process: str, said: list[str]) -> None:
        super().__init__([why])
        self.process, self.said = process, said


Watch = Callable[[Status], None]


class Actuator(Protocol):
    """How a bundle of one target is started, watched and stopped; several people may call it at once."""

    def preflight(self, bundle: Path, *, port: int | None) -> list[Diagnostic]:
        """What speaks against starting here, all of it at once; nothing where the service already runs."""
        ...

    def models(self, bundle: Path) -> Sequence[str]:
        """The models whose weights must lie where this is called before the bundle is started, as `Launch.model`."""
        ...

    def start(self, bundle: Path, *, port: int | None, reembed: bool, timeout_s: float, watch: Watch) -> bool:
        """Bring the service up and return once every process answers; False where it already ran.

        Raises `Rejected` where it already runs and heeds another port, or was not told to `reembed`.
        A collection that was built otherwise than the plan expects is refused; with `reembed` the
        service starts without it, so that it can be built anew.
        `watch` is told several times a second how things stand. What this call started it stops
        again when it is interrupted. Raises `NotStarted` when a process does
        not come up within the time, with everything that this call started stopped again. A service that was up and
        has lost its keeper already ran, where a target can take it over: it goes on as it was.
        """
        ...

    def status(self, bundle: Path) -> Status:
        """The service as it stands, with a note where it is down and something may be left that `stop` sees to.

        Never raises because of a damaged state.
        """
        ...

    def room(self, bundle: Path) -> Mapping[str, Sequence[str]]:
        """By each engine whose number of replicas may change, the names of those that may be beside the plan's."""
        ...

    def scale(self, bundle: Path, replicas: Mapping[str, int]) -> None:
        """Let each engine have so many replicas, at least one; returns at once, and before it is so.

        The first ones stay, in the order of the plan and then of `room`. One that is to go takes no further calls, and
        ends when it has ended those that it has. May be said again and again. Raises OSError.
        """
        ...

    def stop(self, bundle: Path) -> bool:
        """Take the service down and leave nothing of it behind but data and logs; False where nothing ran."""
        ...

    def absent(self, bundle: Path) -> frozenset[str]:
        """The collections of a running service that nobody has ingested yet, looked up now.

        Where the store cannot be reached from here, those that it had not when it was opened.
        """
        ...

    def log(self, bundle: Path, names: Sequence[str], *, lines: int, follow: bool) -> Iterator[tuple[str, str]]:
        """The last lines that each process wrote, and with `follow` those to come: name and line."""
        ...

    def log_names(self, bundle: Path) -> list[str]:
        """The processes of which there is a log, in the order in which they start."""
        ...


@runtime_checkable
class Replacing(Protocol):
    """What an actuator may be able to do beside: have another bundle take a running service's place without an error.

    Each method returns once new requests are divided as asked for; raises `Rejected` where that cannot be, and
    `NotStarted` where a process does not come up, with the service as it was.
    """

    def replace(
        self, bundle: Path, new: Path, *, share: float, make_room: bool, timeout_s: float, watch: Watch
    ) -> Status | None:
        """Have the bundle `new` serve this part of new requests; all (1) makes the service that bundle.

        With `make_room`, what runs is ended where there is no place for both. None where it is that bundle already.
        """
        ...

    def promote(self, bundle: Path, *, timeout_s: float, watch: Watch) -> Status:
        """Make the service the bundle that serves a part of new requests."""
        ...

    def roll_back(self, bundle: Path, *, timeout_s: float, watch: Watch) -> Status:
        """Make the service again what it was before, or keep it so where another bundle serves a part."""
        ...


def found_actuator(bundle: Path) -> Actuator:
    """The actuator of a bundle's target.

    Raises `Rejected` where the folder is no bundle that can be started, or the service another user's.
    """
    check_readable(bundle)
    target = read_contents(bundle).target
    actuator = actuator_for(target)
    if actuator is None:
        message = f"bundles of target `{target}` are not started by harmoniac"
        raise Rejected([Diagnostic("E0903", message, help=f"`{bundle / 'README.md'}` says how")])
    return actuator


def is_starting(bundle: Path) -> bool:
    """Whether the service of a bundle is on its way up; raises `Rejected` as `found_actuator` does."""
    return found_actuator(bundle).status(bundle).phase == "starting"


def actuator_for(target: str) -> Actuator | None:
    """The actuator of a target by its name; None where bundles of that target are not started by harmoniac."""
    name = f"{__package__}.{target}"
    if not target.isidentifier() or find_spec(name) is None:
        return None
    # By listing: import-linter does not see this edge, which stays within this package.
    found: Actuator | None = getattr(import_module(name), "ACTUATOR", None)
    return found
