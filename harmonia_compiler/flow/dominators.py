"""What each node of a flow without blocks is only demanded through, such as one arm of a choice."""

from collections.abc import Sequence

from harmonia_compiler.contract.program import Select, inputs
from harmonia_compiler.flow.graph import Node

#: The arms of a choice, which stand behind it.
THEN, OTHERWISE = 1, 2


def dominators(nodes: Sequence[Node], result: int) -> list[int]:
    """What each node and each arm of a choice is only demanded through, -1 for the result and for what is not demanded.

    Node i is number 3 i, its arms are the two numbers behind it. A node is read by later ones only, so that one pass
    from the result on finds them.
    """
    above, depth = [-1] * (3 * len(nodes)), [0] * (3 * len(nodes))
    reached = [False] * len(nodes)
    reached[result] = True

    def meet(one: int, other: int) -> int:
        while one != other:
            if depth[one] < depth[other]:
                one, other = other, one
            one = above[one]
        return one

    def read(needed: int, through: int) -> None:
        above[3 * needed] = meet(above[3 * needed], through) if reached[needed] else through
        reached[needed] = True

    for position in range(result, -1, -1):
        if not reached[position]:
            continue
        here, operation = 3 * position, nodes[position].operation
        depth[here] = 0 if position == result else depth[above[here]] + 1
        if not isinstance(operation, Select):
            for needed in inputs(operation):
                read(needed, here)
            continue
        for arm in (THEN, OTHERWISE):
            above[here + arm], depth[here + arm] = here, depth[here] + 1
        for needed in (operation.condition, *operation.early):
            read(needed, here)
        read(operation.then, here + THEN)
        read(operation.otherwise, here + OTHERWISE)
    return above
