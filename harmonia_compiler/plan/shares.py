"""What a large model with promises is decided by: a relaxation in which choices carry parts of an engine's calls.

With replicas as fractions the model itself says little of promises: a choice may be in use to a thousandth, and its
calls then take no time. Here calls take no less than the mean over those who carry them:

    Variables    part[e,c,l,g]  of the calls of an engine that replicas in one choice on a pool carry at a level
                 pace           1 / rate, where the rate is sought; what hosts give is then reckoned for one unit of it
    carry        sum over c, l, g of part[e,c,l,g] = 1                                      every engine
    fit, cut     as in the model, with n[e,c,g] = sum over l of part[e,c,l,g] / (l full[e,c]), and with what there is
                 times pace
    slow         slow[i,k] >= sum over c, l, g of waves[c,k] call[c,l,i] part[e,c,l,g];     time as in the model
    decide       sum over g of part[e,c,l,g] <= used[e,c,l];  used[e,c,l] <= level[e,l];  sum over l of level[e,l] = 1;
                 slow[i,k] >= waves[c,k] call[c,l,i] used[e,c,l];  used[e,c,l] <= sum over m with c of mixture[e,m]
    Objectives   pace, or that of the model

Without `decide` it is a linear program whose optimum no plan betters. With it, and with those choices alone that cost
little more than the optimum's, it is a small integer program of what is in use, with replicas as fractions.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harmonia_compiler.plan.latency import time
from harmonia_compiler.plan.promised import Figure, bound_s, limits, promises_of, seconds
from harmonia_compiler.plan.solve import Outcome, Terms
from harmonia_compiler.plan.variables import Model
from harmonia_compiler.profile.queueing import LEVELS

#: How many times what may be given up a part of the calls may cost, to be among those that are decided on.
NEAR = 0.1

#: Nodes in which is decided, and the part of the gap that is asked for which may be left there.
MOST_NODES = 20
LEFT = 0.5

#: What counts as no part of the calls, and as no time beside what is promised.
NOTHING = 1e-6
INSTANT = 1e-3

#: An engine, one of its choices, and a level, by position; and the same with a pool.
Use = tuple[int, int, int]
Part = tuple[int, int, int, int]

Bounds = dict[int, tuple[float, float]]

_NO, _YES = (0.0, 0.0), (1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Decided:
    """The level and the mixture of each engine, and the choices that it may be in, by position.

    Of an engine that a promise depends on those are all choices that are no slower than the slowest in use.
    """

    levels: Mapping[int, int]
    mixtures: Mapping[int, int]
    choices: Collection[tuple[int, int]]

    def held(self, model: Model) -> Bounds:
        """The columns of a model that say so, held to it."""
        timed = {e for e, _ in model.level}
        held = {column: _YES if self.levels[e] == level else _NO for (e, level), column in model.level.items()}
        held |= {column: _YES if self.mixtures[e] == m else _NO for (e, m), column in model.mixture.items()}
        held |= {column: _YES if at in self.choices else _NO for at, column in model.chosen.items() if at[0] in timed}
        return held


@dataclass(slots=True)
class _Shares:
    """The relaxation: a model of its own, for the rows about time, and its columns of parts and of what is used."""

    model: Model
    objective: dict[int, float] = field(default_factory=dict)
    parts: dict[Part, int] = field(default_factory=dict)
    used: dict[Use, int] = field(default_factory=dict)


def relaxed(model: Model, objective: Terms) -> tuple[Outcome, list[Part]]:
    """How the linear program ends, in terms of the model's objective, and the parts to decide on: few, and more."""
    every = [(e, c, level, g) for e, c, g in model.n for level in model.choices[e][c].levels]
    shares = _shares(model, objective, every)
    outcome = shares.model.program.solve(shares.objective)
    if not outcome.found:
        return outcome, []
    bound = outcome.objective if model.rate is None else 1.0 / outcome.objective
    return Outcome("optimal", objective=bound, bound=bound), _near(shares, outcome)


