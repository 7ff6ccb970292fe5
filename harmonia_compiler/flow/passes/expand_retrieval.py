"""Shows the embedding of a query as a call of its own, so that it is planned, merged and timed as one."""

from collections.abc import Callable
from dataclasses import replace

import msgspec

from harmonia_compiler.contract.program import Call, with_inputs
from harmonia_compiler.flow.graph import Flow, Node
from harmonia_compiler.flow.passes.definition import Context, Pass


def expand_retrieval(flow: Flow, context: Context) -> Flow:
    """Send each port that a kind takes `through` another component to that component first.

    A Milvus search's `query` goes to the component that its `embedder` setting names, and the
    search takes the vector at that port; a hybrid one takes the text as well. A port that already has
    the vector is left alone.
    """
    nodes: list[Node] = []
    moved: list[int] = []

    def append(node: Node) -> int:
        nodes.append(node)
        return len(nodes) - 1

    for node in flow.nodes:
        operation = with_inputs(node.operation, moved.__getitem__)
        if isinstance(operation, Call):
            operation = _expand(operation, node, nodes, append, context)
        moved.append(append(replace(node, operation=operation)))
    return replace(flow, nodes=tuple(nodes), result=moved[flow.result])


def _expand(call: Call, written: Node, nodes: list[Node], append: Callable[[Node], int], context: Context) -> Call:
    application = context.application
    component = application.components[call.component]
    settings = {**application.engines[component.engine].settings, **component.settings, **call.settings}
    ports, positions = list(call.ports), list(call.inputs)
    for port, way in context.kinds[component.kind].through.items():
        name = settings.get(way.setting)
        if name is None or port not in call.ports:
            continue
        through = application.components[name]
        at = call.ports.index(port)
        if nodes[positions[at]].type != through.result:
            operation = Call(name, (through.ports[0].name,), (positions[at],))
            if way.plain is not None and way.wherever is not None and settings.get(way.wherever):
                ports.append(way.plain)
                positions.append(positions[at])
            positions[at] = append(Node(operation, through.result, written.span))
    return msgspec.structs.replace(call, ports=tuple(ports), inputs=tuple(positions))


PASS = Pass(
    "expand_retrieval",
    "shows the embedding of a query as a call of its own",
    expand_retrieval,
    gives=frozenset({"explicit vectors"}),
)
