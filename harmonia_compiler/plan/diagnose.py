"""Says why a problem has no plan, by relaxing its limits one kind at a time.

First what fails for an engine alone, then whether the engines fit together at all, then the latency
promises, then the load: the first that fails is named, with what would satisfy it.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

import msgspec

from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.inventory import Gpu, Host
from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.plan.figures import MOST_DIGITS, amounts, down, plain, time, time_up, up
from harmonia_compiler.plan.infeasible import Allow, Infeasible, Later, Less, Limit, More, Remedy, loads
from harmonia_compiler.plan.model import build
from harmonia_compiler.plan.optimise import SLACK, carried, ended, options_of
from harmonia_compiler.plan.pools import Division, divide
from harmonia_compiler.plan.predict import keeps, quantile_ms
from harmonia_compiler.plan.problem import Need, Problem, Promise, admits, fits, room, take
from harmonia_compiler.plan.promises import named
from harmonia_compiler.plan.queueing import capacity
from harmonia_compiler.plan.refine import refined
from harmonia_compiler.plan.remedies import answer, hosts_to_add, promises_to_give, required
from harmonia_compiler.plan.solve import NODE_LIMIT, TOLERANCE, Outcome, Terms, total
from harmonia_compiler.plan.variables import Key, Model
from harmonia_compiler.profile.assumptions import CORE_BANDWIDTH_GB_S

#: The same that is to be planned, on other hosts of the same names: larger ones can hold larger replicas.
On = Callable[[Sequence[Host]], Problem]

#: What hosts are given to see all the replicas that larger ones could hold: more than any replica takes.
AMPLE_CORES, AMPLE_GIB, AMPLE_GPUS = 1024, 16_384, 64

#: How often it is looked again at what would have to be added, where what was found is too little on the larger hosts.
MOST_TRIES = 4

#: On so many hosts the least to add is searched for, in so many nodes; on more, what is nearly the least.
FEW_HOSTS, MOST_NODES = 4, 500
#: Nodes in which replicas that take less of it are looked for then: what is to be added is known.
FEW_NODES = 50


def diagnose(problem: Problem, on: On | None = None) -> Infeasible:
    """The reason why `optimise` found nothing.

    Without `on`, larger hosts are taken to hold what these can, and more of it, but no larger replicas.
    """
    lonely = [
        need
        for need in problem.needs
        if not need.options or not _admitting(need, problem) or _holding(need, problem) is not None
    ]
    limits = [Limit(finding) for need in lonely for finding in _alone(need, problem)]
    limits = limits or _together(problem, on) or _promises(problem) or _load(problem, on)
    return Infeasible(limits)


def _admitting(need: Need, problem: Problem) -> list[Host]:
    """The hosts that carry the label that an engine asks for."""
    return [host for host in problem.hosts if admits(host, need.hosts)]


def _holding(need: Need, problem: Problem) -> int | None:
    """How many hosts can hold a replica of an engine that asks for more of them; None where there are enough.

    None also where no host can, but as many as it asks for could after more is added to them.
    """
    admitting = _admitting(need, problem)
    count = sum(any(fits(one.configuration, host) for one in need.options) for host in admitting)
    too_few = 0 < count < need.min_hosts or 0 < len(admitting) < need.min_hosts
    return count if need.options and too_few else None


def _alone(need: Need, problem: Problem) -> Iterator[Diagnostic]:
    """An engine that no device of the inventory can run, or not on as many hosts as it asks for."""
    hosts = _admitting(need, problem)
    holding = _holding(need, problem)
    if holding is not None:
        can = {0: "no host", 1: "only 1 host"}.get(holding, f"only {holding} hosts")
        message = f"`{need.engine}` must stand on {need.min_hosts} hosts, and {can} of the inventory can hold a replica"
        yield Diagnostic("E0728", message, help="add hosts that can, or lower `min_hosts`")
        return
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
        has = f"a device or host of the inventory has {plain(down(short.has))} at most"
        message = f"`{need.engine}` needs {plain(up(short.needs))} {short.resource} and {has}"
        yield Diagnostic("E0720", message, help=f"add a larger device or host, or choose {short.smaller}")
    if not need.shortfalls:
        where = f'`on: "{need.on}"`' if need.on else "this inventory"
        message = f"`{need.engine}` has no configuration that its kind and settings allow with {where}"
        yield Diagnostic("E0720", message, help="change `on`, `cores` or `tensor_parallel`, or the inventory")


def _together(problem: Problem, on: On | None) -> list[Limit]:
    """Engines that each could run, and for which there is not enough together."""
    fitting = answer(problem, lambda over: build(problem, over, 0.0, promises=False), _replicas)
    if not problem.needs or fitting.found:
        return []
    missing = _missing(problem, on, rate=0.0, promises=False)
    if missing is None:
        # However large the hosts are, what fits alone fits together; only the search has its limit.
        raise ended()
    least = sum(need.minimum for need in problem.needs)
    replicas = "replica that is needed at least takes" if least == 1 else "replicas that are needed at least take"
    needs, has = _totals(problem, missing)
    message = f"the {least} {replicas} {needs}, and {has}"
    hosts = hosts_to_add(problem, 0.0, promises=False)
    remedies = (missing.more,) if hosts is None else (missing.more, hosts)
    help_ = f"{', or '.join(map(str, remedies))}, or make components from a common base so that they share replicas"
    return [Limit(Diagnostic("E0722", message, help=help_), remedies)]


def _promises(problem: Problem) -> list[Limit]:
    """Latencies that the fastest configurations that fit do not reach."""
    if not any(pipeline.promises for pipeline in problem.pipelines):
        return []
    fastest = answer(problem, lambda over: build(problem, over, 0.0, late=True), lambda model: total(model.late))
    used = options_of(problem, required(fastest).counts)
    limits = []
    for pipeline in problem.pipelines:
        for promise in pipeline.promises:
            least = quantile_ms(problem, used, pipeline, promise.metric, promise.quantile, 0.0)
            if not keeps(promise, least):
                whose = named(pipeline.name, promise.request_class)
                later = Later(pipeline.name, promise, time_up(least))
                message = (
                    f"`{whose}` promises a {_metric(promise)} of {time(promise.bound_ms)}, "
                    f"and the fastest plan on this inventory reaches {time(later.bound_ms)}"
                )
                help_ = f"{later}, add faster devices, or use smaller models"
                limits.append(Limit(Diagnostic("E0724", message, help=help_), (later,)))
    return limits


def _load(problem: Problem, on: On | None) -> list[Limit]:
    """A load that the whole inventory does not carry."""
    fastest = answer(problem, lambda over: build(problem, over, None), _rate, maximise=True)
    rate = carried(problem, required(fastest).counts)
    less = Less(_loads(problem, rate))
    asked = " and ".join(f"{plain(up(one.load_rps, MOST_DIGITS))} rps of `{one.name}`" for one in problem.pipelines)
    kept = " within its promises" if any(one.promises for one in problem.pipelines) else ""
    later = () if (looser := promises_to_give(problem)) is None else (looser,)
    anywhere = problem if on is None else _ample(problem, on)
    if bounds := _bounds(anywhere):
        too_much = " and ".join(_bounded(problem, e, most) for e, most in bounds.items())
        message = f"the load of {asked} is too much for {too_much}{kept}"
        allow = _allowing(problem, bounds)
        remedies: tuple[Remedy, ...] = (*later, less) if allow is None else (allow, *later, less)
    elif missing := _missing(problem, on, rate=1.0, promises=True):
        needs, has = _totals(problem, missing)
        carries = loads(less.load_rps)
        message = f"the load of {asked} needs {needs}{kept}, and {has}, which carries {carries}"
        hosts = hosts_to_add(problem, 1.0)
        remedies = (missing.more, *later, less) if hosts is None else (missing.more, hosts, *later, less)
    else:
        times = plain(up(1.0 / rate))
        message = f"the load of {asked} is {times} times what the inventory carries{kept}, {loads(less.load_rps)}"
        remedies = (*later, less)
    help_ = ", or ".join(map(str, remedies)) + (", which this inventory carries" if bounds else "")
    return [Limit(Diagnostic("E0723", message, help=help_), remedies)]


def _loads(problem: Problem, rate: float) -> dict[str, float]:
    """Loads that are carried, by pipeline, where so many multiples of those that are asked for are."""
    return {one.name: down(one.load_rps * rate) for one in problem.pipelines}


def _bounds(problem: Problem) -> dict[int, float]:
    """Engines that carry less than the load in as many replicas as they may have, on any hardware; and how much.

    Where each alone would carry it, and not all together within the promises: all of them.
    """
    capped = [
        e
        for e, need in enumerate(problem.needs)
        if need.maximum is not None and capacity(problem, need, need.options[0]) < float("inf")
    ]
    together = _anywhere(problem, capped)
    if together >= 1.0 - SLACK:
        return {}
    alone = {e: most for e in capped if (most := _anywhere(problem, [e])) < 1.0 - SLACK}
    return alone or dict.fromkeys(capped, together)


def _anywhere(problem: Problem, engines: Collection[int]) -> float:
    """Multiples of the load that some engines carry within the promises where hardware is no limit."""
    if not engines:
        return float("inf")
    fastest = answer(
        problem, lambda over: build(problem, over, None, keeping=engines), _rate, maximise=True, anywhere=True
    )
    return required(fastest).outcomes[-1].objective * fastest.model.scale


def _bounded(problem: Problem, e: int, most: float) -> str:
    need = problem.needs[e]
    replicas = "1 replica" if need.maximum == 1 else f"{need.maximum} replicas"
    limit = "is never copied" if need.stateful else f"may have {replicas}"
    return f"`{need.engine}`, which {limit} and carries {loads(_loads(problem, most))} at most on any hardware"


def _allowing(problem: Problem, bounds: Collection[int]) -> Allow | None:
    """How many replicas some engines would have to be allowed, where the inventory has room for them."""
    if any(problem.needs[e].stateful for e in bounds):
        return None
    free = tuple(replace(need, maximum=None) if e in bounds else need for e, need in enumerate(problem.needs))
    freed = replace(problem, needs=free)
    fewest = answer(
        freed,
        lambda over: build(freed, over, 1.0),
        lambda model: total(column for (e, _, _), column in model.n.items() if e in bounds),
    )
    if not fewest.found:
        return None
    return Allow(
        {problem.needs[e].engine: sum(count for (at, _, _), count in fewest.counts.items() if at == e) for e in bounds}
    )


@dataclass(frozen=True, slots=True)
class _Missing:
    """Hardware to add, and what the replicas that then stand there take of each host, by host and resource."""

    more: More
    takes: Mapping[str, Mapping[str, float]]


def _missing(problem: Problem, on: On | None, *, rate: float, promises: bool) -> _Missing | None:
    """The least hardware, by memory bandwidth, that would have to be added to the hosts; None for far too much.

    It is least among all the replicas that larger hosts can hold, and enough on the very hosts that it makes: how long
    calls are expected to take may depend on these, too.
    """
    if on is None:
        return _least(problem, rate=rate, promises=promises)
    known = _ample(problem, on)
    found = _least(known, rate=rate, promises=promises)
    for _ in range(MOST_TRIES):
        if found is None:
            return None
        larger = on([_with_more(host, found.more.hardware.get(host.name, {})) for host in problem.hosts])
        if _is_carried(larger, rate, promises=promises):
            return found
        found = _least(replace(larger, hosts=problem.hosts), rate=rate, promises=promises)
    return found


def _is_carried(problem: Problem, rate: float, *, promises: bool) -> bool:
    """Whether any replicas on the hosts carry so many times the load, as near to it as a plan is held to."""
    held = rate * (1.0 - SLACK)
    return answer(problem, lambda over: build(problem, over, held, promises=promises), _replicas, gap=1.0).found


def _least(problem: Problem, *, rate: float, promises: bool) -> _Missing | None:
    """The least hardware to add, of the replicas that a problem knows."""
    is_small = len(problem.hosts) <= FEW_HOSTS
    gap, adding, taking = (0.0, MOST_NODES, MOST_NODES) if is_small else (problem.give_up, NODE_LIMIT, FEW_NODES)

    def search(division: Division) -> tuple[Model, list[Outcome]]:
        model = build(problem, division, rate, promises=promises)
        program = model.program
        weights = {column: _weight(name) for (_, name), column in model.extra.items()}
        least = program.solve(weights, gap=gap, nodes=adding)
        if not least.found:
            return model, [least]
        for column in model.extra.values():
            program.row({column: 1.0}, high=round(least.values[column]))
        added = {name for (_, name), column in model.extra.items() if round(least.values[column])}
        taken = program.solve(_taking(model, added), gap=gap, nodes=taking, start=least.values)
        return model, [least, taken]

    least = refined(search, divide(problem, anywhere=True))
    if not least.found:
        return None
    takes = _taken(problem, least.counts)
    hardware: dict[str, dict[str, int]] = {}
    for (g, resource), column in least.model.extra.items():
        (at,) = least.model.division.pools[g].hosts
        host = problem.hosts[at]
        more = round(least.outcomes[0].values[column])
        if resource not in GPU_TYPES:
            # A search that ended early may have added more than its replicas take.
            more = min(more, _above(takes[host.name].get(resource, 0.0), room(host)[resource]))
        if more:
            hardware.setdefault(host.name, {})[resource] = more
    return _Missing(More(hardware, len(problem.hosts) > 1), takes) if hardware else None


def _above(taken: float, there: float) -> int:
    """By how many whole units more is taken than there is."""
    return max(0, ceil(taken - there - TOLERANCE))


def _taking(model: Model, resources: Collection[str]) -> Terms:
    """How much of some resources is taken, by memory bandwidth; of as much, by how many replicas."""
    return {
        column: 1e-6
        + sum(_weight(name) * amount for name, amount in model.choices[e][c].takes.items() if name in resources)
        for (e, c, _), column in model.n.items()
    }


def _taken(problem: Problem, counts: Mapping[Key, int]) -> dict[str, dict[str, float]]:
    """What replicas take of each host."""
    taken: dict[str, dict[str, float]] = {host.name: {} for host in problem.hosts}
    for (e, c, h), count in counts.items():
        here = taken[problem.hosts[h].name]
        for resource, amount in take(problem.needs[e].options[c].configuration).items():
            here[resource] = here.get(resource, 0.0) + amount * count
    return taken


def _ample(problem: Problem, on: On) -> Problem:
    """The problem with all the replicas that larger hosts could hold, on the hosts that there are."""
    types = sorted({gpu.type for host in problem.hosts for gpu in host.gpus})
    more = {"cores": AMPLE_CORES, "memory_gib": AMPLE_GIB, **dict.fromkeys(types, AMPLE_GPUS)}
    return replace(on([_with_more(host, more) for host in problem.hosts]), hosts=problem.hosts)


def _with_more(host: Host, more: Mapping[str, int]) -> Host:
    return msgspec.structs.replace(
        host,
        cpus=host.cpus + more.get("cores", 0),
        memory_gib=host.memory_gib + more.get("memory_gib", 0),
        gpus=(*host.gpus, *(Gpu(name, count) for name, count in more.items() if name in GPU_TYPES)),
    )


def _totals(problem: Problem, missing: _Missing) -> tuple[str, str]:
    """What of the resources that are added is needed in all, and what there is of them, as phrases.

    Where that does not come to what is added, since some of what there is stands where no replica fits: on which host.
    """
    hosts = {host.name: room(host) for host in problem.hosts}
    added: Counter[str] = Counter()
    for more in missing.more.hardware.values():
        added.update(more)
    has = {resource: sum(one.get(resource, 0.0) for one in hosts.values()) for resource in sorted(added)}
    needs = {resource: sum(one.get(resource, 0.0) for one in missing.takes.values()) for resource in sorted(added)}
    if all(needs[resource] > has[resource] + more - 1 for resource, more in added.items()):
        return _said(needs), f"the inventory has {_had(has)}"
    wanted = {
        host: {resource: missing.takes[host].get(resource, 0.0) for resource in more}
        for host, more in missing.more.hardware.items()
    }
    there = {host: {resource: hosts[host].get(resource, 0.0) for resource in more} for host, more in wanted.items()}
    needed = " and ".join(f"{_said(amount)} on `{host}`" for host, amount in wanted.items())
    return needed, " and ".join(f"`{host}` has {_had(amount)}" for host, amount in there.items())


def _said(needs: Mapping[str, float]) -> str:
    return amounts({resource: up(amount, MOST_DIGITS) for resource, amount in needs.items()})


def _had(has: Mapping[str, float]) -> str:
    return " and ".join(plain(down(amount, MOST_DIGITS)) for amount in has.values())


def _replicas(model: Model) -> Terms:
    return total(model.n.values())


def _rate(model: Model) -> Terms:
    return {} if model.rate is None else {model.rate: 1.0}


def _weight(resource: str) -> float:
    if resource in GPU_TYPES:
        return GPU_TYPES[resource].bandwidth_gb_s / 1000.0
    return (CORE_BANDWIDTH_GB_S if resource == "cores" else 1.0) / 1000.0


def _metric(promise: Promise) -> str:
    return f"p{promise.quantile * 100:g} {promise.metric}"
