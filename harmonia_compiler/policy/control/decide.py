"""`decide(planned, state, readings, …) -> (state, decision)`: one window of the controller, and why it did what it did.

A decision whose epoch is that of the one before says that nothing changes; its reasons say why not. Each says all that
is wanted, so that the gateway needs the newest one alone.
"""

from collections.abc import Callable
from dataclasses import replace

from harmonia_compiler.contract.decision import Decision, Reason
from harmonia_compiler.contract.readings import Readings
from harmonia_compiler.policy.control.bursts import RECENT_S, Burst, most_rps, needed_rps, remembered
from harmonia_compiler.policy.control.caching import cached
from harmonia_compiler.policy.control.counts import Wanted, arrived, cold_s, resized, wanted
from harmonia_compiler.policy.control.division import Divide, NoDivision, divided, held_s
from harmonia_compiler.policy.control.forecast import MOST_STEP, Forecast
from harmonia_compiler.policy.control.learning import learned
from harmonia_compiler.policy.control.planned import Planned
from harmonia_compiler.policy.control.ratio import PLANNED
from harmonia_compiler.policy.control.state import Sizing, State
from harmonia_compiler.policy.control.window import Window, between

#: A shorter window says too little, in seconds.
LEAST_WINDOW_S = 0.5
#: Over so long the bursts must fit that replicas are kept ready for, in seconds.
BURST_S = 30.0
_MOST_WORDS = 4


def begun(planned: Planned) -> State:
    """The state before anything was read: all is as planned."""
    return State(
        planned.fingerprint,
        {pipeline: dict(expected) for pipeline, expected in planned.expected.items()},
        forecasts={pipeline: Forecast() for pipeline in planned.expected},
        sizes={name: Sizing(engine.count) for name, engine in planned.engines.items()},
    )


def decide(
    planned: Planned, state: State, readings: Readings | None, now: float, day_s: float, divide: Divide
) -> tuple[State, Decision]:
    """The state and the decision after one more answer of the gateway, None where it gave none.

    `now` is in seconds by a clock that only goes forward, `day_s` the seconds of the day, which serve forecasts alone.
    """
    state = state.by(now)
    if readings is None:
        return state, _still(planned, state, "the gateway gives no readings, so that all stays as it is")
    # Who decided before, or beside, this one has used the epochs up to the gateway's.
    state = replace(state, epoch=max(state.epoch, readings.epoch))
    if state.readings is None:
        state = replace(state, readings=readings, at_s=now)
        return state, _still(planned, state, "these are the first readings: what happens shows from the next ones on")
    window = between(state.readings, readings)
    if window is None:
        is_new = readings.gateway != state.readings.gateway
        why = "the gateway counts from the beginning, as after a start" if is_new else "the readings are no newer"
        state = replace(state, readings=readings if is_new else state.readings, at_s=now)
        return state, _still(planned, state, f"{why}, so that all stays as it is")
    if window.seconds < LEAST_WINDOW_S:
        return state, _still(planned, state, f"{window.seconds:.1f} s are too few to tell anything")
    return _decided(planned, _read(planned, state, readings, window, now, day_s), window, now, day_s, divide)


def _read(planned: Planned, state: State, readings: Readings, window: Window, now: float, day_s: float) -> State:
    """The state with everything in it that the window tells."""
    sizes = {name: arrived(size, name, window.replicas, now) for name, size in state.sizes.items()}
    caches = cached(state.caches, window, planned.engines)
    both = None if state.before is None else between(state.before, readings)
    bursts = _bursts(planned, state, (window,) if both is None else (window, both))
    state = replace(state, sizes=sizes, caches=caches, bursts=bursts, before=state.readings)
    return replace(learned(planned, state, window, day_s), readings=readings, at_s=now)


def _bursts(planned: Planned, state: State, windows: tuple[Window, ...]) -> dict[str, tuple[Burst, ...]]:
    """The bursts to remember by pipeline after these windows, the first of which is the newest."""
    return {
        pipeline: remembered(
            state.bursts.get(pipeline, ()),
            max(
                needed_rps(one, pipeline, planned.promised_s.get(pipeline, {}))
                if one.arrived(pipeline) / one.seconds > forecast.believed
                else 0.0
                for one in windows
            ),
            windows[0].seconds,
        )
        for pipeline, forecast in state.forecasts.items()
    }


