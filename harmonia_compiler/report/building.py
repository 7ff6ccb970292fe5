"""Makes the report of a run from what was observed of its requests."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import TypeVar

from harmonia_compiler.contract.duration import shown_ms
from harmonia_compiler.contract.objective import Objective
from harmonia_compiler.report.document import CURVE_PARTS, Group, Kind, Report, Stage, Tick
from harmonia_compiler.report.measures import Window, distribution, figures, percentile
from harmonia_compiler.report.observation import Observation, Outcome

#: How many points a curve over time has at most, and how far apart they may be, in milliseconds.
_MOST_TICKS = 120
_STEPS_MS = (100.0, 200.0, 500.0, *(1000.0 * step for step in (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)))
_DAY_MS = 86_400_000.0
_Item = TypeVar("_Item")


def measured(
    kind: Kind,
    of: str,
    observed: Sequence[Observation],
    window: Window,
    objectives: Mapping[str, Sequence[Objective]],
    settings: Mapping[str, str],
) -> Report:
    """The report of a run: a group for each pipeline, and one for each of its classes.

    One that is the only class of a pipeline's requests has a group where it has a promise of its own.

    `objectives` are by pipeline, or by pipeline and class as in `desk/urgent`.
    """
    groups: list[Group] = []
    for pipeline, of_pipeline in _by(observed, lambda one: one.pipeline):
        groups.append(_group(pipeline, None, of_pipeline, window, objectives))
        by_class = _by(of_pipeline, lambda one: one.request_class or "")
        groups += [
            _group(pipeline, name, some, window, objectives)
            for name, some in by_class
            if len(by_class) > 1 or f"{pipeline}/{name}" in objectives
        ]
    tick_ms = _tick_ms(window)
    return Report(
        kind=kind,
        of=of,
        settings=dict(settings),
        window_ms=(window.from_ms, window.to_ms),
        groups=tuple(groups),
        tick_ms=tick_ms,
        ticks=_ticks(observed, window, tick_ms),
        stages=_stages(observed, window),
        notes=_doubts(groups, Counter(one.pipeline for one in observed if one.arrived_ms < window.from_ms), window),
    )


def _group(
    pipeline: str,
    request_class: str | None,
    observed: Sequence[Observation],
    window: Window,
    objectives: Mapping[str, Sequence[Objective]],
) -> Group:
    name = pipeline if request_class is None else f"{pipeline}/{request_class}"
    answered = sorted(one.latency_ms for one in observed if one.outcome is Outcome.OK and window.holds(one.arrived_ms))
    curve = tuple(percentile(answered, part) for part in CURVE_PARTS) if answered else ()
    return Group(pipeline, request_class, figures(observed, window, objectives.get(name, ())), curve)


def _tick_ms(window: Window) -> float:
    whole = window.to_ms - window.from_ms
    fitting = (step for step in _STEPS_MS if whole / step <= _MOST_TICKS)
    return next(fitting, _DAY_MS)


def _ticks(observed: Sequence[Observation], window: Window, tick_ms: float) -> tuple[Tick, ...]:
    count = max(1, -int(-(window.to_ms - window.from_ms) // tick_ms))
    arrived: list[list[Observation]] = [[] for _ in range(count)]
    ended: list[list[Observation]] = [[] for _ in range(count)]

    def tick(at_ms: float) -> int:
        # A time just below the end may be rounded up to it.
        return min(count - 1, int((at_ms - window.from_ms) / tick_ms))

    for one in observed:
        if window.holds(one.arrived_ms):
            arrived[tick(one.arrived_ms)].append(one)
        if window.holds(one.finished_ms):
            ended[tick(one.finished_ms)].append(one)
    return tuple(
        _tick(window.from_ms + number * tick_ms, came, went)
        for number, (came, went) in enumerate(zip(arrived, ended, strict=True))
    )


def _tick(at_ms: float, came: Sequence[Observation], went: Sequence[Observation]) -> Tick:
    latencies = sorted(one.latency_ms for one in came if one.outcome is Outcome.OK)
    return Tick(
        at_ms,
        arrived=len(came),
        answered=sum(one.outcome is Outcome.OK for one in went),
        good=sum(one.is_good for one in went),
        refused=sum(one.outcome is Outcome.REFUSED for one in went),
        failed=sum(one.outcome in {Outcome.FAILED, Outcome.LATE} for one in went),
        p95_ms=percentile(latencies, 0.95) if latencies else None,
    )


def _stages(observed: Iterable[Observation], window: Window) -> tuple[Stage, ...]:
    counted = [one for one in observed if one.outcome is Outcome.OK and window.holds(one.arrived_ms)]
    found = []
    for pipeline, some in _by(counted, lambda one: one.pipeline):
        calls = [stage for one in some for stage in one.stages]
        for component, made in _by(calls, lambda stage: stage.component):
            queue = distribution([stage.queue_ms for stage in made])
            service = distribution([stage.service_ms for stage in made])
            assert queue is not None
            assert service is not None
            found.append(Stage(pipeline, component, len(made) / len(some), queue, service))
    return tuple(found)


def _doubts(groups: Sequence[Group], before: Mapping[str, int], window: Window) -> tuple[str, ...]:
    """Where figures do not say what they seem to say; `before` counts those of the warm-up, by pipeline."""
    notes = []
    for group in groups:
        if group.request_class is not None:
            continue
        cancelled = group.figures.outcomes[Outcome.CANCELLED]
        if cancelled:
            notes.append(
                f"{group.pipeline}: {cancelled} of {group.figures.requests} requests had no answer yet when the run "
                "was ended; those whose promised time had passed count as missed, and percentiles leave out all."
            )
        lost = group.figures.requests - group.figures.outcomes[Outcome.OK] - cancelled
        if group.figures.requests and lost / group.figures.requests > 0.05:
            notes.append(
                f"{group.pipeline}: {lost / group.figures.requests:.0%} of the requests had no answer; percentiles are "
                "of answered requests alone. Attainment counts all."
            )
        if 0 < group.figures.requests < 100:
            notes.append(f"{group.pipeline}: {group.figures.requests} requests are too few for high percentiles.")
        if group.figures.requests < 100 and (more := before.get(group.pipeline)):
            lasted = f"{group.pipeline}: {more} more came within the warm-up of {shown_ms(window.from_ms)}"
            notes.append(f"{lasted} and do not count; with `--warmup 0s` they do.")
    return tuple(notes)


def _by(items: Iterable[_Item], key: Callable[[_Item], str]) -> list[tuple[str, list[_Item]]]:
    """The items in groups of one key, in the order of the keys."""
    return [(name, [*some]) for name, some in groupby(sorted(items, key=key), key=key)]
