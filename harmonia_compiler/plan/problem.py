"""The planning problem: engines with their options, pipelines with their loads, hosts. No flow, no solver.

Everything that decides a plan is in here, as plain values: the model, the verifier, the brute force
of the tests and the diagnosis of an infeasible problem all read the same document.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.profile.assumptions import CORE_BANDWIDTH_GB_S
from harmonia_compiler.profile.profiles import Option, Shortfall

Aim = Literal["throughput", "cost"]


@dataclass(frozen=True, slots=True)
class Need:
    """An engine that must be placed. `minimum` and `maximum` bound its replicas, all options together.

    A `stateful` engine has both at 1, and no setting can raise them. `hosts` is a label, as `name=value`,
    that its hosts must carry, and `min_hosts` how many of them it stands on at least; `minimum` is no less.
    `shortfalls` say why devices of the inventory offer no option.
    """

    engine: str
    components: tuple[str, ...]
    options: tuple[Option, ...]
    minimum: int = 1
    maximum: int | None = None
    on: str | None = None
    hosts: str | None = None
    min_hosts: int = 1
    shortfalls: tuple[Shortfall, ...] = ()
    stateful: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a pipeline; it starts when the steps that it is `after` have ended.

    It is `count` calls that are sent at once, one for each item of a list, and that as often as there are `rounds` in a
    row. `usual_ms` is about how long one round takes, and `usual_first_ms` until its first piece; of these only the
    proportions matter, to say how much a step weighs beside the others. Calls that are
    sent at once are late together, so that a round deviates as a single call does that takes as long.
    """

    component: str
    after: tuple[int, ...]
    count: float = 1.0
    rounds: float = 1.0
    usual_ms: float = 1.0
    usual_first_ms: float = 1.0


@dataclass(frozen=True, slots=True)
class Path:
    """Steps that requests take together, by position, and the part of the requests that take just these.

    Those that are `given_up` there, since what they belong to takes longer than it may, last so many ms a round,
    whatever runs them. Those that are `kept`, since what takes longer is not among them, take such a part of what they
    do otherwise, and deviate by such a part of that.
    """

    likely: float
    steps: frozenset[int]
    given_up: tuple[tuple[int, float], ...] = ()
    kept: tuple[tuple[int, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Promise:
    """A latency promise: the quantile of a metric is at most the bound.

    It may be made to the requests of one class. They are planned to take what all of their pipeline's take: that the
    gateway serves them before others is not counted on.
    """

    metric: Literal["latency", "ttft"]
    quantile: float
    bound_ms: float
    request_class: str | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A served pipeline: the arrivals to plan for, expected calls per request, how calls wait for each other.

    `load_rps` are those of a peak, which replicas must carry; `average_rps` those of the mean hour, by which pipelines
    bear the price (the same, if None).

    `steps` are in topological order, those of all branches; the answer is there when the last has
    ended. `streamed` are the steps whose text is forwarded as it comes. `paths` are what requests take of
    the steps; without any, every request takes all of them.
    """

    name: str
    load_rps: float
    visits: Mapping[str, float]
    steps: tuple[Step, ...] = ()
    streamed: tuple[int, ...] = ()
    promises: tuple[Promise, ...] = ()
    paths: tuple[Path, ...] = ()
    average_rps: float | None = None

    @property
    def usual_rps(self) -> float:
        """Requests a second in the mean hour."""
        return self.load_rps if self.average_rps is None else self.average_rps


@dataclass(frozen=True, slots=True)
class Problem:
    """What is to be planned.

    `external_ms` is how long calls of components that take no hardware last. `give_up` is the part of
    the highest rate that may be given up for less cost, less hardware and fewer replicas: the figures
    are not so exact that the last percent were worth an odd mixture of replicas. `running` are replicas that
    run already and may stay, by the positions of engine, option and host: of equally good plans, the one
    that keeps most of them is the best.
    """

    needs: tuple[Need, ...]
    pipelines: tuple[Pipeline, ...]
    hosts: tuple[Host, ...]
    aim: Aim = "throughput"
    external_ms: Mapping[str, float] = field(default_factory=dict)
    give_up: float = 0.0
    running: Mapping[tuple[int, int, int], int] = field(default_factory=dict)

    def fixed_ms(self, step: Step, given_up_ms: float | None = None) -> float | None:
        """How long a round of a step lasts whatever runs it, for one that is given up; None where the plan says."""
        return self.external_ms.get(step.component) if given_up_ms is None else given_up_ms

    def calls_rps(self, need: Need) -> dict[str, float]:
        """Calls per second of each component on an engine when every pipeline is at its load."""
        return {
            component: sum(pipeline.load_rps * pipeline.visits.get(component, 0.0) for pipeline in self.pipelines)
            for component in need.components
        }


def take(configuration: Configuration) -> dict[str, float]:
    """What one replica takes of its host, by resource: `cores`, `memory_gib`, and GPUs by their type."""
    taken = {"cores": configuration.cores, "memory_gib": configuration.memory_gib}
    if configuration.gpu:
        taken[configuration.gpu] = configuration.gpus
    return taken


def room(host: Host) -> dict[str, float]:
    """What a host has, by the same resources."""
    capacity = {"cores": float(host.cpus), "memory_gib": host.memory_gib}
    for gpu in host.gpus:
        capacity[gpu.type] = capacity.get(gpu.type, 0.0) + gpu.count
    return capacity


def devices_by_type(host: Host) -> dict[str, list[int]]:
    """The indices of a host's GPUs by their type: devices are numbered in the order of its inventory entry."""
    found: dict[str, list[int]] = {}
    first = 0
    for gpu in host.gpus:
        found.setdefault(gpu.type, []).extend(range(first, first + gpu.count))
        first += gpu.count
    return found


def admits(host: Host, label: str | None) -> bool:
    """Whether a host may hold replicas that ask for a label; where none is asked for, every host may."""
    name, _, value = (label or "").partition("=")
    return label is None or host.labels.get(name) == value


def worth(configuration: Configuration) -> float:
    """How much hardware a replica ties up, in GB/s of memory bandwidth: breaks ties between equal prices."""
    gpu = GPU_TYPES[configuration.gpu].bandwidth_gb_s * configuration.gpus if configuration.gpu else 0.0
    return gpu + configuration.cores * CORE_BANDWIDTH_GB_S


def fits(configuration: Configuration, host: Host) -> int:
    """How many replicas in one configuration an empty host holds; a configuration takes something."""
    has = room(host)
    taken = [(resource, amount) for resource, amount in take(configuration).items() if amount > 0]
    return min((int((has.get(resource, 0.0) + 1e-9) / amount) for resource, amount in taken), default=0)
