"""The planning problem as an integer program.

Formulation; the functions below, those about time in `plan/latency.py` and the objectives in `plan/objectives.py`, bear
the same names.

    Sets         engines e with choices c: their options; levels l of utilisation that profiles say latencies for;
                 pools g of hosts, of kinds j with hosts[j] that are the same; resources r;
                 paths p of pipelines with steps s; figures i of time, of k calls of a component that are sent at once
    Data         full[e,c]    multiples of the declared loads at which one replica would never be idle
                 use[c,r]     what a replica takes; cap[j,r] what a host has (GPUs by type, cores, memory)
                 call[c,l,i]  latency at a level, waiting included, of as many calls in a row as k take on one replica
    Variables    n[e,c,g]     replicas, integer; only where hosts carry the label that e asks for
                 paid[j]      how many of the hosts that have a price are used, integer
                 mixture[e,m] whether an engine's replicas are of the set m of options that may stand together
                 chosen[e,c]  whether a choice is in use; integer, where mixtures or promises ask for it
                 stands[e,g]  on how many hosts of a pool an engine that is to be spread stands
                 part[i,c,l]  what a choice carries of the calls of an engine at a level, where a promise depends on it
                 mean[i]      a figure in the mean over the replicas;  deviating[i] what it deviates by a part of
                 time[p,s]    when a step of a path has ended: a potential over the steps of a pipeline
                 rate         multiples of the declared loads that are carried

    keep_up      sum over c, g of full[e,c] n[e,c,g] >= rate / HEADROOM             every engine without a promise
    fit          sum over e, c of use[c,r] n[e,c,g] <= sum over j in g of cap[j,r] paid[j]   every pool and resource
    cut          the same with use and cap in units u, rounded down; for groups of GPUs, and as plan/refine.py asks
    count        minimum[e] <= sum over c, g of n[e,c,g] <= maximum[e]                       every engine
    spread       stands[e,g] <= sum over c of n[e,c,g];  stands[e,g] <= sum over j in g of paid[j];
                 sum over g of stands[e,g] >= min_hosts[e]                                   every engine that asks
    mix          n[e,c,g] <= most[e,c,g] chosen[e,c];  chosen[e,c] <= sum over m with c of mixture[e,m];
                 sum over m of mixture[e,m] = 1
    share        sum over c, l of part[i,c,l] = rate;  sum over l of part[i,c,l] <= chosen[e,c];
                 sum over l of part[i,c,l] / l <= sum over g of full[e,c] n[e,c,g], or, where an engine need not carry
                 the rate, chosen[e,c] <= sum over g of n[e,c,g];
                 rate mean[i] = sum over c, l of call[c,l,i] part[i,c,l];
                 deviating[i] >= mean[i];  deviating[i] >= call[c,0,i] chosen[e,c]
    time         time[p,s] >= time[p,s'] + rounds[s] (mean[i(s)] + (weight[q,p,s] - 1) deviating[i(s)])
                 every path p, every step s after s'; where the weight is below 1, weight[q,p,s] mean[i(s)]
                 time[p,end] <= bound                       every latency promise, of quantile q (plan/weights.py);
                                                            no more than LOOSEST times what the path can last at all
    stay         kept[e,c,g] <= n[e,c,g];  kept[e,c,g] <= replicas that run there           where a plan runs already
    order        replicas on h >= replicas on the next host like it          where such hosts are counted one by one

    Objectives   rate, cost (sum of price[j] paid[j]), hardware tied up, started (sum of n - kept), fewest replicas

A call meets one of its engine's replicas: which one is settled by what makes calls take the least in the mean
(`plan/sharing.py`), for each figure by itself. Then what they do take is a convex function of rate and replicas, in
straight lines between the levels, and linear in the parts. So is all that is promised, where the rate is a variable, in
times that are multiples of it; only a choice in use is a matter of yes or no. How a mixture of quick and slow replicas
spreads is no linear matter. Its deviation is taken to be LATENCY_CV of the mean, or of what calls take on the slowest
idle replica in use, if that is more. Beside the exact deviation of a quick kind and one that takes up to ten times as
long, each deviating by LATENCY_CV itself, that is up to 15 % too little where two in three calls go to the slow ones,
and the p95 of a single step 9 %; where few calls do it is too much: a lone slow replica is not worth its tail.

`mix` keeps a call from being much slower by the chance of which replica it meets: a large model on
a core beside the same on a GPU adds next to nothing to the rate and all of the tail to the latency.

A pool is a relaxation of its hosts: it has as much as they have together. So an optimum over pools whose
replicas `plan/unpack.py` puts onto the hosts is an optimum, and where they cannot be put, `plan/refine.py`
adds rows or divides pools, and asks again; with each host a pool for itself the model is exact.
GPU fractions and groups are powers of two, so that `cut` in the units of the groups is exact for GPUs: whatever
it admits can be assigned to hosts, and to devices (`plan/place.py`).

The program is scaled by an upper bound of the rate, and no coefficient of what replicas carry exceeds what the
whole rate takes at the lowest level: a replica that carries more counts as carrying just that. That is what keeps a
vector search and a large model in one numerically sound model.
"""

