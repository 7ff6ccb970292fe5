"""All times of a service stretched by one factor, where this machine would otherwise be what is measured."""

from collections.abc import Mapping

import msgspec

from harmonia_compiler.contract.bundle import Service
from harmonia_compiler.contract.component import Component, Engine
from harmonia_compiler.contract.program import Attempt, Block, Operation, Program
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.runtime.gateway.caller import DEFAULT_TIMEOUT_MS

#: Processor time of this machine that a call is taken to need, and a streamed piece of an answer: emulated engine,
#: gateway and sender together, in ms of one core. `bench/check_rehearsal.py` prints what a whole request needed.
CALL_MS = 3.0
PIECE_MS = 0.35
#: The part of this machine that a rehearsal may take, and of how many cores at most: engines, gateway and sender are a
#: process each, with one core for its events, and none of the three may be busy for much more than half of the time.
MOST_BUSY, MOST_CORES = 0.5, 2.5


def factor_for(scenario: Scenario, rate_rps: float, cores: float) -> float:
    """By how much to stretch, so that the calls of so many requests a second leave this machine some room."""
    loads = {one.name: one.load_rps for one in scenario.plan.pipelines}
    whole = sum(loads.values())
    each_ms = 0.0
    for pipeline in scenario.plan.pipelines:
        part = loads[pipeline.name] / whole if whole else 1.0 / len(loads)
        each_ms += part * (CALL_MS * sum(pipeline.visits.values()) + PIECE_MS * _pieces(scenario, pipeline.name))
    return max(1.0, rate_rps * each_ms / 1000.0 / (min(cores, MOST_CORES) * MOST_BUSY))


def _pieces(scenario: Scenario, pipeline: str) -> float:
    """How many pieces of text a request of a pipeline is expected to be sent."""
    program = scenario.service.programs[pipeline]
    if not program.streams:
        return 0.0
    answers = [program.components[name] for name in scenario.behaviour.answers if name in program.components]
    return max((kinds()[one.kind].result_extent(one).tokens for one in answers), default=0.0)


def stretched(service: Service, factor: float, urls: Mapping[str, str]) -> Service:
    """The service with every deadline, limit and timeout so many times as long.

    `urls` are those of engines that are somebody else's, which are emulated, too; no variable is needed for them.
    """
    return msgspec.structs.replace(
        service,
        programs={name: _program(program, factor) for name, program in service.programs.items()},
        engines={name: _engine(engine, urls.get(name)) for name, engine in service.engines.items()},
        expected={
            pipeline: {
                name: msgspec.structs.replace(one, service_ms=one.service_ms * factor) for name, one in calls.items()
            }
            for pipeline, calls in service.expected.items()
        },
    )


def _program(program: Program, factor: float) -> Program:
    return msgspec.structs.replace(
        program,
        operations=_operations(program.operations, factor),
        blocks=tuple(Block(_operations(block.operations, factor), block.results) for block in program.blocks),
        deadline_ms=_times(program.deadline_ms, factor),
        ttft_deadline_ms=_times(program.ttft_deadline_ms, factor),
        classes=tuple(
            msgspec.structs.replace(one, deadline_ms=_times(one.deadline_ms, factor)) for one in program.classes
        ),
        components={name: _component(component, factor) for name, component in program.components.items()},
    )


def _operations(operations: tuple[Operation, ...], factor: float) -> tuple[Operation, ...]:
    return tuple(
        msgspec.structs.replace(operation, within_ms=_times(operation.within_ms, factor))
        if isinstance(operation, Attempt)
        else operation
        for operation in operations
    )


def _component(component: Component, factor: float) -> Component:
    timeout = (component.settings.get("timeout") or DEFAULT_TIMEOUT_MS) * factor
    return msgspec.structs.replace(component, settings={**component.settings, "timeout": timeout})


def _engine(engine: Engine, url: str | None) -> Engine:
    if url is None:
        return engine
    settings = {name: value for name, value in engine.settings.items() if name != "key"}
    return msgspec.structs.replace(engine, settings={**settings, "url": url})


def _times(ms: float | None, factor: float) -> float | None:
    return None if ms is None else ms * factor
