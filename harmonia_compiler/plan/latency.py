"""The rows of the integer program about time: levels, the slowest choice in use, chains of calls, promises."""

from collections.abc import Collection

from harmonia_compiler.plan.problem import Step
from harmonia_compiler.plan.promised import Figure, bound_s, promises_of, seconds, to_first_piece
from harmonia_compiler.plan.queueing import is_counted
from harmonia_compiler.plan.variables import Model


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
    """A step ends after all that it waits for; the last one, or the first piece, comes within what was promised.

    Lateness is in seconds and no factor: a promise of next to nothing, as a factor's coefficient, would be taken
    for none.
    """
    program = model.program
    for pipeline, promise in promises_of(model.problem):
        ended = [program.column() for _ in pipeline.steps]
        beyond: dict[int, float] = {}
        if late:
            model.late.append(program.column())
            beyond = {model.late[-1]: -1.0}
        for s, step in enumerate(pipeline.steps):
            counts = is_counted(step, promise.quantile)
            for begun in [{ended[before]: 1.0} for before in step.after] or [{}]:
                took, constant = _took(model, step, "latency") if counts else ({}, 0.0)
                waits = {column: -step.rounds * part for column, part in took.items()}
                program.row({ended[s]: 1.0, **dict.fromkeys(begun, -1.0), **waits}, step.rounds * constant)
                if to_first_piece(pipeline, promise) and s in pipeline.streamed and counts:
                    first, constant = _took(model, step, "ttft")
                    program.row({**begun, **first, **beyond}, high=bound_s(promise) - constant)
            if not to_first_piece(pipeline, promise):
                program.row({ended[s]: 1.0, **beyond}, high=bound_s(promise))


def _took(model: Model, step: Step, metric: str) -> tuple[dict[int, float], float]:
    """How long a step takes: what depends on the plan, and what does not; nothing where no promise depends on it."""
    figure = Figure(step.component, metric, step.count)
    if figure in model.slow:
        return {model.slow[figure]: 1.0}, 0.0
    return {}, model.problem.external_ms.get(step.component, 0.0) / 1000.0
