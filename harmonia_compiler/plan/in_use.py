"""What a large model with promises is decided by: which choices are in use, with replicas as fractions.

A promise depends on which choices are in use at all, whatever they carry (`deviating` of `plan/model.py`). Held to yes
or no among those choices alone that cost little more than the optimum's, and with replicas as fractions, the model is a
small integer program. What it says is in use holds for the search for whole replicas.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harmonia_compiler.plan.promised import Figure, bound_s, promises_of, seconds
from harmonia_compiler.plan.solve import Outcome, Terms
from harmonia_compiler.plan.variables import Model

#: How many times what may be given up a part of the calls may cost, to be among those that are decided on.
NEAR = 0.1

#: Nodes in which is decided, and the part of the gap that is asked for which may be left there.
MOST_NODES = 20
LEFT = 0.5

#: What counts as no part of the calls, and as no time beside what is promised.
NOTHING = 1e-6
INSTANT = 1e-3

#: An engine and one of its choices, by position.
Use = tuple[int, int]

Bounds = dict[int, tuple[float, float]]

_NO, _YES = (0.0, 0.0), (1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Decided:
    """The mixture of each engine, and the choices that it may be in, by position.

    Of an engine that a promise depends on those are all choices that are no slower than the slowest in use.
    """

    mixtures: Mapping[int, int]
    choices: Collection[Use]

    def held(self, model: Model) -> Bounds:
        """The columns of a model that say so, held to it."""
        timed = _timed(model)
        held = {column: _YES if self.mixtures[e] == m else _NO for (e, m), column in model.mixture.items()}
        held |= {column: _YES if at in self.choices else _NO for at, column in model.chosen.items() if at[0] in timed}
        return held


def decide(model: Model, objective: Terms, relaxed: Outcome, gap: float, *, maximise: bool) -> Decided | None:
    """The best that some choices come to, to within about a gap of a relaxation; None where they will not do."""
    near = _near(model, relaxed)
    timed = _timed(model)
    within = {column: _NO for use, column in model.chosen.items() if use[0] in timed and use not in near}
    whole = {*model.chosen.values(), *model.mixture.values()}
    target = relaxed.objective * (1 - gap * LEFT if maximise == (relaxed.objective > 0) else 1 + gap * LEFT)
    outcome = model.program.solve(
        objective, maximise=maximise, gap=gap * LEFT, nodes=MOST_NODES, target=target, within=within, whole=whole
    )
    return _mostly(model, _carried(model, outcome.values)) if outcome.found else None


def as_in(model: Model, values: Sequence[float]) -> Decided | None:
    """What some counts of replicas have in use; None where an engine has nothing."""
    weights = {use: weight for use, weight in _carried(model, values).items() if weight > NOTHING}
    return _mostly(model, weights) if len({e for e, _ in weights}) == len(model.choices) else None


def _timed(model: Model) -> set[int]:
    """The engines that a promise depends on."""
    components = {figure.component for figure in model.mean}
    return {e for e, need in enumerate(model.problem.needs) if not components.isdisjoint(need.components)}


def _carried(model: Model, values: Sequence[float]) -> dict[Use, float]:
    """How much of the rate the replicas of each choice carry when never idle."""
    found: dict[Use, float] = {}
    for (e, c, _), column in model.n.items():
        found[e, c] = found.get((e, c), 0.0) + values[column] * model.carries(e, c)
    return found


def _near(model: Model, relaxed: Outcome) -> set[Use]:
    """Of each engine what is in use, and the fastest; of what would be at little loss what is faster, or all."""
    carried = _carried(model, relaxed.values)
    took = {use: _takes(model, use) for use in carried}
    slowest: dict[int, float] = {}
    fastest: dict[int, Use] = {}
    for use, carries in carried.items():
        slowest[use[0]] = max(slowest.get(use[0], 0.0), took[use] if carries > NOTHING else 0.0)
        fastest[use[0]] = min(fastest.get(use[0], use), use, key=lambda use: (took[use], use))
    lost: dict[Use, float] = {}
    best: dict[tuple[int, int], Use] = {}
    for (e, c, g), column in model.n.items():
        loss = abs(relaxed.reduced[column]) / model.carries(e, c) + _lost(model, (e, c), relaxed)
        lost[e, c] = min(lost.get((e, c), loss), loss)
        best[e, g] = min(best.get((e, g), (e, c)), (e, c), key=lambda use: (lost[use], took[use], use))
    instant = min(bound_s(promise) for _, promise in promises_of(model.problem)) * INSTANT
    most = NEAR * model.problem.give_up * abs(relaxed.objective)

    def is_near(use: Use) -> bool:
        if carried[use] > NOTHING or use == fastest[use[0]] or use in best.values():
            return True
        return lost[use] <= most and took[use] < slowest[use[0]] - instant

    return {use for use in carried if is_near(use)}


def _lost(model: Model, use: Use, relaxed: Outcome) -> float:
    """What a part of the calls loses in the relaxation where a choice carries it."""
    losses = [min(abs(relaxed.reduced[column]) for column in parts) for parts in model.busy.get(use, ())]
    return sum(losses)


def _mostly(model: Model, weights: Mapping[Use, float]) -> Decided:
    """The mixture of each engine whose uses weigh most, and the choices that may be in use then."""
    mixtures: dict[int, int] = {}
    allowed: set[Use] = set()
    for e, choices in enumerate(model.choices):
        own = {use: weight for use, weight in weights.items() if use[0] == e and weight > NOTHING}
        mixture = mixtures[e] = _heaviest((m, weight) for use, weight in own.items() for m in choices[use[1]].mixtures)
        own = {use: weight for use, weight in own.items() if mixture in choices[use[1]].mixtures}
        figures = [figure for figure in model.mean if figure.component in model.problem.needs[e].components]
        slow = [max(_idle(model, figure, use) for use in own) for figure in figures]
        for c, choice in enumerate(choices):
            is_fast = all(_idle(model, figure, (e, c)) <= most for figure, most in zip(figures, slow, strict=True))
            if is_fast and mixture in choice.mixtures:
                allowed.add((e, c))
    return Decided(mixtures, frozenset(allowed))


def _heaviest(weights: Iterable[tuple[int, float]]) -> int:
    """Of several positions the one that weighs most in all; the first of equals."""
    total: dict[int, float] = {}
    for at, weight in weights:
        total[at] = total.get(at, 0.0) + weight
    return min(total, key=lambda at: (-total[at], at))


def _idle(model: Model, figure: Figure, use: Use) -> float:
    e, c = use
    return seconds(figure, model.choices[e][c].option)[0]


def _takes(model: Model, use: Use) -> float:
    """The longest of the figures that promises depend on, on a replica that is idle."""
    components = model.problem.needs[use[0]].components
    return max((_idle(model, figure, use) for figure in model.mean if figure.component in components), default=0.0)
