"""Lowering: a flow without what only planning and diagnostics need is a Program."""

from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.program import Call, Program, ProgramParameter
from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.flow.passes.dead_code import without_unread


def lower(flow: Flow, application: Application) -> Program:
    """The flow as the gateway executes it: what the answer reads, and the components that it calls.

    Of several promises on one metric the one for the highest quantile is the deadline: a request
    that misses the median's bound is slow, not late.
    """
    kept = without_unread(flow)
    called = sorted({node.operation.component for node in kept.nodes if isinstance(node.operation, Call)})
    return Program(
        pipeline=flow.name,
        parameters=tuple(_parameter(port) for port in flow.ports),
        result_type=flow.result_type,
        operations=tuple(node.operation for node in kept.nodes),
        result=kept.result,
        components={name: application.components[name] for name in called},
        streams=flow.streams,
        deadline_ms=_bound(flow, "latency"),
        ttft_ms=_bound(flow, "ttft"),
    )


def _parameter(port: Port) -> ProgramParameter:
    return ProgramParameter(port.name, port.type, port.default)


def _bound(flow: Flow, metric: str) -> float | None:
    promised = [(goal.quantile, -goal.bound_ms) for goal in flow.objectives if goal.metric == metric]
    return -max(promised)[1] if promised else None
