"""The rows of the integer program about time: parts of calls, the mean over them, chains of calls, promises.

Where the rate is sought, times are in multiples of it: that of a call at the highest rate that is thought of is as it
is. Then all of what is promised is linear in what replicas carry, and in the rate.
"""

from collections.abc import Collection, Mapping, Sequence

from harmonia_compiler.plan.problem import Step
from harmonia_compiler.plan.promised import Figure, bound_s, promises_of, seconds
from harmonia_compiler.plan.variables import Model
from harmonia_compiler.plan.weights import Weights, weights
from harmonia_compiler.profile.queueing import LEVELS

#: A promise is held to no more than this many times what the calls of a path take one after the other where each is
#: slowest: more bounds nothing, and as a coefficient would drown what the solver is to tell apart (`solve.TOLERANCE`).
LOOSEST = 2.0

#: An expression over columns, and a constant beside it.
_Sum = tuple[Mapping[int, float], float]

#: The columns of the parts of an engine's calls, by choice and level.
_Parts = Sequence[Sequence[int]]


def share(model: Model, figures: Collection[Figure], carrying: Collection[int]) -> None:
    """The calls of an engine are shared by its replicas, and take so long in the mean and on the slowest of them.

    For each figure as is best for it: figures whose times are in the same proportions have their parts together.
    Engines that are not among the `carrying` ones have calls, but so few that no replica is busy.
    """
    replicas: dict[tuple[int, int], list[int]] = {}
    for (e, c, _), column in model.n.items():
        replicas.setdefault((e, c), []).append(column)
    for e, need in enumerate(model.problem.needs):
        parts: dict[tuple[float, ...], _Parts] = {}
        for figure in (figure for figure in figures if figure.component in need.components):
            times = [seconds(figure, choice.option) for choice in model.choices[e]]
            proportions = _proportions(times)
            if proportions not in parts:
                parts[proportions] = _parts(model, e, replicas, carrying=e in carrying)
            _mean(model, figure, times, parts[proportions])
            _deviating(model, e, figure, [spent[0] for spent in times])


def _proportions(times: Sequence[Sequence[float]]) -> tuple[float, ...]:
    whole = sum(map(sum, times)) or 1.0
    return tuple(float(f"{one / whole:.10g}") for spent in times for one in spent)


def _parts(model: Model, e: int, replicas: Mapping[tuple[int, int], Sequence[int]], *, carrying: bool) -> _Parts:
    """What each choice carries at each level: in all the rate, of choices that are in use, as far as they are there."""
    parts = [[model.program.column(high=1.0) for _ in LEVELS] for _ in model.choices[e]]
    every = dict.fromkeys((column for columns in parts for column in columns), 1.0)
    if model.rate is None:
        model.program.row(every, 1.0, 1.0)
    else:
        model.program.row({**every, model.rate: -1.0}, 0.0, 0.0)
    for c, columns in enumerate(parts):
        model.program.row({**dict.fromkeys(columns, 1.0), model.chosen[e, c]: -1.0}, high=0.0)
        own = replicas.get((e, c), ())
        if carrying:
            busy = {column: 1.0 / level for column, level in zip(columns, LEVELS, strict=True)}
            model.busy.setdefault((e, c), []).append(busy)
            model.program.row({**busy, **dict.fromkeys(own, -model.carries(e, c))}, high=0.0)
        else:
            # However few calls there are, one that is not there takes none.
            model.program.row({model.chosen[e, c]: 1.0, **dict.fromkeys(own, -1.0)}, high=0.0)
    return parts


def _mean(model: Model, figure: Figure, times: Sequence[Sequence[float]], parts: _Parts) -> None:
    mean = model.mean[figure] = model.program.column()
    spent = {
        column: -one
        for columns, own in zip(parts, times, strict=True)
        for column, one in zip(columns, own, strict=True)
    }
    model.program.row({mean: 1.0, **spent}, 0.0)


def _deviating(model: Model, e: int, figure: Figure, idle: Sequence[float]) -> None:
    """What a figure deviates by a part of: no less than its mean, and than it is on any choice in use that is idle."""
    column = model.deviating[figure] = model.program.column()
    model.program.row({column: 1.0, model.mean[figure]: -1.0}, 0.0)
    least = min(idle)
    for c, one in enumerate(idle):
        if one > least and model.rate is None:
            model.program.row({column: 1.0, model.chosen[e, c]: least - one}, least)
        elif one > least and model.rate is not None:
            # So many times the rate where the choice is in use, and less than the least time where it is not.
            model.program.row({column: 1.0, model.rate: -one, model.chosen[e, c]: least - one}, least - one)


