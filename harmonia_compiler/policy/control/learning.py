"""Corrects what the plan expects by what happened in a window: rates, visits, times of engines and of single replicas.

The plan says how long a call takes at its replica while that is as busy as planned. One that takes longer is believed
to be slow, unless the replica worked on more calls at once than that: then each takes longer, and it is slow only where
it served fewer all the same. That it served more then, of which each took longer, is no sign that it is fast: whoever
routes calls gave it more. One that takes less time is believed to be fast only as far as the replica was as busy: an
engine that works on little is faster than it will be.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from harmonia_compiler.contract.readings import CallsRead
from harmonia_compiler.policy.control.planned import Planned, PlannedReplica
from harmonia_compiler.policy.control.ratio import PLANNED, Ratio
from harmonia_compiler.policy.control.state import State
from harmonia_compiler.policy.control.window import Window

#: What is added to visits on both sides of a comparison: a component that is called never was called once in a hundred.
_SELDOM = 0.01


def learned(planned: Planned, state: State, window: Window, day_s: float) -> State:
    """The state with everything corrected by one window, at so many seconds of the day."""
    return replace(
        state,
        forecasts={
            pipeline: state.forecasts[pipeline].seen(
                window.arrived(pipeline) / window.seconds, window.burstiness(pipeline), window.seconds, day_s
            )
            for pipeline in state.forecasts
        },
        visits={pipeline: _visits(planned, state, window, pipeline) for pipeline in planned.expected},
        engines=_engines(planned, state, window),
        replicas=_replicas(planned, state, window),
    )


def visits_of(expected: float, ratio: Ratio) -> float:
    """How often a request calls what it was expected to call so often, by the ratio that was learned on this."""
    return max(0.0, (expected + _SELDOM) * ratio.value - _SELDOM)


def _visits(planned: Planned, state: State, window: Window, pipeline: str) -> dict[str, Ratio]:
    answered = window.answered(pipeline)
    known = state.visits.get(pipeline, {})
    found = {}
    for component, expected in planned.expected[pipeline].items():
        ratio = known.get(component, PLANNED)
        if answered:
            visits = window.visits(pipeline, component) / answered
            found[component] = ratio.moved((visits + _SELDOM) / (expected.visits + _SELDOM), answered)
        else:
            found[component] = ratio.faded(window.seconds)
    return found


def _engines(planned: Planned, state: State, window: Window) -> dict[str, Ratio]:
    rows: dict[str, list[CallsRead]] = {}
    for one in window.calls:
        engine = planned.engine_of.get(one.pipeline, {}).get(one.component, "")
        rows.setdefault(engine, []).append(one)
    routed = {one.replica for one in window.replicas if one.routed}
    return {
        name: _moved(
            planned,
            state.engines.get(name, PLANNED),
            rows.get(name, ()),
            window,
            [one for one in engine.replicas if one.name in routed],
        )
        for name, engine in planned.engines.items()
    }


def _replicas(planned: Planned, state: State, window: Window) -> dict[str, Ratio]:
    rows: dict[str, list[CallsRead]] = {}
    for one in window.calls:
        rows.setdefault(one.replica, []).append(one)
    known: Iterable[PlannedReplica] = (one for engine in planned.engines.values() for one in engine.replicas)
    return {
        one.name: _moved(planned, state.replicas.get(one.name, PLANNED), rows.get(one.name, ()), window, [one])
        for one in known
    }


def _moved(
    planned: Planned, ratio: Ratio, rows: Iterable[CallsRead], window: Window, replicas: Sequence[PlannedReplica]
) -> Ratio:
    """A ratio of times after the calls of a window, which these replicas served."""
    by_name = {one.name: one for one in replicas}
    usual_s = expected_s = measured_s = calls = 0.0
    for one in rows:
        expected = planned.expected.get(one.pipeline, {}).get(one.component)
        if expected is not None:
            on_the_mean_s = one.served * expected.service_ms / 1000.0
            usual_s += on_the_mean_s
            expected_s += on_the_mean_s * (by_name[one.replica].times if one.replica in by_name else 1.0)
            measured_s += one.service_s
            calls += one.served
    if calls <= 0.0 or expected_s <= 0.0:
        return ratio.faded(window.seconds)
    # By Little's law: calls at once, as planned and as it was.
    each_s = usual_s / calls
    planned_at_once = sum(max(1.0, one.capacity_rps * each_s * one.times) for one in replicas) or 1.0
    crowded = measured_s / window.seconds / planned_at_once
    times = measured_s / expected_s
    return ratio.moved(max(1.0, times / max(1.0, crowded)) if times >= 1.0 else times ** min(1.0, crowded), calls)
