"""Solves the model objective by objective: each later one chooses among the optima of those before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.plan.in_use import Decided
from harmonia_compiler.plan.mend import mend, resumed, trim
from harmonia_compiler.plan.model import build
from harmonia_compiler.plan.objectives import cost, fewest, hardware, started
from harmonia_compiler.plan.pools import Division, divide
from harmonia_compiler.plan.predict import keeps_promises, rate
from harmonia_compiler.plan.problem import Problem, worth
from harmonia_compiler.plan.refine import Answer, refined
from harmonia_compiler.plan.search import best, is_large, judged
from harmonia_compiler.plan.solve import INFINITY, Outcome
from harmonia_compiler.plan.variables import Key, Model
from harmonia_compiler.profile.profiles import Option

#: How much of an earlier objective a later one may give up: rounding, not quality.
SLACK = 1e-8

#: What falls short of a load by no more than this part carries it, to within what the solver's rows hold to.
CARRIED = 1e-5

#: How often a bound of the rate is made tighter, and the part of it from which on that is of no use.
TIGHTER, NEAR = 2, 0.9

#: The part of what may be given up that a search of a large model may leave of the price; the rest is for the hosts.
LARGE_GAP = 0.75


@dataclass(frozen=True, slots=True)
class Allocation:
    """Replicas by engine, option and host (positions in the problem), and the rate that they carry.

    `rate` is in multiples of the declared loads. `proven` says that no search ended at its limit; `gap` is the
    largest relative distance of an objective to its bound, with what was given up of the rate.
    """

    counts: dict[Key, int]
    rate: float
    proven: bool
    gap: float


def optimise(problem: Problem) -> Allocation | None:
    """The best allocation for the problem's aim; None where no allocation satisfies it.

    Raises Rejected where the search ends at its limit before it has found any.
    """
    if not problem.needs:
        kept = keeps_promises(problem, {}, 0.0)
        return Allocation({}, INFINITY, proven=True, gap=0.0) if kept else None
    decisions: list[Decided] = []
    fastest = _fastest(problem, decisions) if problem.aim == "throughput" else _Fastest({}, 1.0, 0.0, proven=True)
    if fastest is None:
        return None
    simplest = _cheapest(problem, fastest, decisions)
    if not fastest.counts and not simplest.found and not simplest.infeasible:
        # The highest rate is found more easily than the lowest price, and what carries more than is asked is near it.
        carrying = _fastest(problem, decisions)
        if carrying is None or carrying.bound < 1.0 - SLACK:
            return None
        if carrying.goal < 1.0 - SLACK:
            raise ended()
        fastest = _Fastest(carrying.counts, 1.0, 0.0, proven=True)
        simplest = _cheapest(problem, fastest, decisions)
    if simplest.found:
        counts, proven = simplest.counts, fastest.proven and simplest.proven
        gap = max(one.gap for one in simplest.outcomes)
    elif fastest.counts:
        # They carry the rate, and nobody knows how much less would do.
        counts, proven = fastest.counts, False
        gap = _first_gap(problem, counts, simplest)
    else:
        return None
    carries = carried(problem, counts)
    short = max(0.0, 1.0 - carries / fastest.bound) if fastest.bound else 0.0
    return Allocation(counts, carries, proven, max(short, gap))


def ended() -> Rejected:
    """What is said where nobody knows whether there is a plan."""
    message = "the search ended at its limit before it found a plan, or that there is none"
    help_ = "make it smaller: fewer types of hosts, fewer components, or looser promises"
    return Rejected([Diagnostic("E0727", message, help=help_)])


@dataclass(frozen=True, slots=True)
class _Fastest:
    """An allocation of about the highest rate, the rate that simpler ones must carry, and a bound that none exceeds.

    Where no rate is sought there is no bound. `proven` is that of `Allocation`.
    """

    counts: dict[Key, int]
    goal: float
    bound: float
    proven: bool


def _fastest(problem: Problem, decisions: list[Decided]) -> _Fastest | None:
    """The highest rate, to within half of what may be given up; the other half is left to the later objectives.

    Nothing is given up of a load that can be carried: where the search ends so near to the load that the
    highest rate may be on the other side, it goes on.
    """
    highest = refined(partial(_rate, problem, decisions), divide(problem), partial(_mended_rate, problem))
    if highest.infeasible:
        return None
    if not highest.found:
        raise ended()
    scale = highest.model.scale
    found = highest.outcomes[-1].objective * scale
    bound = min(scale, max(found, highest.relaxed[-1].bound * scale))
    asked = min(found, 1.0) if found >= 1.0 - CARRIED else 0.0
    goal = max(min(found, max(found * (1 - problem.give_up / 2), bound * (1 - problem.give_up))), asked)
    if found < 1.0 - CARRIED <= bound:
        carrying = refined(partial(_carrying, problem), divide(problem))
        if carrying.found:
            return _Fastest(carrying.counts, 1.0 - CARRIED, bound, highest.proven)
        # Nobody knows where this search too ended at its limit.
        return _Fastest(highest.counts, goal, bound, highest.proven and carrying.infeasible)
    return _Fastest(highest.counts, goal, bound, highest.proven)


def _rate(problem: Problem, decisions: list[Decided], division: Division) -> tuple[Model, list[Outcome]]:
    """The highest rate over a division.

    What a choice in use means for promises is the more, the nearer the rate that is sought is to its bound; so that
    is first the relaxation's.
    """
    model = build(problem, division, None)
    tighter = 1 if is_large(model) else TIGHTER
    for _ in range(tighter if model.mean and model.rate is not None else 0):
        relaxed = model.program.solve(_rate_of(model), maximise=True, whole=())
        if not relaxed.found or relaxed.objective <= SLACK or relaxed.objective > NEAR:
            break
        model = build(problem, division, None, most=relaxed.objective * model.scale * (1 + SLACK))
    outcome = best(model, _rate_of(model), maximise=True, gap=problem.give_up / 2, earlier=decisions)
    # At no rate calls take no time, and promises are kept.
    return model, [Outcome("infeasible") if outcome.found and outcome.objective <= SLACK else outcome]


def _rate_of(model: Model) -> dict[int, float]:
    return {} if model.rate is None else {model.rate: 1.0}


def _carrying(problem: Problem, division: Division) -> tuple[Model, list[Outcome]]:
    """Any replicas that carry the load."""
    model = build(problem, division, 1.0 - CARRIED)
    return model, [model.program.solve(fewest(model), gap=1.0)]


def _cheapest(problem: Problem, fastest: _Fastest, decisions: list[Decided]) -> Answer:
    """The simplest replicas that carry the rate of a plan."""
    search = partial(_simplest, problem, fastest.goal * (1 - SLACK), fastest.counts, decisions)
    return refined(search, divide(problem), partial(_mended_cost, problem, fastest.counts))


def _hint(model: Model, counts: dict[Key, int]) -> list[float]:
    """The counts of a model's replicas and paid hosts that some replicas on hosts come to; none for none."""
    if not counts:
        return []
    values = [0.0] * len(model.program.lower)
    pools = {
        h: (g, j)
        for g, pool in enumerate(model.division.pools)
        for j, kind in enumerate(pool.kinds)
        for h in kind.hosts
    }
    choices = {(e, one.at): c for e, own in enumerate(model.choices) for c, one in enumerate(own)}
    for (e, at, h), count in counts.items():
        if (column := model.n.get((e, choices.get((e, at), -1), pools[h][0]))) is not None:
            values[column] += count
    for h in {h for _, _, h in counts}:
        if pools[h] in model.paid:
            values[model.paid[pools[h]]] += 1
    return values


