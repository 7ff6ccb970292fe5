"""The planning problem as an integer program.

Formulation; the functions below, and in `plan/latency.py` those about time, bear the same names.

    Sets         engines e with choices c: an option, and a level of utilisation to run it at;
                 hosts h with resources r; pipelines p with steps s
    Data         mu[e,c]      multiples of the declared loads that one replica carries at that level
                 use[c,r]     what a replica takes; cap[h,r] what a host has (GPUs by type, cores, memory)
                 call[c,i]    latency of a call of component i at that level, waiting included
                 waves[c,k]   how often in a row a replica answers k calls that are sent at once
    Variables    n[e,c,h]     replicas, integer; only where h carries the label that e asks for
                 mixture[e,m] whether an engine's replicas are of the set m of options that may stand together
                 paid[h]      whether anything stands on a host that has a price
                 level[e,l]   whether an engine runs at a level, where its latency is promised
                 chosen[e,c]  whether a choice is in use, there
                 slow[i,k]    latency of k calls of a component at once with the slowest choice in use
                 time[p,s]    when a step has ended: a potential over the steps of a pipeline
                 rate         multiples of the declared loads that are carried

    keep_up      sum over c, h of mu[e,c] n[e,c,h] >= rate                   every engine
    fit          sum over e, c of use[c,r] n[e,c,h] <= cap[h,r]              every host and resource
    count        minimum[e] <= sum over c, h of n[e,c,h] <= maximum[e]       every engine
    pay          sum over e, c of n[e,c,h] <= most[h] paid[h]                every host with a price
    mix          n[e,c,h] <= most[e,c,h] sum over m with c of mixture[e,m];  sum over m of mixture[e,m] = 1
    choose       n[e,c,h] <= most[e,c,h] chosen[e,c];  chosen[e,c] <= level[e,l(c)];
                 sum over l of level[e,l] = 1;  slow[i,k] >= waves[c,k] call[c,i] chosen[e,c]
    time         time[s] >= time[s'] + rounds[s] slow[i(s),k(s)]             every step s after s', but for the rarest
    promised     tail(q) time[end] <= bound                 every latency promise of quantile q
    order        replicas on h >= replicas on the next host like it          breaks the symmetry

    Objectives   rate, cost (sum of price[h] paid[h]), hardware tied up, fewest replicas

Engines whose latency nobody is promised run at the highest level. Replicas of one engine in
different options share its calls in proportion to mu, so that they are equally busy; one level
for all of them is what makes that agree with `slow`.

`mix` keeps a call from being much slower by the chance of which replica it meets: a large model on
a core beside the same on a GPU adds next to nothing to the rate and all of the tail to the latency.

GPU fractions are powers of two and larger groups take whole devices of one host, so whatever `fit`
admits can be assigned to devices (`plan/place.py`).

`rate` is scaled by an upper bound (`rate_bound`), and no coefficient of `keep_up` exceeds 1: a
replica that carries more than the whole rate counts as carrying it all. That is what keeps a vector
search and a large model in one numerically sound model.
"""

from collections.abc import Collection

import pulp
from pulp import LpAffineExpression, LpProblem, lpSum

from harmonia_compiler.plan.choices import useful_choices
from harmonia_compiler.plan.latency import choose, promised_components, time
from harmonia_compiler.plan.problem import Problem, room, take, worth
from harmonia_compiler.plan.queueing import mixtures
from harmonia_compiler.plan.variables import Model, add_variables, alike, rate_bound

#: What the position of all replicas weighs against one replica more: too little to buy one.
POSITION = 1e-4


def build(
    problem: Problem,
    goal_rate: float | None,
    *,
    promises: bool = True,
    late: bool = False,
    anywhere: bool = False,
    keeping: Collection[int] | None = None,
) -> Model:
    """The model with all its rows.

    `goal_rate` None leaves the rate to be maximised, 0 asks for none. `promises` False leaves the
    latency promises out, `late` lets each be missed. With `anywhere`, hosts may be given more than they
    have, of everything. `keeping` are the engines that must carry the rate, if not all.
    """
    lp = LpProblem("plan", pulp.LpMaximize if goal_rate is None else pulp.LpMinimize)
    keeping = range(len(problem.needs)) if keeping is None else keeping
    timed = promised_components(problem) if promises else set()
    choices = [useful_choices(problem, need, timed=not timed.isdisjoint(need.components)) for need in problem.needs]
    scale = goal_rate or rate_bound(problem, keeping, anywhere=anywhere)
    model = Model(problem, lp, scale, goal_rate, choices)
    add_variables(model, anywhere=anywhere)
    keep_up(model, keeping)
    fit(model)
    count(model)
    pay(model)
    mix(model)
    if promises:
        choose(model, timed)
        time(model, late=late)
    if not anywhere:
        order(model)
    return model


