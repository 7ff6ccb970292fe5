"""Which nodes are equal: they do the same with what is equal."""

from collections.abc import Callable, Sequence

from harmonia_compiler.contract.program import with_inputs
from harmonia_compiler.flow.graph import Node
from harmonia_compiler.flow.text import show_operation


def first_equal(nodes: Sequence[Node], among: Callable[[int], int | None]) -> list[int]:
    """For each node the first that is equal to it, of those `among` the same ones; None says that it is no other's."""
    first: dict[tuple[str, int], int] = {}
    found: list[int] = []
    for position, node in enumerate(nodes):
        within = among(position)
        if within is None:
            found.append(position)
        else:
            key = show_operation(with_inputs(node.operation, found.__getitem__)), within
            found.append(first.setdefault(key, position))
    return found