def _simplest(
    problem: Problem, goal: float, known: dict[Key, int], decisions: list[Decided], division: Division
) -> tuple[Model, list[Outcome]]:
    """The cheapest that carry a rate; of those the ones with the least hardware, and of those the fewest replicas.

    Where some run already, those come before the fewest of which the most stay.
    Of a large model only the cheapest, near those that are `known` to carry it: what is spare is taken away afterwards.
    """
    model = build(problem, division, goal, paying=True)
    outcomes: list[Outcome] = []
    start: Sequence[float] = ()
    hint = _hint(model, known) if is_large(model) else ()
    moves = started(model) if problem.running and not is_large(model) else {}
    objectives = [*filter(None, (cost(model), hardware(model), moves)), fewest(model)]
    gap = problem.give_up * (LARGE_GAP if is_large(model) else 0.5)
    for objective in objectives[:1] if is_large(model) else objectives:
        # The last is searched to its end: what it leaves to chance would be the solver's choice.
        near = 0.0 if objective is moves or objective is objectives[-1] else gap
        outcome = best(model, objective, gap=near, start=start, hint=hint, earlier=decisions)
        if outcomes and outcome.status == "infeasible":
            raise RuntimeError("an optimum of the model is infeasible once it is held")
        outcomes.append(outcome)
        if not outcome.found:
            break
        start = outcome.values
        model.program.row(objective, high=outcome.objective + SLACK * max(1.0, abs(outcome.objective)))
    return model, outcomes