def _near(shares: _Shares, outcome: Outcome) -> list[Part]:
    """Of each engine what carries something, and the fastest; of what would at little loss what is faster, or all."""
    model = shares.model
    carries: dict[Use, float] = {}
    for part, at in shares.parts.items():
        carries[part[:3]] = carries.get(part[:3], 0.0) + outcome.values[at]
    took = {use: _takes(model, use) for use in carries}
    slowest: dict[int, float] = {}
    fastest: dict[int, Use] = {}
    for use, carried in carries.items():
        slowest[use[0]] = max(slowest.get(use[0], 0.0), took[use] if carried > NOTHING else 0.0)
        fastest[use[0]] = min(fastest.get(use[0], use), use, key=lambda use: (took[use], use))
    instant = min(bound_s(promise) for _, promise in promises_of(model.problem)) * INSTANT
    most = NEAR * model.problem.give_up * abs(outcome.objective)
    best: dict[tuple[int, int], Part] = {}
    lost = {part: abs(outcome.reduced[at]) for part, at in shares.parts.items()}
    for part in shares.parts:
        here = (part[0], part[3])
        best[here] = min(best.get(here, part), part, key=lambda part: (lost[part], took[part[:3]], part))

    def is_near(part: Part, at: int) -> bool:
        use = part[:3]
        if outcome.values[at] > NOTHING or use == fastest[part[0]] or part == best[part[0], part[3]]:
            return True
        return lost[part] <= most and (carries[use] > NOTHING or took[use] < slowest[part[0]] - instant)

    return [part for part, at in shares.parts.items() if is_near(part, at)]


def decide(model: Model, objective: Terms, parts: Collection[Part], gap: float) -> Decided | None:
    """The best that some parts come to, to within about a gap of all of them; None where they will not do."""
    shares = _shares(model, objective, parts)
    relaxed = shares.model.program.solve(shares.objective, whole=())
    _decide(shares)
    target = relaxed.objective * (1 + gap * LEFT)
    outcome = shares.model.program.solve(shares.objective, gap=gap * LEFT, nodes=MOST_NODES, target=target)
    return _mostly(model, {use: outcome.values[at] for use, at in shares.used.items()}) if outcome.found else None


def as_in(model: Model, values: Sequence[float]) -> Decided | None:
    """What some values of a model have in use; None where an engine has nothing."""
    runs = {e: level for (e, level), column in model.level.items() if values[column] > 0.5}
    weights: dict[Use, float] = {}
    for (e, c, _), column in model.n.items():
        if values[column] > 0.5:
            use = (e, c, runs.get(e, model.choices[e][c].levels[-1]))
            weights[use] = weights.get(use, 0.0) + values[column] * model.choices[e][c].capacity
    return _mostly(model, weights) if len({e for e, _, _ in weights}) == len(model.choices) else None


def _mostly(model: Model, weights: Mapping[Use, float]) -> Decided:
    """The level and the mixture of each engine whose uses weigh most, and the choices that may be in use then."""
    levels: dict[int, int] = {}
    mixtures: dict[int, int] = {}
    allowed: set[tuple[int, int]] = set()
    for e, choices in enumerate(model.choices):
        own = {use: weight for use, weight in weights.items() if use[0] == e and weight > NOTHING}
        level = levels[e] = _heaviest((use[2], weight) for use, weight in own.items())
        own = {use: weight for use, weight in own.items() if use[2] == level}
        mixture = mixtures[e] = _heaviest((m, weight) for use, weight in own.items() for m in choices[use[1]].mixtures)
        own = {use: weight for use, weight in own.items() if mixture in choices[use[1]].mixtures}
        figures = [figure for figure in model.slow if figure.component in model.problem.needs[e].components]
        slow = [max(_seconds(model, figure, use) for use in own) for figure in figures]
        for c, choice in enumerate(choices):
            is_fast = level in choice.levels and all(
                _seconds(model, figure, (e, c, level)) <= most for figure, most in zip(figures, slow, strict=True)
            )
            if is_fast and mixture in choice.mixtures:
                allowed.add((e, c))
    return Decided(levels, mixtures, frozenset(allowed))


def _heaviest(weights: Iterable[tuple[int, float]]) -> int:
    """Of several positions the one that weighs most in all; the first of equals."""
    total: dict[int, float] = {}
    for at, weight in weights:
        total[at] = total.get(at, 0.0) + weight
    return min(total, key=lambda at: (-total[at], at))


