"""What the plan says of a service, as the controller needs it: the figures that readings correct."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from harmonia_compiler.contract.bundle import ExpectedCalls, ReplicaShare, Service
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.decision import fingerprint
from harmonia_compiler.contract.plan import Plan, usual_ms
from harmonia_compiler.contract.program import Program
from harmonia_compiler.policy.pipeline import UNPROMISED_S, promise_of


@dataclass(frozen=True, slots=True)
class PlannedReplica:
    """One replica: the calls a second that it carries without being busier than planned, and its share.

    A call takes so many `times` as long there as it is expected to on the mean of its engine's replicas.
    """

    name: str
    capacity_rps: float
    share: ReplicaShare
    times: float = 1.0


@dataclass(frozen=True, slots=True)
class PlannedEngine:
    """The replicas that one engine may have, in the order in which they are started.

    At first there are so many as `count` says, and never fewer than `least`. Where the number `is_fixed`, whoever
    starts replicas here leaves it as it is, whatever there is room for.
    """

    replicas: tuple[PlannedReplica, ...]
    count: int
    least: int
    is_fixed: bool = False

    @property
    def most(self) -> int:
        """How many replicas there may be."""
        return len(self.replicas)


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan. `expected` are by pipeline and component, `engine_of` the engine of each of those.

    `promised_s` is within how many seconds requests are to be answered, by pipeline and class (empty: of none).
    `fingerprint` is that of the service document.
    """

    fingerprint: str
    engines: Mapping[str, PlannedEngine]
    expected: Mapping[str, Mapping[str, ExpectedCalls]] = field(default_factory=dict)
    engine_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    promised_s: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def planned(plan: Plan, service: Service, room: Mapping[str, Sequence[str]]) -> Planned:
    """The figures of a plan and its service document.

    `room` are the names of further replicas that an engine may have, each like its last one; the number of one that is
    not named is fixed. An engine of whose capacity the plan says nothing is left as it is.
    """
    usual = usual_ms(plan)
    uses = {(use.engine, use.config): use for use in plan.profiles}
    engine_of = {
        pipeline: {name: made.engine for name, made in program.components.items()}
        for pipeline, program in service.programs.items()
    }
    replicas: dict[str, list[PlannedReplica]] = {}
    for one in plan.replicas:
        use = uses.get((one.engine, one.config.describe()))
        share = service.shares.get(one.id)
        if use is not None and use.capacity_rps > 0.0 and share is not None:
            times = use.latency_ms / usual[one.engine] if use.latency_ms > 0.0 else 1.0
            replicas.setdefault(one.engine, []).append(PlannedReplica(one.id, use.capacity_rps, share, times))
    return Planned(
        fingerprint(service),
        {
            name: PlannedEngine(
                (*these, *(replace(these[-1], name=further) for further in room.get(name, ()))),
                len(these),
                min(len(these), _floor(plan.engines[name])) if name in room else len(these),
                name not in room,
            )
            for name, these in sorted(replicas.items())
        },
        service.expected,
        engine_of,
        {pipeline: _promised_s(program) for pipeline, program in service.programs.items()},
    )


def _promised_s(program: Program) -> dict[str, float]:
    """What requests of each class are promised; what nobody promised is taken for what the queue takes it for."""
    within_s = {
        "" if one is None else one.name: promise_of(program, one, streams=True).within_s
        for one in program.classes or (None,)
    }
    return {name: UNPROMISED_S if seconds is None else seconds for name, seconds in within_s.items()}


def _floor(engine: Engine) -> int:
    """How many replicas an engine has at the least, by its own settings."""
    return max(1, *(int(engine.settings.get(name) or 1) for name in ("min_replicas", "min_hosts")))
