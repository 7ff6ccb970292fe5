"""What the controller goes on from where another plan takes the place of one in a running service.

Requests come as they did, and an engine that both plans have begins with the replicas that ran. What was learned is in
factors on what the plan expected, so that it holds where the new plan expects the same: one that was made from these
very readings has it in its figures already.
"""

from dataclasses import replace

from harmonia_compiler.contract.bundle import ExpectedCalls
from harmonia_compiler.policy.control.decide import begun
from harmonia_compiler.policy.control.planned import Planned, PlannedEngine
from harmonia_compiler.policy.control.state import Sizing, State


def taken_over(planned: int, ran: int) -> int:
    """With how many replicas an engine begins whose like ran with so many: its plan may know of what is yet to come."""
    return max(planned, ran)


def succeeded(state: State, planned: Planned) -> State:
    """The state with which a plan begins that takes the place of the state's own."""
    fresh = begun(planned)
    alike = {name for name in planned.engines if _takes_as_long(state, planned, name)}
    own = {one.name for name in alike for one in planned.engines[name].replicas}
    return replace(
        fresh,
        epoch=state.epoch,
        at_s=state.at_s,
        readings=state.readings,
        before=state.before,
        forecasts={pipeline: state.forecasts.get(pipeline, one) for pipeline, one in fresh.forecasts.items()},
        bursts={pipeline: these for pipeline, these in state.bursts.items() if pipeline in fresh.forecasts},
        visits={
            pipeline: {
                component: ratio
                for component, ratio in state.visits.get(pipeline, {}).items()
                if (was := _was(state, pipeline, component)) is not None
                and component in expected
                and expected[component].visits == was.visits
            }
            for pipeline, expected in planned.expected.items()
        },
        engines={name: ratio for name, ratio in state.engines.items() if name in alike},
        replicas={name: ratio for name, ratio in state.replicas.items() if name in own},
        caches={name: one for name, one in state.caches.items() if name in planned.engines},
        sizes={name: _sized(engine, state.sizes.get(name)) for name, engine in planned.engines.items()},
    )


def _was(state: State, pipeline: str, component: str) -> ExpectedCalls | None:
    """What the plan before expected of a component."""
    return state.expected.get(pipeline, {}).get(component)


def _takes_as_long(state: State, planned: Planned, name: str) -> bool:
    """Whether calls of all components of an engine are expected to take as long as they were."""
    return all(
        (was := _was(state, pipeline, component)) is not None and was.service_ms == one.service_ms
        for pipeline, expected in planned.expected.items()
        for component, one in expected.items()
        if planned.engine_of.get(pipeline, {}).get(component) == name
    )


def _sized(engine: PlannedEngine, ran: Sizing | None) -> Sizing:
    if ran is None:
        return Sizing(engine.count)
    count = min(engine.most, max(engine.least, taken_over(engine.count, ran.count)))
    return replace(ran, count=count, waits=False, roomy_s=None)
