"""Shares of arms that stand behind others of which their branch says nothing.

`if a { … } elif b ~ 0.4 { … }` says that 0.4 of the requests that reach the `if` take the second arm. How often `b`
holds where it is asked follows from how often `a` does, which may be said elsewhere: it is known once that is.
"""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.expand import Expanded
from harmonia_compiler.flow.graph import Node

_CLOSE = 1e-9


class OfArm(NamedTuple):
    """How often such an arm is taken where its test is asked; `is_open` where that rests on others not heard yet."""

    share: float
    is_open: bool


def without_arms(expanded: Expanded) -> Expanded:
    """The flow before anything is heard of such arms; the same one where there are none.

    What they come to rests on guesses then, which must not stand against what is said of the same tests.
    """
    nodes = expanded.flow.nodes
    return _with(
        expanded, {at: replace(node, guessed=True) for at, node in enumerate(nodes) if node.arm and not node.guessed}
    )


def is_unheard(node: Node) -> bool:
    """Whether something is written of such an arm that has not been heard yet."""
    return node.arm is not None and node.guessed and node.written is not None


def with_arms(expanded: Expanded, arms: Mapping[int, OfArm], *, all_of_them: bool) -> Expanded:
    """The flow where selects take such arms as often as is found by now; the same one where nothing changes.

    Arms are heard that rest on none that is not, or `all_of_them`; where all rest on others, the first in the source.
    """
    nodes = expanded.flow.nodes
    unheard = [at for at, node in enumerate(nodes) if is_unheard(node)]
    heard = [at for at in unheard if all_of_them or at not in arms or not arms[at].is_open]
    if unheard and not heard:
        first = min(_place(nodes[at]) for at in unheard)
        heard = [at for at in unheard if _place(nodes[at]) == first]
    changed = {at: replace(nodes[at], guessed=False) for at in heard}
    for at, (share, _) in arms.items():
        if abs(share - (nodes[at].share or 0.0)) > _CLOSE:
            changed[at] = replace(changed.get(at, nodes[at]), share=share)
    return _with(expanded, changed)


def _place(node: Node) -> tuple[str, int]:
    at: Span | None = None if node.written is None else node.written.at
    return ("", -1) if at is None else (at.source.name, at.start)


def _with(expanded: Expanded, changed: Mapping[int, Node]) -> Expanded:
    if not changed:
        return expanded
    nodes = tuple(changed.get(at, node) for at, node in enumerate(expanded.flow.nodes))
    return replace(expanded, flow=replace(expanded.flow, nodes=nodes))
