"""An application, an inventory and profiles → the planning problem."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import msgspec

from harmonia_compiler.contract.card import UnknownRevision
from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.contract.objective import Objective
from harmonia_compiler.contract.program import Call
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Findings, Rejected
from harmonia_compiler.flow.conditions import Missed
from harmonia_compiler.flow.demand import Demand, demand
from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.flow.takes import Takes
from harmonia_compiler.kinds.kind import REVISION, Kind, Work
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.plan.limits import Cut, cut, too_long, too_many
from harmonia_compiler.plan.problem import Aim, Need, Path, Pipeline, Problem, Promise, Step, admits
from harmonia_compiler.plan.promises import promises
from harmonia_compiler.plan.queueing import LATENCY_CV, together_ms, together_spread
from harmonia_compiler.profile.profiles import Asked, Option, Profiles

#: The part of the highest rate that a simpler plan may cost.
GIVE_UP = 0.01

#: The share of calls from which on it is said that they take longer than they may.
OFTEN = 0.1


@dataclass(frozen=True, slots=True)
class Demanded:
    """The problem, the components whose sizes were guessed, and the pipelines whose visits are estimates.

    `missed` are the shares that are said and that the visits do not keep to, in the order of the sources. `late` is how
    often what the calls of a component belong to takes longer than its `within`, where that is often, as it follows
    from what calls take, and `cut` what a component's model does not read all of.
    """

    problem: Problem
    guessed: tuple[str, ...]
    estimated: tuple[str, ...] = ()
    late: Mapping[str, float] = field(default_factory=dict)
    missed: tuple[Missed, ...] = ()
    cut: Mapping[str, Cut] = field(default_factory=dict)
    takes: Takes = field(default_factory=lambda: Takes({}, LATENCY_CV))


def build_problem(
    application: Application, inventory: Inventory, aim: Aim, profiles: Profiles, margin: float = 1.0
) -> Demanded:
    """The problem, with pipelines and hosts in the order of their names, so that the same is planned however they come.

    Promises are held so many times as tightly as they are made: less tightly with a `margin` below 1.

    Raises Rejected where nothing is served, for a model without a card, a cost objective without loads, and
    what no inventory mends.
    """
    _check_flows(application)
    _check_loads(application, aim)
    called = _called(application)
    demands = {flow.name: demand(application, flow) for flow in application.flows}
    if found := [*too_long(application, called, demands), *too_many(demands)]:
        raise Rejected(found)
    flows = sorted(application.flows, key=lambda flow: flow.name)
    pipelines = tuple(_pipeline(flow, demands[flow.name], margin) for flow in flows)
    inventory = Inventory(tuple(sorted(inventory.hosts, key=lambda host: _natural(host.name))))
    needs, external = _needs(application, called, pipelines, demands, inventory, profiles)
    usual = _usual(needs, external)
    takes = _takes(needs, usual)
    if any(each.expanded.limited for each in demands.values()):
        # How much falls back on something else follows from how long calls take, and what that has to carry from this.
        demands = {flow.name: demand(application, flow, takes=takes) for flow in application.flows}
        pipelines = tuple(_pipeline(flow, demands[flow.name], margin) for flow in flows)
        needs, external = _needs(application, called, pipelines, demands, inventory, profiles)
        usual = _usual(needs, external)
    placed = {name: need for need in needs for name in need.components}
    pipelines = tuple(
        replace(one, steps=tuple(_weighed(step, placed, usual) for step in one.steps)) for one in pipelines
    )
    return Demanded(
        Problem(needs, pipelines, inventory.hosts, aim, external, GIVE_UP),
        tuple(sorted({name for each in demands.values() for name in each.guessed})),
        tuple(sorted(each.pipeline for each in demands.values() if not each.exact)),
        _often_late(demands.values()),
        _missed(demands.values()),
        cut(application, called, demands),
        takes,
    )


def _missed(demands: Iterable[Demand]) -> tuple[Missed, ...]:
    """Each place once: what a pipeline says counts in all that call it."""
    found = {one.at: one for each in demands for one in each.missed}
    return tuple(sorted(found.values(), key=lambda one: (one.at.source.name, one.at.start)))


def _takes(needs: Sequence[Need], usual: Mapping[str, tuple[float, float]]) -> Takes:
    whole = {name: ms for name, (ms, _) in usual.items()}
    first = {name: ms for name, (_, ms) in usual.items()}
    most = {
        name: need.maximum * max((option.configuration.batch for option in need.options), default=1)
        for need in needs
        if need.maximum is not None
        for name in need.components
    }
    together = {
        name: partial(_together, need, name)
        for need in needs
        for name in need.components
        if any(name in option.adds_ms for option in need.options)
    }
    return Takes(whole, LATENCY_CV, first, most, together)


def _together(need: Need, component: str, count: float) -> tuple[float, float]:
    """How long so many calls take that are sent at once, on the fastest configuration, and what part of it deviates."""
    best = min(need.options, key=lambda option: together_ms(count, option, component, 0))
    return together_ms(count, best, component, 0), LATENCY_CV * together_spread(count, best, component)


def _often_late(demands: Iterable[Demand]) -> dict[str, float]:
    found: dict[str, float] = {}
    for component, share in (each for one in demands for each in one.late.items()):
        if share > OFTEN:
            found[component] = max(found.get(component, 0.0), share)
    return dict(sorted(found.items()))


def _needs(
    application: Application,
    called: Mapping[str, Sequence[str]],
    pipelines: tuple[Pipeline, ...],
    demands: Mapping[str, Demand],
    inventory: Inventory,
    profiles: Profiles,
) -> tuple[tuple[Need, ...], dict[str, float]]:
    """What must be placed, and how long calls of what takes no hardware last, in ms. Raises Rejected."""
    needs: list[Need] = []
    external: dict[str, float] = {}
    findings = Findings()
    for engine, own in called.items():
        kind = kinds()[application.engines[engine].kind]
        calls = {name: sum(one.load_rps * one.visits.get(name, 0.0) for one in pipelines) for name in own}
        work = {name: _work(name, pipelines, demands) for name in own}
        if kind.external:
            external |= {name: work[name].elsewhere_ms for name in own}
            continue
        try:
            needs.append(_need(inventory, profiles, kind, Asked(application.engines[engine], work, calls)))
        except Rejected as rejected:
            setting = REVISION.name if isinstance(rejected, UnknownRevision) else kind.model_setting
            place = application.place(engine, setting) if setting else None
            findings.items += [msgspec.structs.replace(one, span=one.span or place) for one in rejected.found]
    if findings.failed:
        raise Rejected(findings.items)
    return tuple(needs), external


def _natural(name: str) -> tuple[tuple[str, int], ...]:
    """A name as people sort it: `gpu2` before `gpu10`."""
    return tuple((text, int(number or -1)) for text, number in re.findall(r"([^0-9]*)([0-9]*)", name))


def _check_flows(application: Application) -> None:
    if not application.flows:
        help_ = "declare a `pipeline`; those of imported files are called and not served"
        place = application.sources[0].span_of_line(1) if application.sources else None
        message = "the files declare no pipeline, so there is nothing to plan"
        raise Rejected([Diagnostic("E0714", message, place, help=help_)])


def _check_loads(application: Application, aim: Aim) -> None:
    findings = Findings()
    for flow in application.flows:
        if aim == "cost" and flow.load is None:
            message = f"pipeline `{flow.name}` states no load, so nothing says what the cheapest plan must carry"
            findings.add("E0710", message, flow.span, help="add a clause such as `load 20 rps`")
    if findings.failed:
        raise Rejected(findings.items)


def _called(application: Application) -> dict[str, list[str]]:
    """The components that flows call, by engine; both in the order of their names."""
    names = {
        node.operation.component
        for flow in application.flows
        for body in flow.bodies
        for node in body.nodes
        if isinstance(node.operation, Call)
    }
    called: dict[str, list[str]] = {}
    for name in sorted(names):
        called.setdefault(application.components[name].engine, []).append(name)
    return dict(sorted(called.items()))


def _work(component: str, pipelines: tuple[Pipeline, ...], demands: Mapping[str, Demand]) -> Work:
    """The mean work of a call of a component over the pipelines, weighed by how often each calls it."""
    parts = [
        (one.load_rps * one.visits[component], demands[one.name].work[component])
        for one in pipelines
        if component in one.visits
    ]
    total = sum(weight for weight, _ in parts)
    if total <= 0:
        return parts[0][1] if parts else Work()
    mean = {
        quantity: sum(weight * getattr(work, quantity) for weight, work in parts) / total
        for quantity in Work.__struct_fields__
    }
    return Work(**mean)


def _need(inventory: Inventory, profiles: Profiles, kind: Kind, asked: Asked) -> Need:
    settings = asked.engine.settings
    label = settings.get("hosts")
    offered = profiles.offer(asked, Inventory(tuple(host for host in inventory.hosts if admits(host, label))))
    min_hosts = 1 if kind.stateful else int(settings.get("min_hosts") or 1)
    return Need(
        engine=asked.engine.id,
        components=tuple(sorted(asked.work)),
        options=offered.options,
        minimum=1 if kind.stateful else max(int(settings.get("min_replicas") or 1), min_hosts),
        maximum=1 if kind.stateful else settings.get("max_replicas"),
        on=settings.get("on"),
        hosts=label,
        min_hosts=min_hosts,
        shortfalls=offered.shortfalls,
        stateful=kind.stateful,
    )


def _pipeline(flow: Flow, asked: Demand, margin: float) -> Pipeline:
    numbers = {call.position: number for number, call in enumerate(asked.calls)}
    return Pipeline(
        name=flow.name,
        load_rps=flow.reckoned_load.peak_rps,
        visits=dict(asked.visits),
        steps=tuple(
            Step(
                call.component,
                tuple(sorted(numbers[before] for before in call.after)),
                call.count,
                call.rounds,
            )
            for call in asked.calls
        ),
        streamed=tuple(numbers[call.position] for call in asked.calls if call.streams),
        promises=tuple(_promise(one, margin, of_class) for one, of_class in promises(flow)),
        paths=_paths(asked, numbers),
        average_rps=flow.reckoned_load.rps,
    )


def _paths(asked: Demand, numbers: Mapping[int, int]) -> tuple[Path, ...]:
    """The paths, of which those that send the same, and give up the same, count as one."""
    found: dict[Path, float] = {}
    for way in asked.ways:
        ends = tuple(sorted((numbers[at], ms) for at, ms in way.given_up.items()))
        kept = tuple(sorted((numbers[at], *each) for at, each in way.kept.items() if at not in way.given_up))
        path = Path(0.0, frozenset(numbers[at] for at in way.path.sent), ends, kept)
        found[path] = found.get(path, 0.0) + way.path.likely
    return tuple(replace(path, likely=likely) for path, likely in found.items())


def _times(needs: Sequence[Need]) -> dict[str, tuple[float, float]]:
    """About how long a call of each component takes, whole and to its first piece: on its fastest configuration."""
    return {
        name: (
            min(option.latency_ms[name][0] for option in need.options),
            min(option.first_ms[name][0] for option in need.options),
        )
        for need in needs
        for name in (need.components if need.options else ())
    }


def _usual(needs: Sequence[Need], external: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    return {**{name: (ms, ms) for name, ms in external.items()}, **_times(needs)}


def _weighed(step: Step, needs: Mapping[str, Need], usual: Mapping[str, tuple[float, float]]) -> Step:
    """A step with what it usually takes: on the fastest configuration, all of its calls that are sent at once."""
    whole, first = usual.get(step.component, (step.usual_ms, step.usual_first_ms))
    need = needs.get(step.component)
    if need is None or not need.options:
        return replace(step, usual_ms=whole, usual_first_ms=first)

    def together(option: Option) -> float:
        return together_ms(step.count, option, step.component, 0)

    # All calls of a list wait for the same ones before them, and are late together: its spread is that of one call.
    return replace(step, usual_ms=min(map(together, need.options)), usual_first_ms=first)


def _promise(one: Objective, margin: float, request_class: str | None) -> Promise:
    if one.metric not in ("latency", "ttft"):
        raise ValueError(f"the planner knows no promise of {one.metric!r}")
    return Promise(one.metric, one.quantile, one.bound_ms / margin, request_class)