def time(model: Model, *, late: bool) -> None:
    """A step ends after all that it waits for; on no path does the last, or a first piece, come later than promised.

    Lateness is in seconds and no factor: a promise of next to nothing, as a factor's coefficient, would be taken
    for none.
    """
    slowest = _slowest(model)
    for pipeline, promise in promises_of(model.problem):
        beyond: dict[int, float] = {}
        if late:
            model.late.append(model.program.column())
            beyond = {model.late[-1]: -1.0}
        for path in weights(pipeline, promise.metric, promise.quantile):
            loosest = LOOSEST * _longest(model, pipeline.steps, path, slowest)
            bound = _always(model, min(bound_s(promise), loosest))
            for ended in _lasting(model, pipeline.steps, path):
                terms, constant = _plus(ended, bound, -1.0)
                model.program.row({**terms, **beyond}, high=-constant)


def _slowest(model: Model) -> dict[int, float]:
    """What the columns of the times come to at most: each figure on the busiest and slowest of the choices."""
    found = {} if model.rate is None else {model.rate: 1.0}
    for figure, column in model.mean.items():
        e = next(e for e, need in enumerate(model.problem.needs) if figure.component in need.components)
        most = max(max(seconds(figure, choice.option)) for choice in model.choices[e])
        found |= {column: most, model.deviating[figure]: most}
    return found


def _longest(model: Model, steps: Sequence[Step], path: Weights, slowest: Mapping[int, float]) -> float:
    """What no chain of calls of a path exceeds, in seconds: all of them one after the other."""
    whole = [(_took(model, path, steps, s, "latency"), step.rounds) for s, step in enumerate(steps)]
    first = [(_took(model, path, steps, s, "ttft"), 1.0) for s in path.first]
    return sum(
        rounds * (constant + sum(amount * slowest[column] for column, amount in terms.items()))
        for (terms, constant), rounds in whole + first
    )


def _lasting(model: Model, steps: Sequence[Step], path: Weights) -> list[_Sum]:
    """The chains that a path lasts for: to the ends of its last steps, or to their first pieces."""
    begun: list[_Sum] = []
    ended: list[_Sum] = []
    for s, step in enumerate(steps):
        begun.append(_latest(model, [ended[before] for before in step.after]))
        ended.append(_plus(begun[s], _took(model, path, steps, s, "latency"), step.rounds))
    if path.first:
        return [_plus(begun[s], _took(model, path, steps, s, "ttft")) for s in path.first]
    waited_for = {before for step in steps for before in step.after}
    return _apart([end for s, end in enumerate(ended) if s not in waited_for])


def _latest(model: Model, ends: Sequence[_Sum]) -> _Sum:
    """When all of several things have ended: a column of its own where there is more than one."""
    apart = _apart(ends)
    if len(apart) < 2:
        return apart[0] if apart else ({}, 0.0)
    column = model.program.column()
    for terms, constant in apart:
        model.program.row({column: 1.0, **{at: -amount for at, amount in terms.items()}}, constant)
    return {column: 1.0}, 0.0


def _apart(ends: Sequence[_Sum]) -> list[_Sum]:
    """Those that are not alike, and not at once."""
    return [end for at, end in enumerate(ends) if end not in ends[:at] and end != ({}, 0.0)]


def _plus(one: _Sum, other: _Sum, times: float = 1.0) -> _Sum:
    terms = dict(one[0])
    for column, amount in other[0].items():
        terms[column] = terms.get(column, 0.0) + times * amount
    return terms, one[1] + times * other[1]


def _always(model: Model, s: float) -> _Sum:
    """A time that depends on nothing."""
    return ({}, s) if model.rate is None else ({model.rate: s}, 0.0)


def _took(model: Model, path: Weights, steps: Sequence[Step], s: int, metric: str) -> _Sum:
    """What a call of a step counts: its mean, and beyond that the more the slower replicas may be that it meets."""
    step, weight = steps[s], path.whole[s] if metric == "latency" else path.first[s]
    figure = Figure(step.component, metric, step.count)
    if weight <= 0.0:
        return {}, 0.0
    fixed = model.problem.fixed_ms(step, path.given_up.get(s))
    if fixed is not None or figure not in model.mean:
        return _always(model, weight * (fixed or 0.0) / 1000.0)
    if weight <= 1.0:
        return {model.mean[figure]: weight}, 0.0
    return {model.mean[figure]: 1.0, model.deviating[figure]: weight - 1.0}, 0.0
