"""Which calls of a flow hand their text on as it comes, as planning reckons with them.

Text leaves as it is generated where the call, as it is sent, is known to give the answer (`policy/heading.py`). So it
does not where the answer is a `Whole`, and not where a test on the way to the answer has read it before.
"""

from harmonia_compiler.contract.program import After, Call, Select, Whole, inputs
from harmonia_compiler.flow.expand import Chance
from harmonia_compiler.flow.graph import Flow

#: As bits, every call that there is.
_ALL = -1


def streamed(flow: Flow) -> frozenset[int]:
    """The positions of those calls. The flow has no blocks.

    A call that streams on some paths to the answer, and on others does not, is not among them: what is promised of the
    first piece is kept then on all of them.
    """
    if not flow.streams:
        return frozenset()
    rests_on = _rests_on(flow)
    # By position, for what the answer may come from, the calls that were read on the way to it, as bits.
    read = {flow.result: 0}
    found: set[int] = set()
    further: tuple[int, ...]
    for position in range(flow.result, -1, -1):
        if position not in read:
            continue
        match flow.nodes[position].operation:
            case Select(condition, then, otherwise):
                further, known = (then, otherwise), read[position] | rests_on[condition]
            case After(_, then):
                further, known = (then,), read[position]
            case Whole(value):
                further, known = (value,), _ALL
            case Call(over=()) if not read[position] >> position & 1:
                found.add(position)
                continue
            case _:
                continue
        for at in further:
            read[at] = read.get(at, 0) | known
    return frozenset(found)


def _rests_on(flow: Flow) -> list[int]:
    """For each value the calls that have ended once it is there, as bits."""
    found: list[int] = []
    for position, node in enumerate(flow.nodes):
        calls = 1 << position if isinstance(node.operation, Call) else 0
        # Whether an attempt has succeeded is known at its end, and its text leaves before.
        for at in () if isinstance(node.operation, Chance) else inputs(node.operation):
            calls |= found[at]
        found.append(calls)
    return found
