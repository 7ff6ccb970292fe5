"""What every source of figures answers: which configurations an engine has, and how fast each is.

Whatever its figures are from, a source gives `Option`s; the planner knows nothing else of hardware.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.kinds.kind import Work


@dataclass(frozen=True, slots=True)
class Option:
    """One way to run a replica of an engine, and how its components' calls fare there.

    `busy_ms[component]` is how much of a replica's time one call takes when `configuration.batch`
    calls are in progress: a full replica completes `1 / busy_ms` of them a millisecond.
    `latency_ms[component]` is the mean time until the answer, the wait in front of the replica
    included, for each of `queueing.LEVELS` of utilisation, and `first_ms[component]` that until the
    first piece of the answer. `adds_ms[component]` is by how much each further call that comes with one makes a
    replica take longer until all are answered; what a full batch takes says it where it is not given. `provenance`
    says where the figures are from, and `corrected` how many times as long as there calls take since a running service
    was measured.
    """

    configuration: Configuration
    busy_ms: Mapping[str, float]
    latency_ms: Mapping[str, tuple[float, ...]]
    first_ms: Mapping[str, tuple[float, ...]]
    provenance: str
    corrected: float = 1.0
    adds_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Why an engine cannot run on a device: what it needs of a resource, and what there is.

    `smaller` is what its source may choose in order to need less of it.
    """

    resource: str
    needs: float
    has: float
    smaller: str = "a smaller model"


@dataclass(frozen=True, slots=True)
class Offer:
    """The configurations of one engine on the devices of an inventory, and what ruled others out."""

    options: tuple[Option, ...]
    shortfalls: tuple[Shortfall, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """An engine with the mean work of one call of each component on it.

    `calls` weighs the components: how many calls of each come in the time in which one request of
    the planned mix comes; only the proportions matter.
    """

    engine: Engine
    work: Mapping[str, Work]
    calls: Mapping[str, float] = field(default_factory=dict)


class Profiles(Protocol):
    """A source of figures."""

    def offer(self, asked: Asked, inventory: Inventory) -> Offer:
        """The configurations of an engine on this inventory.

        Raises `diagnostics.diagnostic.Rejected` where the engine's model is unknown.
        """
        ...
