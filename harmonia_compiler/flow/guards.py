"""How likely each node of a flow is demanded, exactly for branches that are independent of each other.

A guard is the function of branch outcomes under which a node is demanded: the result always, what a
node reads under the node's guard, the arms of a `Select` under its guard and its condition.
`conditions.py` says which conditions are one outcome.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from harmonia_compiler.contract.program import Call, Select, inputs
from harmonia_compiler.flow.conditions import Conditions
from harmonia_compiler.flow.graph import EVEN, Flow
from harmonia_compiler.flow.outcomes import FALSE, TRUE, Outcomes, TooManyError

#: Nodes of decision diagrams for one flow; structured programs need a few for each branch.
LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Guards:
    """The probabilities of one flow.

    `demanded[i]` is that of node i; `taken[i]`, for a `Select`, that of `then` once it is demanded.
    `calls` lists the calls from the rarest on, each with the probability that it or a rarer one is
    demanded. Where not `exact`, the flow branches beyond the bound and the figures are estimates: each
    branch counts as an outcome of its own, and demands from several places as if they never coincided.
    """

    demanded: tuple[float, ...]
    taken: dict[int, float]
    calls: tuple[tuple[int, float], ...]
    exact: bool


def guards(flow: Flow, limit: int = LIMIT) -> Guards:
    """The guards' probabilities, exact while the diagrams have at most `limit` nodes."""
    try:
        return _exact(flow, limit)
    except TooManyError:
        return _estimate(flow)


def _exact(flow: Flow, limit: int) -> Guards:
    outcomes = Outcomes(limit)
    conditions = Conditions(flow, outcomes)
    wanted = [FALSE] * len(flow.nodes)
    wanted[flow.result] = TRUE
    taken: dict[int, float] = {}
    for position in range(flow.result, -1, -1):
        guard, node = wanted[position], flow.nodes[position]
        if guard == FALSE:
            continue
        if not isinstance(node.operation, Select):
            for needed in inputs(node.operation):
                wanted[needed] = outcomes.either(wanted[needed], guard)
            continue
        condition, then, otherwise = node.operation.condition, node.operation.then, node.operation.otherwise
        is_true = conditions.function(condition, EVEN if node.share is None else node.share, guard)
        with_then = outcomes.both(guard, is_true)
        wanted[condition] = outcomes.either(wanted[condition], guard)
        wanted[then] = outcomes.either(wanted[then], with_then)
        wanted[otherwise] = outcomes.either(wanted[otherwise], outcomes.choose(is_true, FALSE, guard))
        likely = outcomes.probability(guard)
        taken[position] = outcomes.probability(with_then) / likely if likely else 0.0
    demanded = tuple(outcomes.probability(guard) for guard in wanted)
    calls: list[tuple[int, float]] = []
    any_of = FALSE
    for position in _by_rarity(flow, demanded):
        any_of = outcomes.either(any_of, wanted[position])
        calls.append((position, outcomes.probability(any_of)))
    return Guards(demanded, taken, tuple(calls), exact=True)


def _estimate(flow: Flow) -> Guards:
    demanded = [0.0] * len(flow.nodes)
    demanded[flow.result] = 1.0
    taken: dict[int, float] = {}

    def demand(position: int, likely: float) -> None:
        demanded[position] = min(1.0, demanded[position] + likely)

    for position in range(flow.result, -1, -1):
        node, likely = flow.nodes[position], demanded[position]
        if isinstance(node.operation, Select):
            condition, then, otherwise = node.operation.condition, node.operation.then, node.operation.otherwise
            taken[position] = EVEN if node.share is None else node.share
            demand(condition, likely)
            demand(then, likely * taken[position])
            demand(otherwise, likely * (1.0 - taken[position]))
        else:
            for needed in set(inputs(node.operation)):
                demand(needed, likely)
    calls: list[tuple[int, float]] = []
    for position in _by_rarity(flow, demanded):
        calls.append((position, min(1.0, demanded[position] + (calls[-1][1] if calls else 0.0))))
    return Guards(tuple(demanded), taken, tuple(calls), exact=False)


def _by_rarity(flow: Flow, demanded: Sequence[float]) -> list[int]:
    calls = (at for at, node in enumerate(flow.nodes) if isinstance(node.operation, Call) and demanded[at] > 0.0)
    return sorted(calls, key=lambda at: (demanded[at], at))
