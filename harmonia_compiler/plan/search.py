"""How a model is searched for the best of an objective: a large one first near the optimum of its relaxation.

With the replicas as fractions a model is solved in milliseconds, and what it comes to is a bound. Of many thousand
possible counts only a hundred are above zero there, so that the whole numbers near them are a small program, whose best
is often within the gap that is asked for. What is not is said with its gap: a search of the whole would take minutes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from harmonia_compiler.plan import in_use
from harmonia_compiler.plan.solve import INFINITY, Outcome, Terms
from harmonia_compiler.plan.variables import Model

#: Programs with fewer counts are searched as a whole at once.
LARGE = 600

#: Neighbourhoods of the relaxation: how many more columns than are in use there they take in (as multiples), how far
#: each may be from its value, and in how many nodes they are searched.
NEIGHBOURHOODS = ((3, 1, 20), (10, 2, 40))

#: Another one for where nothing is found in those: too many replicas as fractions, too little room for them as wholes.
WIDER = (30, 4, 40)

#: What counts as no replica in a relaxation.
NOTHING = 1e-7

#: Nodes in which mixtures are looked for, with replicas as fractions.
MOST_DECISIONS = 100

Bounds = dict[int, tuple[float, float]]


def best(
    model: Model,
    objective: Terms,
    *,
    maximise: bool = False,
    gap: float = 0.0,
    start: Sequence[float] = (),
    hint: Sequence[float] = (),
    earlier: list[in_use.Decided] | None = None,
) -> Outcome:
    """The best values of a model's columns, to within a relative gap, or as near as the search of a large one comes.

    `start` are values that satisfy its rows, and `hint` counts of replicas and of paid hosts that could be of such.
    `earlier` is what searches of the same problem decided, to which this one adds.
    """
    program = model.program
    if not is_large(model) or not objective:
        return program.solve(objective, maximise=maximise, gap=gap, start=start)
    relaxed = program.solve(objective, maximise=maximise, whole=())
    if not relaxed.found:
        return relaxed
    bound = relaxed.objective
    if model.mean:
        guides = _by_use(model, objective, relaxed, gap, hint, earlier, maximise=maximise)
    else:
        guides = iter([_quick_guide(model, objective, hint or relaxed.values, bound, gap, maximise=maximise)])
    target = bound * (1 - gap if maximise == (bound > 0) else 1 + gap)
    known = Outcome("unknown", INFINITY, bound=bound)
    for guide, decided in guides:
        for times, width, nodes in (*NEIGHBOURHOODS, WIDER) if guide.found else ():
            if known.found and (times, width, nodes) == WIDER:
                break
            within = decided | _near(model, guide, hint, times, width)
            found = program.solve(objective, maximise=maximise, gap=gap / 8, nodes=nodes, within=within, target=target)
            if found.found and (not known.found or (found.objective > known.objective) == maximise):
                known = judged(found, bound, gap)
            if known.found and known.gap <= gap:
                return known
    return known


def judged(outcome: Outcome, bound: float, gap: float) -> Outcome:
    """What was found, by its distance to a bound of the whole program."""
    distance = abs(outcome.objective - bound) / max(abs(outcome.objective), 1e-12)
    return replace(outcome, status="optimal" if distance <= gap else "feasible", gap=distance, bound=bound)


def is_large(model: Model) -> bool:
    """Whether nobody waits for the best of every objective."""
    return len(model.n) >= LARGE and model.problem.give_up > 0.0


def _quick_guide(
    model: Model, objective: Terms, values: Sequence[float], bound: float, gap: float, *, maximise: bool
) -> tuple[Outcome, Bounds]:
    """The relaxation with mixtures held to what they mostly are in some values; and those.

    Where that is more than a gap from the bound, mixtures are searched for, too.
    """
    guide, decided = _held(model, objective, values, maximise=maximise)
    far = not guide.found or abs(guide.objective - bound) > gap * max(abs(bound), 1e-12)
    if not far:
        return guide, decided
    mixtures = set(model.mixture.values())
    choice = model.program.solve(objective, maximise=maximise, whole=mixtures, gap=gap / 2, nodes=MOST_DECISIONS)
    if not choice.found:
        return guide, decided
    other = _held(model, objective, choice.values, maximise=maximise)
    better = other[0].found and (not guide.found or (other[0].objective > guide.objective) == maximise)
    return other if better else (guide, decided)


def _by_use(
    model: Model,
    objective: Terms,
    relaxed: Outcome,
    gap: float,
    hint: Sequence[float],
    earlier: list[in_use.Decided] | None,
    *,
    maximise: bool,
) -> Iterator[tuple[Outcome, Bounds]]:
    """The relaxation with mixtures and choices held to what is decided, and those.

    As in an `earlier` search where that will do; else anew, which is added to those, and then as in a hint.
    """
    bound = relaxed.objective
    known = [] if earlier is None else earlier

    def guide(decided: in_use.Decided) -> tuple[Outcome, Bounds]:
        held = decided.held(model)
        return model.program.solve(objective, maximise=maximise, whole=(), within=held), held

    for decided in reversed(known):
        found, held = guide(decided)
        if found.found and abs(found.objective - bound) <= gap * in_use.LEFT * max(abs(bound), 1e-12):
            yield found, held
            return
    if made := in_use.decide(model, objective, relaxed, gap, maximise=maximise):
        known.append(made)
        yield guide(made)
    if hint and (as_hinted := in_use.as_in(model, hint)):
        yield guide(as_hinted)


def _held(model: Model, objective: Terms, values: Sequence[float], *, maximise: bool) -> tuple[Outcome, Bounds]:
    """The relaxation with mixtures held to what they mostly are in some values; and those."""
    decided = _decided(model, values)
    return model.program.solve(objective, maximise=maximise, whole=(), within=decided), decided


def _decided(model: Model, values: Sequence[float]) -> Bounds:
    """For each engine its mixture that carries most."""
    carries: dict[tuple[int, int], float] = dict.fromkeys(model.mixture, 0.0)
    for (e, c, _), column in model.n.items():
        for m in model.choices[e][c].mixtures:
            if (e, m) in carries:
                carries[e, m] += min(model.carries(e, c), 1.0) * values[column]
    heaviest: dict[int, tuple[int, int]] = {}
    for at, weight in carries.items():
        if at[0] not in heaviest or weight > carries[heaviest[at[0]]]:
            heaviest[at[0]] = at
    return {column: (1.0, 1.0) if heaviest[at[0]] == at else (0.0, 0.0) for at, column in model.mixture.items()}


def _near(model: Model, guide: Outcome, hint: Sequence[float], times: int, width: int) -> Bounds:
    """Bounds of the whole numbers near a guide, and near a hint: most others are held to zero."""
    program = model.program
    paid = set(model.paid.values())
    counted = [*model.n.values(), *model.paid.values()]
    used = [column for column in counted if guide.values[column] > NOTHING or (hint and hint[column] > 0.5)]
    others = sorted(set(counted) - set(used), key=lambda column: (abs(guide.reduced[column]), column))
    within: Bounds = dict.fromkeys(others[times * len(used) :], (0.0, 0.0))
    for column in (*used, *others[: times * len(used)]):
        value = guide.values[column]
        hinted = hint[column] if hint else value
        if hint and column in paid and abs(value - hinted) < NOTHING:
            within[column] = (hinted, hinted)
            continue
        low, high = math.floor(min(value, hinted)) - width, math.ceil(max(value, hinted)) + width
        within[column] = (max(program.lower[column], low), min(program.upper[column], high))
    return within
