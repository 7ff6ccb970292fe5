"""Says why a problem has no plan, by relaxing its limits one kind at a time.

First what fails for an engine alone, then whether the engines fit together at all, then the latency
promises, then the load: the first that fails is named, with what would satisfy it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pulp

from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.plan.infeasible import Infeasible
from harmonia_compiler.plan.model import Model, build
from harmonia_compiler.plan.optimise import carried, options_of
from harmonia_compiler.plan.predict import quantile_ms
from harmonia_compiler.plan.problem import Need, Problem, Promise, admits, room, take
from harmonia_compiler.plan.queueing import capacity
from harmonia_compiler.plan.solve import solve
from harmonia_compiler.profile.assumptions import CORE_BANDWIDTH_GB_S
from harmonia_compiler.profile.queueing import HEADROOM


def diagnose(problem: Problem) -> Infeasible:
    """The reason why `optimise` found nothing."""
    alone = [need for need in problem.needs if not need.options or not _admitting(need, problem)]
    found = [diagnostic for need in alone for diagnostic in _alone(need, problem)]
    found = found or _together(problem) or _promises(problem) or _load(problem)
    if not found:
        raise RuntimeError("a problem without a plan has one once each of its limits is looked at")
    return Infeasible(found)


def _admitting(need: Need, problem: Problem) -> list[Host]:
    """The hosts that carry the label that an engine asks for."""
    return [host for host in problem.hosts if admits(host, need.hosts)]


def _alone(need: Need, problem: Problem) -> Iterator[Diagnostic]:
    """An engine that no device of the inventory can run."""
    hosts = _admitting(need, problem)
    if need.hosts is not None and not hosts:
        name, _, value = need.hosts.partition("=")
        message = f"`{need.engine}` must stand on hosts with the label `{need.hosts}`, and the inventory has none"
        yield Diagnostic("E0725", message, help=f'give a host `labels = {{{name} = "{value}"}}`, or change `hosts`')
        return
    types = sorted({gpu.type for host in hosts for gpu in host.gpus})
    if need.on not in (None, "cpu", *types):
        has = f"has {', '.join(types)}" if types else "has no GPU"
        help_ = f"add a host with `{need.on}`, or change `on`"
        yield Diagnostic("E0721", f"`{need.engine}` must run on `{need.on}`, and the inventory {has}", help=help_)
        return
    for short in need.shortfalls:
        has = f"a device or host of the inventory has {round(short.has, 1):g} at most"
        message = f"`{need.engine}` needs {round(short.needs, 1):g} {short.resource} and {has}"
        yield Diagnostic("E0720", message, help="add a larger device or host, or choose a smaller model")
    if not need.shortfalls:
        where = f'`on: "{need.on}"`' if need.on else "this inventory"
        message = f"`{need.engine}` has no configuration that its kind and settings allow with {where}"
        yield Diagnostic("E0720", message, help="change `on`, `cores` or `tensor_parallel`, or the inventory")


def _together(problem: Problem) -> list[Diagnostic]:
    """Engines that each could run, and for which there is not enough together."""
    if not problem.needs or _feasible(build(problem, 0.0, promises=False)):
        return []
    missing = _missing(problem, rate=0.0, promises=False)
    least = sum(need.minimum for need in problem.needs)
    message = f"the {least} replicas that are needed at least take {missing.needs}, and the inventory has {missing.has}"
    help_ = f"add {missing.add}, or make components from a common base so that they share replicas"
    return [Diagnostic("E0722", message, help=help_)]


def _promises(problem: Problem) -> list[Diagnostic]:
    """Latencies that the fastest configurations that fit do not reach."""
    if _feasible(build(problem, 0.0)):
        return []
    model = build(problem, 0.0, stretch=True)
    model.lp.setObjective(model.stretch)
    solve(model.lp)
    used = options_of(problem, model.counts())
    found = []
    for pipeline in problem.pipelines:
        for promise in pipeline.promises:
            least = quantile_ms(problem, used, pipeline, promise.metric, promise.quantile, 0.0)
            if least > promise.bound_ms * (1 + 1e-6):
                name = _metric(promise)
                message = (
                    f"`{pipeline.name}` promises a {name} of {_time(promise.bound_ms)}, "
                    f"and the fastest plan on this inventory reaches {_time(least)}"
                )
                help_ = f"promise {_time(least * 1.05)} or more, add faster devices, or use smaller models"
                found.append(Diagnostic("E0724", message, help=help_))
    return found


def _load(problem: Problem) -> list[Diagnostic]:
    """A load that the whole inventory does not carry."""
    model = build(problem, None)
    model.lp.setObjective(model.rate)
    solve(model.lp)
    rate = carried(problem, model.counts())
    asked = " and ".join(f"{one.load_rps:g} rps of `{one.name}`" for one in problem.pipelines)
    reached = " and ".join(f"{one.load_rps * rate:.3g} rps" for one in problem.pipelines)
    kept = " within its promises" if any(one.promises for one in problem.pipelines) else ""
    if bounded := [_bounded(need, most) for need in problem.needs if (most := _most(problem, need)) < 1.0]:
        help_ = f"lower the load to {reached}, or allow more replicas where `max_replicas` forbids them"
        return [Diagnostic("E0723", f"the load of {asked} is too much for {' and '.join(bounded)}", help=help_)]
    missing = _missing(problem, rate=1.0, promises=True)
    message = (
        f"the load of {asked} needs {missing.needs}{kept}, and the inventory has {missing.has}, which carries {reached}"
    )
    return [Diagnostic("E0723", message, help=f"add {missing.add}, or lower the load to {reached}")]


def _most(problem: Problem, need: Need) -> float:
    """Multiples of the load that an engine carries in as many replicas as it may have, on any hardware."""
    if need.maximum is None:
        return float("inf")
    return need.maximum * HEADROOM * max(capacity(problem, need, option) for option in need.options)


def _bounded(need: Need, most: float) -> str:
    replicas = "1 replica" if need.maximum == 1 else f"{need.maximum} replicas"
    return f"`{need.engine}`, which may have {replicas} and so carries {most:.0%} of it"


@dataclass(frozen=True, slots=True)
class _Missing:
    """What would be needed, what there is, and what would have to be added, as phrases."""

    needs: str
    has: str
    add: str


def _feasible(model: Model) -> bool:
    model.lp.setObjective(model.replicas())
    return solve(model.lp).status in ("optimal", "feasible")


def _missing(problem: Problem, *, rate: float, promises: bool) -> _Missing:
    """The least hardware, by memory bandwidth, that would have to be added to the hosts."""
    resources = {name for need in problem.needs for option in need.options for name in take(option.configuration)}
    model = build(problem, rate, promises=promises, extra=resources)
    weighed = [_weight(resource) * more for (_, resource), more in model.extra.items()]
    model.lp.setObjective(pulp.lpSum(weighed) + 1e-6 * model.replicas())
    solved = solve(model.lp, gap=problem.give_up).status in ("optimal", "feasible")
    more = dict.fromkeys(sorted(resources), 0)
    for (_, resource), variable in model.extra.items():
        more[resource] += round(variable.varValue or 0.0) if solved else 0
    more = {resource: count for resource, count in more.items() if count}
    if not more:
        return _Missing("other devices", "none of them", "devices with more memory or bandwidth")
    has = {resource: sum(room(host).get(resource, 0.0) for host in problem.hosts) for resource in more}
    return _Missing(
        needs=_amounts({resource: has[resource] + count for resource, count in more.items()}),
        has=" and ".join(f"{amount:g}" for amount in has.values()),
        add=_amounts(more),
    )


def _amounts(amounts: Mapping[str, float]) -> str:
    return " and ".join(f"{amount:g} {_unit(resource, amount)}" for resource, amount in amounts.items())


def _weight(resource: str) -> float:
    if resource in GPU_TYPES:
        return GPU_TYPES[resource].bandwidth_gb_s / 1000.0
    return (CORE_BANDWIDTH_GB_S if resource == "cores" else 1.0) / 1000.0


def _unit(resource: str, count: float) -> str:
    return {"cores": "core" if count == 1 else "cores", "memory_gib": "GiB of memory"}.get(resource, resource)


def _metric(promise: Promise) -> str:
    return f"p{promise.quantile * 100:g} {promise.metric}"


def _time(ms: float) -> str:
    return f"{ms / 1000:.3g} s" if ms >= 1000 else f"{ms:.3g} ms"
