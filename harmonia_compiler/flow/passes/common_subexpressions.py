"""Computes equal things once: equal operations merge, and so do equal calls that may be merged."""

from dataclasses import replace

from harmonia_compiler.contract.program import Call, answering, with_inputs
from harmonia_compiler.contract.types import show
from harmonia_compiler.flow.graph import Flow, Node
from harmonia_compiler.flow.passes.definition import Context, Pass
from harmonia_compiler.flow.text import show_operation


def common_subexpressions(flow: Flow, context: Context) -> Flow:
    """Let the first of several equal nodes stand for all.

    Calls are equal when component, inputs and settings are; calls that are not pure, and calls of a
    language model that may sample, each stay their own. Of merged branches the first share holds.
    """
    answers = answering([node.operation for node in flow.nodes], flow.result)
    first: dict[tuple[str, str, bool], int] = {}
    nodes: list[Node] = []
    moved: list[int] = []
    for position, node in enumerate(flow.nodes):
        operation = with_inputs(node.operation, moved.__getitem__)
        if isinstance(operation, Call) and not _merges(operation, context):
            moved.append(len(nodes))
            nodes.append(replace(node, operation=operation))
            continue
        # A request's own sampling settings reach the answering call alone, so it equals no other.
        key = (show_operation(operation), show(node.type), position in answers)
        if key not in first:
            first[key] = len(nodes)
            nodes.append(replace(node, operation=operation))
        moved.append(first[key])
    return replace(flow, nodes=tuple(nodes), result=moved[flow.result])


def _merges(call: Call, context: Context) -> bool:
    component = context.application.components[call.component]
    kind = context.kinds[component.kind]
    settings = {**component.settings, **call.settings}

    def said(name: str) -> object:
        setting = kind.setting(name)
        return None if setting is None else settings.get(name, setting.default)

    samples = kind.setting("temperature") is not None and said("temperature") != 0
    return said("pure") is True and not samples


PASS = Pass(
    "common_subexpressions",
    "computes equal things once",
    common_subexpressions,
    needs=frozenset({"explicit vectors"}),
    gives=frozenset({"equal nodes are one"}),
)