from collections.abc import Collection

from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.plan.choices import useful_choices
from harmonia_compiler.plan.latency import share, time
from harmonia_compiler.plan.pools import Division
from harmonia_compiler.plan.problem import Problem
from harmonia_compiler.plan.promised import Figure, limits, without_limits
from harmonia_compiler.plan.variables import MOST_REPLICAS, Model, add_variables, fitting, rate_bound
from harmonia_compiler.profile.queueing import HEADROOM


def build(
    problem: Problem,
    division: Division,
    goal_rate: float | None,
    *,
    promises: bool = True,
    paying: bool = False,
    late: bool = False,
    keeping: Collection[int] | None = None,
    most: float | None = None,
) -> Model:
    """The model with all its rows.

    `goal_rate` None leaves the rate to be maximised, 0 asks for none. `promises` False leaves the
    latency promises out, `late` lets each be missed. Hosts cost something only where `paying`. `keeping` are
    the engines that must carry the rate, if not all. Enlarged pools may be given more than they have, of everything.
    `most` is a rate that is known to be no lower than any; the nearer it is, the more the relaxation says of promises.
    """
    keeping = range(len(problem.needs)) if keeping is None else keeping
    figures = limits(problem) if promises else {}
    figures = without_limits(figures) if late else figures
    choices = [useful_choices(problem, need, figures) for need in problem.needs]
    scale = goal_rate or most or rate_bound(problem, division, choices, keeping)
    model = Model(problem, division, choices, scale, goal_rate)
    add_variables(model, paying=paying)
    fit(model)
    count(model)
    spread(model)
    mix(model, figures)
    # An engine that nothing can run is short of replicas (`count`), whatever the others do.
    timed: list[int] = []
    if promises and all(choices):
        components = {figure.component for figure in figures}
        timed = [e for e, need in enumerate(problem.needs) if not components.isdisjoint(need.components)]
        share(model, figures, () if goal_rate == 0 else keeping)
        time(model, late=late)
    keep_up(model, [e for e in keeping if e not in timed])
    order(model)
    return model


def keep_up(model: Model, keeping: Collection[int]) -> None:
    """Some engines carry the rate, however long calls take there."""
    if model.goal_rate == 0:
        return
    for e in keeping:
        terms = {column: model.carries(e, c) for (engine, c, _), column in model.n.items() if engine == e}
        if model.rate is None:
            model.program.row(terms, 1.0 / HEADROOM)
        else:
            model.program.row({**terms, model.rate: -1.0 / HEADROOM}, 0.0)


def fit(model: Model) -> None:
    """No pool gives more than its hosts have, nor more than those of them that are paid for."""
    taking: dict[tuple[int, str], dict[int, float]] = {key: {} for key in model.extra}
    free: dict[int, dict[int, float]] = {}
    for (e, c, g), column in model.n.items():
        takes = model.choices[e][c].takes
        for resource, amount in takes.items():
            taking.setdefault((g, resource), {})[column] = amount
        if not takes:
            free.setdefault(g, {})[column] = 1.0
    for (g, resource), terms in taking.items():
        if (g, resource) in model.extra:
            has = model.division.pools[g].has(resource)
            model.program.row({**terms, model.extra[g, resource]: -1.0}, high=has)
            continue
        _within(model, g, resource, terms, None)
        for unit in sorted(_units(model, g, resource, terms)):
            rounded = {column: float(int(amount / unit + 1e-9)) for column, amount in terms.items()}
            _within(model, g, resource, {column: whole for column, whole in rounded.items() if whole}, unit)
    for g, terms in free.items():
        if all((g, j) in model.paid for j in range(len(model.division.pools[g].kinds))):
            paid = {column: -float(MOST_REPLICAS) for (at, _), column in model.paid.items() if at == g}
            model.program.row({**terms, **paid}, high=0.0)


