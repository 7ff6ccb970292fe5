"""Says why a problem has no plan, by relaxing its limits one kind at a time.

First what fails for an engine alone, then whether the engines fit together at all, then the latency
promises, then the load: the first that fails is named, with what would satisfy it.
"""

from collections.abc import Iterator

import pulp

from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.plan.infeasible import Infeasible
from harmonia_compiler.plan.model import Model, build
from harmonia_compiler.plan.optimise import carried, options_of
from harmonia_compiler.plan.predict import quantile_ms
from harmonia_compiler.plan.problem import CORE_BANDWIDTH_GB_S, Need, Problem, Promise, room, take
from harmonia_compiler.plan.solve import solve


def diagnose(problem: Problem) -> Infeasible:
    """The reason why `optimise` found nothing."""
    found = [diagnostic for need in problem.needs if not need.options for diagnostic in _alone(need, problem)]
    found = found or _together(problem) or _promises(problem) or _load(problem)
    if not found:
        raise RuntimeError("a problem without a plan has one once each of its limits is looked at")
    return Infeasible(found)


def _alone(need: Need, problem: Problem) -> Iterator[Diagnostic]:
    """An engine that no device of the inventory can run."""
    types = sorted({gpu.type for host in problem.hosts for gpu in host.gpus})
    if need.on not in (None, "cpu", *types):
        has = f"has {', '.join(types)}" if types else "has no GPU"
        help_ = f"add a host with `{need.on}`, or change `on`"
        yield Diagnostic("E0721", f"`{need.engine}` must run on `{need.on}`, and the inventory {has}", help=help_)
        return
    for short in need.shortfalls:
        has = f"a device or host of the inventory has {short.has:.1f} at most"
        message = f"`{need.engine}` needs {short.needs:.1f} {short.resource} and {has}"
        yield Diagnostic("E0720", message, help="add a larger device or host, or choose a smaller model")
    if not need.shortfalls:
        where = f'`on: "{need.on}"`' if need.on else "this inventory"
        message = f"`{need.engine}` has no configuration that its kind and settings allow with {where}"
        yield Diagnostic("E0720", message, help="change `on`, `cores` or `tensor_parallel`, or the inventory")


def _together(problem: Problem) -> list[Diagnostic]:
    """Engines that each could run, and for which there is not enough together."""
    model = build(problem, 0.0, promises=False)
    if _feasible(model):
        return []
    missing = _missing(problem, rate=0.0, promises=False)
    least = sum(need.minimum for need in problem.needs)
    message = f"the {least} replicas that are needed at least do not fit on the inventory: it lacks {missing}"
    return [Diagnostic("E0722", message, help=f"add {missing}, or give components a common base to share replicas")]


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
    asked = " and ".join(f"`{one.name}` {one.load_rps:g} rps" for one in problem.pipelines)
    reached = " and ".join(f"{one.load_rps * rate:.3g} rps" for one in problem.pipelines)
    missing = _missing(problem, rate=1.0, promises=True)
    kept = " within its promises" if any(one.promises for one in problem.pipelines) else ""
    message = f"the inventory carries {reached} of the load {asked}{kept}: it lacks {missing}"
    return [Diagnostic("E0723", message, help=f"add {missing}, or lower the load to {reached}")]


def _feasible(model: Model) -> bool:
    model.lp.setObjective(model.replicas())
    return solve(model.lp).status in ("optimal", "feasible")


def _missing(problem: Problem, *, rate: float, promises: bool) -> str:
    """The least hardware, by memory bandwidth, that would have to be added to the hosts."""
    resources = {name for need in problem.needs for option in need.options for name in take(option.configuration)}
    model = build(problem, rate, promises=promises, extra=resources)
    model.lp.setObjective(
        pulp.lpSum(_weight(resource) * more for (_, resource), more in model.extra.items()) + 1e-6 * model.replicas()
    )
    solve(model.lp)
    sums: dict[str, int] = {}
    for (_, resource), more in model.extra.items():
        sums[resource] = sums.get(resource, 0) + round(more.varValue or 0.0)
    has = {resource: sum(room(host).get(resource, 0.0) for host in problem.hosts) for resource in sums}
    parts = [f"{more} {_unit(name, more)} (it has {has[name]:g})" for name, more in sums.items() if more]
    return " and ".join(parts) or "nothing by itself, but on fewer hosts"


def _weight(resource: str) -> float:
    if resource in GPU_TYPES:
        return GPU_TYPES[resource].bandwidth_gb_s / 1000.0
    return (CORE_BANDWIDTH_GB_S if resource == "cores" else 1.0) / 1000.0


def _unit(resource: str, count: int) -> str:
    return {"cores": "core" if count == 1 else "cores", "memory_gib": "GiB of memory"}.get(resource, resource)


def _metric(promise: Promise) -> str:
    return f"p{promise.quantile * 100:g} {promise.metric}"


def _time(ms: float) -> str:
    return f"{ms / 1000:.3g} s" if ms >= 1000 else f"{ms:.3g} ms"
