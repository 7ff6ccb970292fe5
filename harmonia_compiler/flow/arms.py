"""Shares of arms that stand behind others of which their branch says nothing.

`if a { … } elif b ~ 0.4 { … }` says that 0.4 of the requests that reach the `if` take the second arm. How often `b`
holds where it is asked follows from how often `a` does, which may be said elsewhere: it is known once that is.
"""

from collections.abc import Mapping, Sequence
from math import prod

from msgspec.structs import replace

from harmonia_compiler.flow.dominators import OTHERWISE, dominators
from harmonia_compiler.flow.expand import Expanded
from harmonia_compiler.flow.graph import Arm, Node

_CLOSE = 1e-9


def with_arms(expanded: Expanded, taken: Mapping[int, float]) -> Expanded:
    """The flow with the share that each arm has where selects take `then` so often; the same one where none changes."""
    nodes = expanded.flow.nodes
    arms = {at: node.arm for at, node in enumerate(nodes) if node.arm is not None and at in taken}
    if not arms:
        return expanded
    above, changed = dominators(nodes, expanded.flow.result), dict[int, Node]()
    for at, arm in arms.items():
        before = _before(nodes, above, at, arm)
        share = arm.share(prod(1.0 - taken.get(each, 0.0) for each in before))
        if len(before) == arm.number and abs(share - (nodes[at].share or 0.0)) > _CLOSE:
            changed[at] = replace(nodes[at], share=share)
    if not changed:
        return expanded
    settled = tuple(changed.get(at, node) for at, node in enumerate(nodes))
    return replace(expanded, flow=replace(expanded.flow, nodes=settled))


def _before(nodes: Sequence[Node], above: Sequence[int], select: int, arm: Arm) -> list[int]:
    """The selects over the tests before an arm, from the same place of the source: it stands where none holds."""
    found: list[int] = []
    at = above[3 * select]
    while at >= 0 and len(found) < arm.number:
        around, side = divmod(at, 3)
        if side == OTHERWISE and nodes[around].span == nodes[select].span:
            found.append(around)
        at = above[at]
    return found
