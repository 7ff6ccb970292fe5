"""The rows of the integer program about time: levels, the slowest choice in use, chains of calls, promises."""

from collections.abc import Collection, Mapping, Sequence

from harmonia_compiler.plan.problem import Step
from harmonia_compiler.plan.promised import Figure, bound_s, promises_of, seconds
from harmonia_compiler.plan.variables import Model
from harmonia_compiler.plan.weights import Weights, weights

#: An expression over columns, and a constant beside it.
_Sum = tuple[Mapping[int, float], float]


def choose(model: Model, figures: Collection[Figure]) -> None:
    """An engine runs at one level, and its calls are as slow as on the slowest choice in use at that level."""
    for e, need in enumerate(model.problem.needs):
        asked = [figure for figure in figures if figure.component in need.components]
        if not asked:
            continue
        levels = sorted({level for choice in model.choices[e] for level in choice.levels})
        for level in levels:
            model.level[e, level] = model.program.column(high=1.0, whole=True)
        model.program.row({model.level[e, level]: 1.0 for level in levels}, 1.0, 1.0)
        runs = [_runs(model, e, c, model.chosen[e, c]) for c in range(len(model.choices[e]))]
        for figure in asked:
            _slow(model, e, figure, runs)


def _runs(model: Model, e: int, c: int, chosen: int) -> dict[int, int]:
    """Whether a choice is in use at a level, by level: where it is in use, at the one that its engine runs at."""
    levels = model.choices[e][c].levels
    runs = {level: chosen if len(levels) == 1 else model.program.column(high=1.0) for level in levels}
    if len(levels) > 1:
        model.program.row({**dict.fromkeys(runs.values(), 1.0), chosen: -1.0}, 0.0, 0.0)
    for level, column in runs.items():
        model.program.row({column: 1.0, model.level[e, level]: -1.0}, high=0.0)
    return runs


def _slow(model: Model, e: int, figure: Figure, runs: list[dict[int, int]]) -> None:
    """A figure is no less than on any choice in use, and than on the fastest at the engine's level."""
    times = [{level: seconds(figure, choice.option, level) for level in choice.levels} for choice in model.choices[e]]
    fastest: dict[int, float] = {}
    for spent in times:
        for level, one in spent.items():
            fastest[level] = min(one, fastest.get(level, one))
    slow = model.slow[figure] = model.program.column(min(fastest.values()))
    model.program.row({slow: 1.0, **{model.level[e, level]: -one for level, one in fastest.items()}}, 0.0)
    for spent, columns in zip(times, runs, strict=True):
        if any(one > fastest[level] for level, one in spent.items()):
            model.program.row({slow: 1.0, **{columns[level]: -one for level, one in spent.items()}}, 0.0)


def time(model: Model, *, late: bool) -> None:
    """A step ends after all that it waits for; on no path does the last, or a first piece, come later than promised.

    Lateness is in seconds and no factor: a promise of next to nothing, as a factor's coefficient, would be taken
    for none.
    """
    for pipeline, promise in promises_of(model.problem):
        beyond: dict[int, float] = {}
        if late:
            model.late.append(model.program.column())
            beyond = {model.late[-1]: -1.0}
        for path in weights(pipeline, promise.metric, promise.quantile):
            for terms, constant in _lasting(model, pipeline.steps, path):
                model.program.row({**terms, **beyond}, high=bound_s(promise) - constant)


def _lasting(model: Model, steps: Sequence[Step], path: Weights) -> list[_Sum]:
    """The chains that a path lasts for: to the ends of its last steps, or to their first pieces."""
    begun: list[_Sum] = []
    ended: list[_Sum] = []
    for s, step in enumerate(steps):
        begun.append(_latest(model, [ended[before] for before in step.after]))
        ended.append(_plus(begun[s], _took(model, step, "latency", path.whole[s] * step.rounds)))
    if path.first:
        return [_plus(begun[s], _took(model, steps[s], "ttft", weight)) for s, weight in path.first.items()]
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


def _plus(one: _Sum, other: _Sum) -> _Sum:
    terms = dict(one[0])
    for column, amount in other[0].items():
        terms[column] = terms.get(column, 0.0) + amount
    return terms, one[1] + other[1]


def _took(model: Model, step: Step, metric: str, times: float) -> _Sum:
    """How long a step takes, so many times: what depends on the plan, and what does not."""
    figure = Figure(step.component, metric, step.count)
    if times <= 0.0:
        return {}, 0.0
    if figure in model.slow:
        return {model.slow[figure]: times}, 0.0
    return {}, times * model.problem.external_ms.get(step.component, 0.0) / 1000.0