def keep_up(model: Model, keeping: Collection[int]) -> None:
    """Every engine carries the rate."""
    if model.goal_rate == 0:
        return
    for e in keeping:
        carried = lpSum(
            min(model.choices[e][c].mu / model.scale, 1.0) * variable
            for (engine, c, _), variable in model.n.items()
            if engine == e
        )
        model.lp.addConstraint(carried >= (1.0 if model.rate is None else model.rate), f"keep_up_{e}")


def fit(model: Model) -> None:
    """No host gives more than it has."""
    for h, host in enumerate(model.problem.hosts):
        has = room(host)
        for resource in has | {name: 0.0 for at, name in model.extra if at == h}:
            used = lpSum(
                amount * variable
                for (e, c, at), variable in model.n.items()
                if at == h and (amount := take(model.choices[e][c].option.configuration).get(resource, 0.0))
            )
            more = model.extra.get((h, resource), 0.0)
            model.lp.addConstraint(used <= has.get(resource, 0.0) + more, f"fit_{h}_{resource}")


def count(model: Model) -> None:
    """Every engine has as many replicas as it must and no more than it may."""
    for e, need in enumerate(model.problem.needs):
        model.lp.addConstraint(model.replicas(engine=e) >= need.minimum, f"minimum_{e}")
        if need.maximum is not None:
            model.lp.addConstraint(model.replicas(engine=e) <= need.maximum, f"maximum_{e}")


def pay(model: Model) -> None:
    """A host is paid for as a whole as soon as anything stands on it."""
    for h, paid in model.paid.items():
        most = sum(variable.upBound for (_, _, at), variable in model.n.items() if at == h)
        model.lp.addConstraint(model.replicas(host=h) <= most * paid, f"pay_{h}")


def mix(model: Model) -> None:
    """An engine stands on options that are about as fast as each other."""
    for e, need in enumerate(model.problem.needs):
        sets = mixtures(model.problem, need)
        if len(sets) < 2:
            continue
        chosen = [model.lp.add_variable(f"mixture_{e}_{m}", 0, 1, pulp.LpInteger) for m in range(len(sets))]
        model.lp.addConstraint(lpSum(chosen) == 1, f"mixture_{e}")
        for (engine, c, h), variable in model.n.items():
            if engine == e:
                within = [one for one, options in zip(chosen, sets, strict=True) if model.choices[e][c].at in options]
                model.lp.addConstraint(variable <= variable.upBound * lpSum(within), f"mix_{e}_{c}_{h}")


def order(model: Model) -> None:
    """Of hosts that are alike, the earlier has no fewer replicas."""
    for one, other in alike(model.problem):
        model.lp.addConstraint(model.replicas(host=one) >= model.replicas(host=other), f"order_{one}_{other}")


def cost(model: Model) -> LpAffineExpression:
    """Price per hour of the hosts in use."""
    return lpSum(model.problem.hosts[h].price_per_hour * paid for h, paid in model.paid.items())


def hardware(model: Model) -> LpAffineExpression:
    """How much hardware is tied up, in TB/s of memory bandwidth."""
    return lpSum(worth(model.choices[e][c].option.configuration) / 1000.0 * v for (e, c, _), v in model.n.items())


def fewest(model: Model) -> LpAffineExpression:
    """How many replicas; of as many, those on earlier hosts and of earlier choices, so that equals do not tie."""
    width = 1 + max((len(choices) for choices in model.choices), default=0)
    last = width * (1 + len(model.problem.hosts))
    return lpSum((1.0 + POSITION * (h * width + c) / last) * variable for (_, c, h), variable in model.n.items())
