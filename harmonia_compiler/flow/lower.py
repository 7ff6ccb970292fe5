"""Lowering: a flow without what only planning and diagnostics need is a Program."""

from collections import Counter
from collections.abc import Mapping
from itertools import takewhile

import msgspec

from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.objective import Metric
from harmonia_compiler.contract.program import Block, Call, Operation, Program, ProgramParameter
from harmonia_compiler.flow.answers import answers_of
from harmonia_compiler.flow.awaits import with_awaits
from harmonia_compiler.flow.graph import Application, Body, Flow
from harmonia_compiler.flow.passes.dead_code import without_unread

#: The least quantile whose latency promise is a deadline: past a median's bound half of all requests are meant to be.
DEADLINE_QUANTILE = 0.9


def lower(flow: Flow, application: Application) -> Program:
    """The flow as the gateway executes it: what the answer reads, and the components that it calls.

    Of several promises on one metric the one for the highest quantile is kept. On latency it is the
    deadline of each request, on the first piece that of the piece, and only from `DEADLINE_QUANTILE` on.
    """
    kept = with_awaits(without_unread(flow))
    nodes = [node for body in kept.bodies for node in body.nodes]
    called = sorted({node.operation.component for node in nodes if isinstance(node.operation, Call)})
    parts = zip(kept.bodies, answers_of(kept), sites(kept, application), strict=True)
    *blocks, operations = (_operations(*each) for each in parts)
    return Program(
        pipeline=flow.name,
        parameters=tuple(_parameter(port) for port in flow.ports),
        result_type=flow.result_type,
        operations=operations,
        result=kept.result,
        components={name: application.components[name] for name in called},
        blocks=tuple(Block(own, body.results) for own, body in zip(blocks, kept.blocks, strict=True)),
        streams=flow.streams,
        deadline_ms=_deadline(flow, "latency"),
        ttft_deadline_ms=_deadline(flow, "ttft"),
        classes=flow.classes,
        class_parameter=flow.class_port,
    )


def sites(flow: Flow, application: Application) -> tuple[dict[int, int], ...]:
    """For each body of a flow of which all is read, by the position of a call, which of its component's it is.

    They are counted through the flows of the application: those of the flow come after those of the ones before it.
    """
    counted = Counter(
        node.operation.component
        for before in takewhile(lambda one: one.name != flow.name, application.flows)
        for body in before.bodies
        for node in body.nodes
        if isinstance(node.operation, Call)
    )
    found: list[dict[int, int]] = []
    for body in flow.bodies:
        own: dict[int, int] = {}
        for at, node in enumerate(body.nodes):
            if isinstance(node.operation, Call):
                own[at] = counted[node.operation.component]
                counted[node.operation.component] += 1
        found.append(own)
    return tuple(found)


def _operations(body: Body, answers: frozenset[int], sites: Mapping[int, int]) -> tuple[Operation, ...]:
    """The operations of a body, whose calls say whether they may give the answer, and which of their component's."""
    found: list[Operation] = []
    for at, node in enumerate(body.nodes):
        operation = node.operation
        if isinstance(operation, Call):
            operation = msgspec.structs.replace(operation, may_answer=at in answers, site=sites[at])
        found.append(operation)
    return tuple(found)


def _parameter(port: Port) -> ProgramParameter:
    return ProgramParameter(port.name, port.type, port.default)


def _deadline(flow: Flow, metric: Metric) -> float | None:
    """The tightest bound of the highest quantile of what is promised of a metric, if that is high enough."""
    kept = [goal for goal in flow.objectives if goal.metric == metric and goal.quantile >= DEADLINE_QUANTILE]
    promised = [(goal.quantile, -goal.bound_ms) for goal in kept]
    return -max(promised)[1] if promised else None
