"""The planning problem as an integer program.

Formulation; the functions below bear the same names.

    Sets         engines e with options c, hosts h with resources r, pipelines p with steps s
    Data         mu[e,c]      multiples of the declared loads that one replica carries at the planned utilisation
                 use[c,r]     what a replica takes; cap[h,r] what a host has (GPUs by type, cores, memory)
                 call[e,c,i]  latency of a call of component i at the planned utilisation, waiting included
    Variables    n[e,c,h]     replicas, integer
                 paid[h]      whether anything stands on a host that has a price
                 chosen[e,c]  whether an option is in use, for engines whose latency is promised
                 slow[i]      latency of a component with the slowest option in use
                 time[p,s]    when a step has ended: a potential over the steps of a pipeline
                 rate         multiples of the declared loads that are carried

    keep_up      sum over c, h of mu[e,c] n[e,c,h] >= rate                   every engine
    fit          sum over e, c of use[c,r] n[e,c,h] <= cap[h,r]              every host and resource
    count        minimum[e] <= sum over c, h of n[e,c,h] <= maximum[e]       every engine
    pay          sum over e, c of n[e,c,h] <= most[h] paid[h]                every host with a price
    choose       n[e,c,h] <= most[e,c,h] chosen[e,c]; slow[i] >= call[e,c,i] chosen[e,c]
    time         time[s] >= time[s'] + slow[i(s)]           every step s after s', but for the rarest
    promised     tail(q) time[end] <= bound                                  every latency promise of quantile q
    order        replicas on h >= replicas on the next host like it          breaks the symmetry

    Objectives   rate, cost (sum of price[h] paid[h]), worth (hardware tied up), replicas, position

GPU fractions are powers of two and larger groups take whole devices of one host, so whatever `fit`
admits can be assigned to devices (`plan/place.py`). Replicas of one engine in different options
share its calls in proportion to mu, so that they are equally busy.

`rate` is scaled by an upper bound (`rate_bound`), and no coefficient of `keep_up` exceeds 1: a
replica that carries more than the whole rate counts as carrying it all. That is what keeps a vector
search and a large model in one numerically sound model.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pulp
from pulp import LpAffineExpression, LpProblem, LpVariable, lpSum

from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.plan.problem import Need, Pipeline, Problem, Promise, fits, room, take, worth
from harmonia_compiler.plan.queueing import is_counted, multiple, tail
from harmonia_compiler.profile.profiles import Option

#: Replicas of one engine on one host at most, where nothing else bounds them.
MOST_REPLICAS = 1024

#: How much may be added of a resource to a host in a diagnosis: GPUs, cores, GiB.
MOST_EXTRA = 65_536

Key = tuple[int, int, int]


@dataclass(slots=True)
class Model:
    """A PuLP problem with its variables, by position of engine, option and host in the planning problem.

    `goal_rate` is the rate that `keep_up` asks for; None makes it a variable between 0 and `scale`.
    `extra` (capacity that a host may be given beyond what it has) and `stretch` (the factor by which
    promises may be missed) are for the diagnosis of a problem that has no plan.
    """

    problem: Problem
    lp: LpProblem
    scale: float
    goal_rate: float | None
    options: list[list[Option]]
    n: dict[Key, LpVariable] = field(default_factory=dict)
    paid: dict[int, LpVariable] = field(default_factory=dict)
    slow: dict[tuple[str, str], LpVariable] = field(default_factory=dict)
    extra: dict[tuple[int, str], LpVariable] = field(default_factory=dict)
    rate: LpVariable | None = None
    stretch: LpVariable | None = None

    def replicas(self, engine: int | None = None, host: int | None = None) -> LpAffineExpression:
        """The number of replicas of an engine, on a host, or all."""
        return lpSum(
            variable
            for (e, _, h), variable in self.n.items()
            if (engine is None or e == engine) and (host is None or h == host)
        )

    def counts(self) -> dict[Key, int]:
        """The solution: replicas by engine, option (its position among the need's options) and host."""
        found: dict[Key, int] = {}
        for (e, c, h), variable in self.n.items():
            if count := round(variable.varValue or 0.0):
                found[e, self.problem.needs[e].options.index(self.options[e][c]), h] = count
        return found


def build(
    problem: Problem,
    goal_rate: float | None,
    *,
    promises: bool = True,
    extra: Collection[str] = (),
    stretch: bool = False,
) -> Model:
    """The model with all its rows.

    `goal_rate` None leaves the rate to be maximised, 0 asks for none. `promises` False leaves the
    latency promises out, `stretch` lets them be missed by a factor. `extra` names the resources of
    which hosts may be given more than they have.
    """
    lp = LpProblem("plan", pulp.LpMaximize if goal_rate is None else pulp.LpMinimize)
    timed = promised_components(problem) if promises else set()
    options = [useful_options(problem, need, timed=not timed.isdisjoint(need.components)) for need in problem.needs]
    model = Model(problem, lp, goal_rate or rate_bound(problem), goal_rate, options)
    _add_variables(model, extra)
    if stretch:
        model.stretch = lp.add_variable("stretch", 1)
    keep_up(model)
    fit(model)
    count(model)
    pay(model)
    if promises:
        choose(model, timed)
        time(model)
    if not extra:
        order(model)
    return model


def _add_variables(model: Model, extra: Collection[str]) -> None:
    repeated = {other for _, other in alike(model.problem.hosts)}
    for h, host in enumerate(model.problem.hosts):
        for resource in sorted(extra) if h not in repeated else ():
            model.extra[h, resource] = model.lp.add_variable(f"extra_{h}_{resource}", 0, MOST_EXTRA, pulp.LpInteger)
        if host.price_per_hour > 0:
            model.paid[h] = model.lp.add_variable(f"paid_{h}", 0, 1, pulp.LpInteger)
        for e, need in enumerate(model.problem.needs):
            for c, option in enumerate(model.options[e]):
                most_here = (need.maximum or MOST_REPLICAS) if extra else most_replicas(need, option, host)
                if most_here:
                    model.n[e, c, h] = model.lp.add_variable(f"n_{e}_{c}_{h}", 0, most_here, pulp.LpInteger)
    if model.goal_rate is None:
        model.rate = model.lp.add_variable("rate", 0, 1)


def most_replicas(need: Need, option: Option, host: Host) -> int:
    """How many replicas of an engine in one option could stand on a host if nothing else did."""
    takes_something = any(amount > 0 for amount in take(option.configuration).values())
    here = fits(option.configuration, host) if takes_something else MOST_REPLICAS
    return min(here, need.maximum if need.maximum is not None else MOST_REPLICAS)


def rate_bound(problem: Problem) -> float:
    """No plan carries more than this: for each engine, the whole inventory to itself in its best option."""
    bounds = []
    for need in problem.needs:
        best = 0.0
        for option in need.options:
            most = min(sum(most_replicas(need, option, host) for host in problem.hosts), need.maximum or MOST_REPLICAS)
            one = multiple(problem, need, option)
            best += most * one if most else 0.0
        bounds.append(best)
    bound = min(bounds, default=float("inf"))
    return bound if 0 < bound < float("inf") else 1.0


def useful_options(problem: Problem, need: Need, *, timed: bool) -> list[Option]:
    """The options that another does not beat or equal in everything; the first of equals stays."""

    def figures(option: Option) -> list[float]:
        latencies = [
            figure[component]
            for component in need.components
            for figure in (option.latency_ms, option.first_ms)
            if timed
        ]
        return [-multiple(problem, need, option), *latencies]

    kept: list[tuple[Option, dict[str, float], list[float]]] = []
    for option in need.options:
        taken, own = take(option.configuration), figures(option)
        if any(_beats(other, taken, own) for other in kept):
            continue
        kept = [other for other in kept if not _beats((option, taken, own), other[1], other[2])]
        kept.append((option, taken, own))
    return [option for option, _, _ in kept]


def _beats(better: tuple[Option, dict[str, float], list[float]], taken: dict[str, float], own: list[float]) -> bool:
    _, its_taken, its_own = better
    takes_no_more = all(amount <= taken.get(resource, 0.0) for resource, amount in its_taken.items())
    return takes_no_more and all(mine <= theirs for mine, theirs in zip(its_own, own, strict=True))


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


def keep_up(model: Model) -> None:
    """Every engine carries the rate."""
    if model.goal_rate == 0:
        return
    for e, need in enumerate(model.problem.needs):
        carried = lpSum(
            min(multiple(model.problem, need, model.options[e][c]) / model.scale, 1.0) * variable
            for (engine, c, _), variable in model.n.items()
            if engine == e
        )
        goal = model.rate if model.rate is not None else 1.0 - 1e-8
        model.lp.addConstraint(carried >= goal, f"keep_up_{e}")


def fit(model: Model) -> None:
    """No host gives more than it has."""
    for h, host in enumerate(model.problem.hosts):
        has = room(host)
        for resource in has | {name: 0.0 for at, name in model.extra if at == h}:
            used = lpSum(
                amount * variable
                for (e, c, at), variable in model.n.items()
                if at == h and (amount := take(model.options[e][c].configuration).get(resource, 0.0))
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


def choose(model: Model, timed: set[str]) -> None:
    """A component is as slow as the slowest option in use of its engine."""
    for e, need in enumerate(model.problem.needs):
        components = [component for component in need.components if component in timed]
        for component in components:
            for metric in ("latency", "ttft"):
                model.slow[component, metric] = model.lp.add_variable(f"slow_{metric}_{e}_{component}", 0)
        for c, option in enumerate(model.options[e] if components else ()):
            chosen = model.lp.add_variable(f"chosen_{e}_{c}", 0, 1, pulp.LpInteger)
            for (engine, at, h), variable in model.n.items():
                if (engine, at) == (e, c):
                    model.lp.addConstraint(variable <= variable.upBound * chosen, f"choose_{e}_{c}_{h}")
            for component in components:
                for metric, figure in (("latency", option.latency_ms), ("ttft", option.first_ms)):
                    seconds = figure[component] / 1000.0
                    slow = model.slow[component, metric]
                    model.lp.addConstraint(slow >= seconds * chosen, f"slow_{metric}_{e}_{c}_{component}")


def time(model: Model) -> None:
    """A step ends after all that it waits for; the last one, or the first piece, comes within what was promised."""
    for at, (pipeline, promise) in enumerate(_promises(model.problem)):
        ended = [model.lp.add_variable(f"time_{at}_{s}", 0) for s in range(len(pipeline.steps))]
        bound = promise.bound_ms / 1000.0 / tail(promise.quantile)
        to_first_piece = promise.metric == "ttft" and pipeline.streamed
        for s, step in enumerate(pipeline.steps):
            counts = is_counted(step, promise.quantile)
            for before in [ended[before] for before in step.after] or [0.0]:
                took = _took(model, step.component, "latency") if counts else 0.0
                model.lp.addConstraint(ended[s] >= before + took)
                if to_first_piece and s in pipeline.streamed and counts:
                    promised(model, before + _took(model, step.component, "ttft"), bound)
            if not to_first_piece:
                promised(model, ended[s], bound)


def _took(model: Model, component: str, metric: str) -> LpVariable | float:
    if (component, metric) in model.slow:
        return model.slow[component, metric]
    return model.problem.external_ms[component] / 1000.0


def promised(model: Model, ends: LpVariable | LpAffineExpression | float, bound: float) -> None:
    """What a promise is about ends within its bound, in seconds."""
    model.lp.addConstraint(lpSum([ends]) <= (bound if model.stretch is None else bound * model.stretch))


def order(model: Model) -> None:
    """Of hosts that are alike, the earlier has no fewer replicas."""
    for one, other in alike(model.problem.hosts):
        model.lp.addConstraint(model.replicas(host=one) >= model.replicas(host=other), f"order_{one}_{other}")


def alike(hosts: tuple[Host, ...]) -> Iterator[tuple[int, int]]:
    """Positions of each host and the next that offers and costs the same."""
    classes: dict[tuple[object, ...], list[int]] = {}
    for h, host in enumerate(hosts):
        classes.setdefault((tuple(sorted(room(host).items())), host.price_per_hour), []).append(h)
    for members in classes.values():
        yield from pairwise(members)


def cost(model: Model) -> LpAffineExpression:
    """Price per hour of the hosts in use."""
    return lpSum(model.problem.hosts[h].price_per_hour * paid for h, paid in model.paid.items())


def hardware(model: Model) -> LpAffineExpression:
    """How much hardware is tied up, in TB/s of memory bandwidth."""
    return lpSum(worth(model.options[e][c].configuration) / 1000.0 * v for (e, c, _), v in model.n.items())


def position(model: Model) -> LpAffineExpression:
    """Prefers earlier hosts, then earlier options: makes the choice among equals a fixed one."""
    width = 1 + max((len(options) for options in model.options), default=0)
    return lpSum((h * width + c) * variable for (_, c, h), variable in model.n.items())
