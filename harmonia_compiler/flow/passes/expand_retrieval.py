"""Shows the embedding of a query as a call of its own, so that it is planned, merged and timed as one."""

import msgspec

from harmonia_compiler.contract.program import Call
from harmonia_compiler.flow.bodies import Rewriting, in_each_body
from harmonia_compiler.flow.graph import Body, Flow, Node
from harmonia_compiler.flow.passes.definition import Context, Pass


def expand_retrieval(flow: Flow, context: Context) -> Flow:
    """Send each port that a kind takes `through` another component to that component first.

    A Milvus search's `query` goes to the component that its `embedder` setting names, and the
    search takes the vector at that port; a hybrid one takes the text as well. A port that already has
    the vector is left alone.
    """

    def rewrite(body: Body) -> Body:
        new = Rewriting(body)
        for node in body.nodes:
            operation = new.read(node.operation)
            new.keep(node, _expand(operation, node, new, context) if isinstance(operation, Call) else operation)
        return new.done()

    return in_each_body(flow, rewrite)


def _expand(call: Call, written: Node, new: Rewriting, context: Context) -> Call:
    application = context.application
    component = application.components[call.component]
    settings = {**application.engines[component.engine].settings, **component.settings, **call.settings}
    ports, positions = list(call.ports), list(call.inputs)
    for port, way in context.kinds[component.kind].through.items():
        name = settings.get(way.setting)
        # A call for many items is given its vectors as a list: what has made one call of many came after this.
        if name is None or port not in call.ports or port in call.over:
            continue
        through = application.components[name]
        at = call.ports.index(port)
        if new.nodes[positions[at]].type != through.result:
            operation = Call(name, (through.ports[0].name,), (positions[at],))
            if way.plain is not None and way.wherever is not None and settings.get(way.wherever):
                ports.append(way.plain)
                positions.append(positions[at])
            positions[at] = new.append(Node(operation, through.result, written.span))
    return msgspec.structs.replace(call, ports=tuple(ports), inputs=tuple(positions))


PASS = Pass(
    "expand_retrieval",
    "shows the embedding of a query as a call of its own",
    expand_retrieval,
    gives=frozenset({"explicit vectors"}),
)