def _mended_rate(
    problem: Problem, model: Model, found: Outcome, counts: dict[Key, int]
) -> tuple[dict[Key, int], Outcome] | None:
    """What carries about the rate that was found for a large model, and how much it does carry."""
    whole = mend(model, found.values, counts) if is_large(model) else None
    if whole is None:
        return None
    carries = min(carried(problem, whole) / model.scale, found.bound)
    return whole, judged(replace(found, objective=carries), found.bound, problem.give_up)


def _mended_cost(
    problem: Problem, known: dict[Key, int], model: Model, found: Outcome, counts: dict[Key, int]
) -> tuple[dict[Key, int], Outcome] | None:
    """What carries the rate that a large model is to carry, without what is spare, and what it costs.

    Made of what runs already, if that is as good as is asked for or as any: then the least has to be started. Or of
    what is `known` to carry the rate: there is that where the solution does not fit onto the hosts.
    """
    best = None
    starts: list[Callable[[], dict[Key, int] | None]] = [partial(mend, model, found.values, counts), known.copy]
    if problem.running:
        starts.insert(0, partial(resumed, model, found.values))
    for start in starts:
        whole = start() if is_large(model) else None
        if not whole:
            continue
        whole = trim(model, found.values, whole)
        if carried(problem, whole) >= model.scale * (1 - SLACK):
            costs = _first_objective(problem, whole)
            outcome = judged(replace(found, objective=costs), min(found.bound, costs), problem.give_up)
            if outcome.status == "optimal":
                return whole, outcome
            if best is None or outcome.gap < best[1].gap:
                best = whole, outcome
    return best


def _first_objective(problem: Problem, counts: dict[Key, int]) -> float:
    """What the first objective of `_simplest` comes to."""
    prices = [host.price_per_hour for host in problem.hosts]
    if highest := max(prices):
        return sum(prices[h] for h in {h for _, _, h in counts}) / highest
    options = [(problem.needs[e].options[c], count) for (e, c, _), count in counts.items()]
    return sum(worth(option.configuration) / 1000.0 * count for option, count in options)


def _first_gap(problem: Problem, counts: dict[Key, int], simplest: Answer) -> float:
    """The relative distance of replicas to the bound of the first objective, of which no better solution was found."""
    found = _first_objective(problem, counts)
    return min(1.0, max(0.0, (found - simplest.relaxed[0].bound) / found)) if found > 0 else 0.0


def carried(problem: Problem, counts: dict[Key, int]) -> float:
    """Multiples of the declared loads that these replicas carry while promises are kept."""
    return rate(problem, options_of(problem, counts))


def options_of(problem: Problem, counts: dict[Key, int]) -> dict[str, list[Option]]:
    """The option of each replica, by engine."""
    used: dict[str, list[Option]] = {need.engine: [] for need in problem.needs}
    for (e, c, _), replicas in sorted(counts.items()):
        need = problem.needs[e]
        used[need.engine] += [need.options[c]] * replicas
    return used
