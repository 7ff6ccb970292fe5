"""The planning problem as an integer program.

Formulation; the functions below bear the same names.

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

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pulp
from pulp import LpAffineExpression, LpProblem, LpVariable, lpSum

from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.plan.choices import Choice, useful_choices
from harmonia_compiler.plan.problem import Need, Pipeline, Problem, Promise, Step, admits, fits, room, take, worth
from harmonia_compiler.plan.queueing import capacity, is_counted, mixtures, tail, waves
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import HEADROOM

#: Replicas of one engine on one host at most, where they take nothing of it and nothing else bounds them.
MOST_REPLICAS = 1024

#: The same in a diagnosis, where hosts may be given more than they have; an option that takes more replicas to
#: carry what is asked is no option.
MOST_ANYWHERE = 65_536

#: What the position of all replicas weighs against one replica more: too little to buy one.
POSITION = 1e-4

#: Positions of an engine, one of its options (or choices) and a host.
Key = tuple[int, int, int]


@dataclass(slots=True)
class Model:
    """A PuLP problem with its variables, by positions of engines, choices and hosts.

    `goal_rate` is the rate that `keep_up` asks for; None makes it a variable between 0 and `scale`.
    `extra` (capacity that a host may be given beyond what it has) and `late` (the seconds by which each
    promise may be missed) are for the diagnosis of a problem that has no plan.
    """

    problem: Problem
    lp: LpProblem
    scale: float
    goal_rate: float | None
    choices: list[list[Choice]]
    n: dict[Key, LpVariable] = field(default_factory=dict)
    paid: dict[int, LpVariable] = field(default_factory=dict)
    slow: dict[tuple[str, str, float], LpVariable] = field(default_factory=dict)
    extra: dict[tuple[int, str], LpVariable] = field(default_factory=dict)
    late: list[LpVariable] = field(default_factory=list)
    rate: LpVariable | None = None

    def replicas(self, engine: int | None = None, host: int | None = None) -> LpAffineExpression:
        """The number of replicas of an engine, on a host, or all."""
        return lpSum(
            variable
            for (e, _, h), variable in self.n.items()
            if (engine is None or e == engine) and (host is None or h == host)
        )

    def counts(self) -> dict[Key, int]:
        """The solution: replicas by engine, option and host."""
        found: dict[Key, int] = {}
        for (e, c, h), variable in self.n.items():
            if count := round(variable.varValue or 0.0):
                key = (e, self.choices[e][c].at, h)
                found[key] = found.get(key, 0) + count
        return found


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
    _add_variables(model, anywhere=anywhere)
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


def _add_variables(model: Model, *, anywhere: bool) -> None:
    repeated = {other for _, other in alike(model.problem)}
    for h, host in enumerate(model.problem.hosts):
        # Of hosts that are alike one is enlarged: to enlarge the others would be the same.
        enlarged = anywhere and h not in repeated
        for resource in sorted(_resources(model.problem)) if enlarged else ():
            model.extra[h, resource] = model.lp.add_variable(f"extra_{h}_{resource}", 0, None, pulp.LpInteger)
        if host.price_per_hour > 0:
            model.paid[h] = model.lp.add_variable(f"paid_{h}", 0, 1, pulp.LpInteger)
        for e, need in enumerate(model.problem.needs):
            for c, choice in enumerate(model.choices[e]):
                most = most_replicas(need, choice.option, host)
                if enlarged and admits(host, need.hosts):
                    most = _of_use(need, choice, model.goal_rate)
                if most:
                    model.n[e, c, h] = model.lp.add_variable(f"n_{e}_{c}_{h}", 0, most, pulp.LpInteger)
    if model.goal_rate is None:
        model.rate = model.lp.add_variable("rate", 0, 1)


def _resources(problem: Problem) -> set[str]:
    """What some replica would take of a host."""
    return {name for need in problem.needs for option in need.options for name in take(option.configuration)}


def _of_use(need: Need, choice: Choice, goal_rate: float | None) -> int:
    """How many replicas in one choice are of any use where hardware is no limit; 0 where there are too many to count.

    An engine without a maximum is never what bounds a rate that is maximised, so that the fewest do.
    """
    wanted = math.ceil(min(goal_rate / choice.mu, MOST_ANYWHERE + 1.0)) if goal_rate else 0
    wanted = max(wanted, need.minimum, need.maximum or 0 if goal_rate is None else 0)
    wanted = wanted if need.maximum is None else min(wanted, need.maximum)
    return wanted if wanted <= MOST_ANYWHERE else 0


def most_replicas(need: Need, option: Option, host: Host) -> int:
    """How many replicas of an engine in one option could stand on a host if nothing else did."""
    if not admits(host, need.hosts):
        return 0
    takes_something = any(amount > 0 for amount in take(option.configuration).values())
    here = fits(option.configuration, host) if takes_something else MOST_REPLICAS
    return here if need.maximum is None else min(here, need.maximum)


def rate_bound(problem: Problem, keeping: Collection[int], *, anywhere: bool) -> float:
    """No plan carries more than this: for each engine, the whole inventory to itself for every option at once.

    `anywhere` it is as many replicas as an engine may have.
    """
    bounds = []
    for need in (problem.needs[e] for e in keeping):
        bound = 0.0
        for option in need.options:
            here = sum(most_replicas(need, option, host) for host in problem.hosts)
            if most := (need.maximum or 0) if anywhere else here:
                bound += min(most, need.maximum or most) * HEADROOM * capacity(problem, need, option)
        bounds.append(bound)
    bound = min(bounds, default=float("inf"))
    return bound if 0 < bound < float("inf") else 1.0


def promised_components(problem: Problem) -> set[str]:
    """The components whose latency some promise depends on."""
    return {
        step.component
        for pipeline, promise in _promises(problem)
        for step in pipeline.steps
        if is_counted(step, promise.quantile)
    }


def _promises(problem: Problem) -> Iterator[tuple[Pipeline, Promise]]:
    for pipeline in problem.pipelines:
        for promise in pipeline.promises:
            yield pipeline, promise


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


def choose(model: Model, timed: set[str]) -> None:
    """An engine runs at one level, and its components are as slow as the slowest choice in use."""
    for e, need in enumerate(model.problem.needs):
        components = [component for component in need.components if component in timed]
        if not components:
            continue
        for component in components:
            for at, count in enumerate(_counts(model.problem, component)):
                for metric in ("latency", "ttft"):
                    name = f"slow_{metric}_{component}_{at}"
                    model.slow[component, metric, count] = model.lp.add_variable(name, 0)
        levels = {
            level: model.lp.add_variable(f"level_{e}_{level}", 0, 1, pulp.LpInteger)
            for level in dict.fromkeys(choice.level for choice in model.choices[e])
        }
        model.lp.addConstraint(lpSum(levels.values()) == 1, f"level_{e}")
        for c, choice in enumerate(model.choices[e]):
            _choose(model, e, c, levels[choice.level], components)


def _choose(model: Model, e: int, c: int, level: LpVariable, components: list[str]) -> None:
    choice = model.choices[e][c]
    chosen = model.lp.add_variable(f"chosen_{e}_{c}", 0, 1, pulp.LpInteger)
    model.lp.addConstraint(chosen <= level, f"chosen_{e}_{c}")
    for (engine, at, h), variable in model.n.items():
        if (engine, at) == (e, c):
            model.lp.addConstraint(variable <= variable.upBound * chosen, f"choose_{e}_{c}_{h}")
    for component in components:
        for metric, times in (("latency", choice.option.latency_ms), ("ttft", choice.option.first_ms)):
            seconds = times[component][choice.level] / 1000.0
            for at, count in enumerate(_counts(model.problem, component)):
                slow = model.slow[component, metric, count]
                name = f"slow_{metric}_{c}_{component}_{at}"
                model.lp.addConstraint(slow >= seconds * waves(count, choice.option) * chosen, name)


def _counts(problem: Problem, component: str) -> list[float]:
    """How many calls of a component are sent at once, over all steps."""
    steps = (step for pipeline in problem.pipelines for step in pipeline.steps if step.component == component)
    return sorted({step.count for step in steps})


def time(model: Model, *, late: bool) -> None:
    """A step ends after all that it waits for; the last one, or the first piece, comes within what was promised.

    Lateness is in seconds and no factor: a promise of next to nothing, as a factor's coefficient, would be taken
    for none.
    """
    for at, (pipeline, promise) in enumerate(_promises(model.problem)):
        ended = [model.lp.add_variable(f"time_{at}_{s}", 0) for s in range(len(pipeline.steps))]
        bound: LpVariable | LpAffineExpression | float = promise.bound_ms / 1000.0 / tail(promise.quantile)
        if late:
            model.late.append(model.lp.add_variable(f"late_{at}", 0))
            bound = bound + model.late[-1]
        to_first_piece = promise.metric == "ttft" and pipeline.streamed
        for s, step in enumerate(pipeline.steps):
            counts = is_counted(step, promise.quantile)
            for before in [ended[before] for before in step.after] or [0.0]:
                took = step.rounds * _took(model, step, "latency") if counts else 0.0
                model.lp.addConstraint(ended[s] >= before + took)
                if to_first_piece and s in pipeline.streamed and counts:
                    promised(model, before + _took(model, step, "ttft"), bound)
            if not to_first_piece:
                promised(model, ended[s], bound)


def _took(model: Model, step: Step, metric: str) -> LpVariable | float:
    key = step.component, metric, step.count
    return model.slow[key] if key in model.slow else model.problem.external_ms[step.component] / 1000.0


def promised(
    model: Model, ends: LpVariable | LpAffineExpression | float, bound: LpVariable | LpAffineExpression | float
) -> None:
    """What a promise is about ends within its bound, in seconds."""
    model.lp.addConstraint(lpSum([ends]) <= bound)


def order(model: Model) -> None:
    """Of hosts that are alike, the earlier has no fewer replicas."""
    for one, other in alike(model.problem):
        model.lp.addConstraint(model.replicas(host=one) >= model.replicas(host=other), f"order_{one}_{other}")


def alike(problem: Problem) -> Iterator[tuple[int, int]]:
    """Positions of each host and the next that offers and costs the same, to the same engines."""
    classes: dict[tuple[object, ...], list[int]] = {}
    for h, host in enumerate(problem.hosts):
        admitted = tuple(admits(host, need.hosts) for need in problem.needs)
        classes.setdefault((tuple(sorted(room(host).items())), host.price_per_hour, admitted), []).append(h)
    for members in classes.values():
        yield from pairwise(members)


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