def _decided(
    planned: Planned, state: State, window: Window, now: float, day_s: float, divide: Divide
) -> tuple[State, Decision]:
    reasons: list[Reason] = []
    epoch = state.epoch
    forecasts = state.forecasts

    def ready(name: str, engine: str) -> float:
        return forecasts[name].rate(cold_s(state.sizes[engine]), day_s, BURST_S)

    coming = _calls(planned, state, ready)
    peak = _calls(planned, state, lambda name, engine: max(ready(name, engine), most_rps(state.bursts.get(name, ()))))
    came = _calls(planned, state, lambda name, _: window.arrived(name) / window.seconds)
    each = tuple(wanted(planned, state, window, coming, came, peak))
    sizes, changed = resized(planned, state, each, now)
    state = replace(state, sizes=sizes)
    reasons += [_about_count(planned, state, one, is_changed=one is changed) for one in each]
    why = "the gateway leaves it out for a while: its calls failed, or it made no progress"
    reasons += [
        Reason(one.engine, acted=False, why=f"`{one.replica}`: {why}") for one in window.replicas if one.left_out
    ]
    reasons += _about_caches(state)
    try:
        division = divided(
            planned, state, _calls(planned, state, lambda name, _: forecasts[name].rate(0.0, day_s)), divide
        )
    except NoDivision as problem:
        reasons.append(Reason("", acted=False, why=f"the calls are divided as before: {problem}"))
    else:
        is_held = state.shares_s is not None and now - state.shares_s < state.hold_s
        if division.words and not is_held:
            state = replace(state, shares=division.shares, shares_s=now, hold_s=held_s(state, now))
            reasons += [Reason("", acted=True, why=words) for words in division.words[:_MOST_WORDS]]
        elif division.words:
            why = f"the calls are divided anew no sooner than {state.hold_s:g} s after last time: {division.words[0]}"
            reasons.append(Reason("", acted=False, why=why))
        else:
            reasons.append(Reason("", acted=False, why="the calls are divided as before: no part would change by much"))
    if any(one.acted for one in reasons):
        state = replace(state, epoch=epoch + 1)
    return state, _decision(planned, state, tuple(reasons))


def _calls(planned: Planned, state: State, rate: Callable[[str, str], float]) -> dict[str, float]:
    """Calls a second of each engine where requests come at a `rate`, by pipeline, and by the engine that goes by it."""
    found = dict.fromkeys(planned.engines, 0.0)
    for pipeline, expected in planned.expected.items():
        ratios = state.visits.get(pipeline, {})
        for component, one in expected.items():
            engine = planned.engine_of.get(pipeline, {}).get(component)
            if engine in found:
                found[engine] += rate(pipeline, engine) * one.visits * ratios.get(component, PLANNED).value
    return found


def _about_count(planned: Planned, state: State, one: Wanted, *, is_changed: bool) -> Reason:
    engine, size = planned.engines[one.engine], state.sizes[one.engine]
    doubt = f" ({one.came_rps:.3g} in the last window, which is not believed alone)"
    what = (
        f"{one.calls_rps:.3g} calls/s are to be expected{doubt if one.came_rps > MOST_STEP * one.calls_rps else ''}, "
        f"and {one.count} {_replicas(one.count)} {one.carries_rps:.3g}"
    )
    if is_changed and size.count > one.count:
        why = "calls wait for much longer than they take" if one.waits else what
        return Reason(one.engine, acted=True, why=f"{one.count} → {size.count} replicas: {why}")
    if is_changed:
        return Reason(one.engine, acted=True, why=f"{one.count} → {size.count} replicas: {what}, and have for long")
    if engine.is_fixed:
        return Reason(
            one.engine, acted=False, why=f"stays at {one.count}, whose number is not to be changed here: {what}"
        )
    if one.needed > one.count == engine.most:
        return Reason(one.engine, acted=False, why=f"stays at {one.count}, and there is no room for another: {what}")
    if one.needed > one.count:
        return Reason(one.engine, acted=False, why=f"stays at {one.count} for now: another engine lacks more; {what}")
    if size.roomy_s is not None and one.held >= one.count:
        need = f"bursts as in the last {RECENT_S / 60.0:g} minutes need {one.peak_rps:.3g} calls/s"
        return Reason(one.engine, acted=False, why=f"stays at {one.count}, since {need}: {what}")
    if size.roomy_s is not None:
        return Reason(one.engine, acted=False, why=f"stays at {one.count} for now, though fewer may do: {what}")
    return Reason(one.engine, acted=False, why=f"stays at {one.count}: {what}")


def _about_caches(state: State) -> list[Reason]:
    return [
        Reason(engine, acted=False, why=f"{100.0 * rate:.0f} % of the prompts' tokens were in the prefix cache lately")
        for engine, one in state.caches.items()
        if (rate := one.hit_rate) is not None
    ]


def _replicas(count: int) -> str:
    return "replica carries" if count == 1 else "replicas carry"


def _still(planned: Planned, state: State, why: str) -> Decision:
    return _decision(planned, state, (Reason("", acted=False, why=why),))


def _decision(planned: Planned, state: State, reasons: tuple[Reason, ...]) -> Decision:
    # Whoever follows it knows the shares of the plan's replicas, but of no others.
    further = {one.name: one.share for engine in planned.engines.values() for one in engine.replicas[engine.count :]}
    return Decision(
        state.epoch,
        state.plan,
        {**further, **state.shares},
        {name: size.count for name, size in state.sizes.items()},
        reasons,
    )
