"""Things that need each other, in an order in which each comes after what it needs."""

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

Thing = TypeVar("Thing", bound=Hashable)


def dependency_order(
    things: Iterable[Thing], needs: Callable[[Thing], Iterable[Thing]]
) -> tuple[list[Thing], list[list[Thing]]]:
    """All things and what they need, each after its needs; and the cycles, each once, as the things along it.

    Not recursive, since what users declare may be long chains.
    """
    ordered: list[Thing] = []
    cycles: list[list[Thing]] = []
    done: set[Thing] = set()
    for thing in things:
        path: dict[Thing, None] = {}
        pending: list[tuple[Thing, bool]] = [(thing, False)]
        while pending:
            current, complete = pending.pop()
            if complete:
                del path[current]
                done.add(current)
                ordered.append(current)
            elif current in path:
                along = list(path)
                cycles.append(along[along.index(current) :])
            elif current not in done:
                path[current] = None
                pending.append((current, True))
                pending += [(needed, False) for needed in reversed(list(needs(current)))]
    return ordered, cycles