def _shares(model: Model, objective: Terms, parts: Collection[Part]) -> _Shares:
    """The linear program over some parts."""
    inner = Model(model.problem, model.division, model.choices, model.scale, model.goal_rate)
    shares, program = _Shares(inner), inner.program
    pace = None if model.rate is None else program.column(1.0)
    # What each column of the model comes to here.
    stands: dict[int, dict[int, float]] = {
        column: {program.column(high=model.program.upper[column]): 1.0} for column in model.paid.values()
    }
    carrying: dict[int, dict[int, float]] = {e: {} for e in range(len(model.choices))}
    for e, c, level, g in parts:
        at = shares.parts[e, c, level, g] = program.column(high=1.0)
        carrying[e][at] = 1.0
        each = model.scale / (LEVELS[level] * model.choices[e][c].capacity)
        stands.setdefault(model.n[e, c, g], {})[at] = each
    for terms in carrying.values():
        program.row(terms, 1.0, 1.0)
    for row in model.bounding:
        most = model.program.most[row]
        taken = _in_terms(model.program.terms(row), stands)
        program.row(taken if pace is None else {**taken, pace: -most}, high=most if pace is None else 0.0)
    shares.objective = _in_terms(objective, stands) if pace is None else {pace: 1.0}
    for figure in limits(model.problem):
        times = _times(shares, figure)
        slow = inner.slow[figure] = program.column(min(times.values(), default=0.0))
        program.row({slow: 1.0, **{shares.parts[part]: -spent for part, spent in times.items()}}, 0.0)
    time(inner, late=False)
    return shares


def _decide(shares: _Shares) -> None:
    """Every engine runs at one level and in one mixture, and its calls are as slow as on the slowest choice in use."""
    model, program = shares.model, shares.model.program
    sums: dict[Use, dict[int, float]] = {}
    for (e, c, level, _), at in shares.parts.items():
        sums.setdefault((e, c, level), {})[at] = 1.0
    levels: dict[tuple[int, int], int] = {}
    mixtures: dict[tuple[int, int], int] = {}
    for use, parts in sums.items():
        e, c, level = use
        used = shares.used[use] = program.column(high=1.0, whole=True)
        program.row({**parts, used: -1.0}, high=0.0)
        for m in model.choices[e][c].mixtures:
            if (e, m) not in mixtures:
                mixtures[e, m] = program.column(high=1.0, whole=True)
        if (e, level) not in levels:
            levels[e, level] = program.column(high=1.0, whole=True)
        program.row({used: 1.0, levels[e, level]: -1.0}, high=0.0)
        program.row({used: 1.0, **{mixtures[e, m]: -1.0 for m in model.choices[e][c].mixtures}}, high=0.0)
    for e in range(len(model.choices)):
        for columns in (levels, mixtures):
            program.row({column: 1.0 for at, column in columns.items() if at[0] == e}, 1.0, 1.0)
    for figure, slow in model.slow.items():
        for use, spent in {part[:3]: spent for part, spent in _times(shares, figure).items()}.items():
            program.row({slow: 1.0, shares.used[use]: -spent}, 0.0)


def _times(shares: _Shares, figure: Figure) -> dict[Part, float]:
    """What a figure comes to for each part of the calls of its engine."""
    needs = shares.model.problem.needs
    return {
        part: _seconds(shares.model, figure, part[:3])
        for part in shares.parts
        if figure.component in needs[part[0]].components
    }


def _seconds(model: Model, figure: Figure, use: Use) -> float:
    e, c, level = use
    return seconds(figure, model.choices[e][c].option, level)


def _takes(model: Model, use: Use) -> float:
    """The longest of the figures that promises depend on."""
    components = model.problem.needs[use[0]].components
    return max((_seconds(model, figure, use) for figure in model.slow if figure.component in components), default=0.0)


def _in_terms(terms: Terms, stands: Mapping[int, Mapping[int, float]]) -> dict[int, float]:
    """An expression over the model's columns as one over what they come to."""
    found: dict[int, float] = {}
    for column, amount in terms.items():
        for at, each in stands.get(column, {}).items():
            found[at] = found.get(at, 0.0) + amount * each
    return found