def _within(model: Model, g: int, resource: str, terms: dict[int, float], unit: float | None) -> None:
    """What is taken of a resource is within what the hosts have, each of whole units if there is one."""
    paid, has = {}, 0.0
    pool = model.division.pools[g]
    for j, kind in enumerate(pool.kinds):
        each = kind.room.get(resource, 0.0)
        each *= 1.0 if resource in GPU_TYPES else 1.0 - pool.reserve
        each = each if unit is None else float(int(each / unit + 1e-9))
        if (g, j) in model.paid:
            paid[model.paid[g, j]] = -each
        else:
            has += len(kind.hosts) * each
    model.program.row({**terms, **paid}, high=has)


def _units(model: Model, g: int, resource: str, terms: dict[int, float]) -> set[float]:
    """The units in which rounding says more: those asked for, and sizes of groups of GPUs, which halve each other."""
    pool = model.division.pools[g]
    if len(pool.hosts) == 1:
        return set()
    units = {unit for name, unit in model.division.units if name == resource}
    if resource in GPU_TYPES:
        units |= {amount for amount in terms.values() if amount > 1}
    return {unit for unit in units if any(kind.room.get(resource, 0.0) % unit for kind in pool.kinds)}


def count(model: Model) -> None:
    """Every engine has as many replicas as it must and no more than it may."""
    for e, need in enumerate(model.problem.needs):
        most = float("inf") if need.maximum is None else need.maximum
        model.program.row(model.replicas(e), need.minimum, most)


def spread(model: Model) -> None:
    """An engine stands on as many hosts as it asks for. A host that stands alone in its pool is one or none."""
    for e, need in enumerate(model.problem.needs):
        for g, pool in enumerate(model.division.pools if need.min_hosts > 1 else ()):
            here = {column: -1.0 for (engine, _, at), column in model.n.items() if engine == e and at == g}
            if not here:
                continue
            column = model.stands[e, g] = model.program.column(high=float(_holding(model, e, g)))
            model.program.row({column: 1.0, **here}, high=0.0)
            paid = {model.paid[g, j]: -1.0 for j in range(len(pool.kinds)) if (g, j) in model.paid}
            free = sum(len(kind.hosts) for j, kind in enumerate(pool.kinds) if (g, j) not in model.paid)
            if paid:
                model.program.row({column: 1.0, **paid}, high=float(free))
        if need.min_hosts > 1:
            model.program.row({at: 1.0 for (engine, _), at in model.stands.items() if engine == e}, need.min_hosts)


def _holding(model: Model, e: int, g: int) -> int:
    """How many hosts of a pool can hold a replica of an engine."""
    pool = model.division.pools[g]
    choices = model.choices[e]
    return (
        len(pool.hosts)
        if pool.enlarged
        else sum(len(kind.hosts) for kind in pool.kinds if any(fitting(choice.takes, kind) for choice in choices))
    )


def mix(model: Model, figures: Collection[Figure]) -> None:
    """An engine stands on options that are about as fast as each other; whether each choice is in use.

    Only of engines of which that matters: that have several mixtures, or that a promise depends on.
    """
    chosen = model.chosen
    timed = {figure.component for figure in figures}
    for e, need in enumerate(model.problem.needs):
        sets = sorted(frozenset[int]().union(*(choice.mixtures for choice in model.choices[e])))
        apart = len(sets) > 1 and any(len(choice.mixtures) < len(sets) for choice in model.choices[e])
        promised = not timed.isdisjoint(need.components)
        for c in range(len(model.choices[e]) if apart or promised else 0):
            chosen[e, c] = model.program.column(high=1.0, whole=promised)
        if apart:
            mixture = {m: model.program.column(high=1.0, whole=True) for m in sets}
            model.mixture |= {(e, m): column for m, column in mixture.items()}
            model.program.row(dict.fromkeys(mixture.values(), 1.0), 1.0, 1.0)
            for c, choice in enumerate(model.choices[e]):
                within = {mixture[m]: -1.0 for m in sorted(choice.mixtures)}
                model.program.row({chosen[e, c]: 1.0, **within}, high=0.0)
    for (e, c, _), column in model.n.items():
        if (e, c) in chosen:
            model.program.row({column: 1.0, chosen[e, c]: -model.program.upper[column]}, high=0.0)


def order(model: Model) -> None:
    """Of hosts that are alike and counted one by one, the earlier has no fewer replicas."""
    alike: dict[tuple[object, ...], int] = {}
    for g, pool in enumerate(model.division.pools):
        if pool.enlarged or len(pool.hosts) > 1:
            continue
        kind = pool.kinds[0]
        key = (tuple(sorted(kind.room.items())), kind.price, kind.labels, tuple(sorted(kind.running.items())))
        if key in alike:
            terms = {column: -1.0 for (_, _, at), column in model.n.items() if at == g}
            terms |= {column: 1.0 for (_, _, at), column in model.n.items() if at == alike[key]}
            model.program.row(terms, 0.0)
        alike[key] = g
