"""How likely the arms of a choice need a value, by how often choices are expected to turn out which way.

What both arms of one need counts with both; of other ways to a value the likeliest counts alone, since they may
coincide. What is handed to a block is needed as its result needs it, by a loop in its first round or, where it is the
same in all, in its last one. So a value may be needed more often than is said here, and hardly less.
"""

from collections.abc import Iterator, Sequence

from harmonia_compiler.contract.program import Argument, Attempt, Each, Output, Repeat, Select
from harmonia_compiler.flow.bodies import invariants, reads_always
from harmonia_compiler.flow.demand import Demand
from harmonia_compiler.flow.graph import Flow

#: To so many digits shares are known: what adds up to a half is one.
_DIGITS = 9


class Needed:
    """What the nodes of a flow need where requests demand of it what they are expected to."""

    def __init__(self, flow: Flow, demand: Demand) -> None:
        self._bodies = flow.bodies
        # Whether an attempt succeeds is a choice, too.
        self._shares = {place: round(share, _DIGITS) for place, share in demand.shares_of().items()}
        self._items = demand.items_of()
        self._found: dict[tuple[int, int], list[float]] = {}
        # For each block and each of its results, how likely that needs the arguments, by their index.
        self._arguments: list[list[dict[int, float]]] = []
        for body, block in enumerate(flow.blocks):
            needed: list[dict[int, float]] = [{} for _ in block.results]
            for at, node in enumerate(block.nodes):
                if isinstance(node.operation, Argument):
                    index, likely = node.operation.index, self._by_nodes(body, at)
                    for result, by_result in zip(block.results, needed, strict=True):
                        by_result[index] = max(likely[result], by_result.get(index, 0.0))
            self._arguments.append(needed)

    def behind(self, body: int, choice: int, value: int) -> float:
        """How likely a choice takes an arm that needs a value of its body; 0 where no request reaches it."""
        if (body, value) not in self._found:
            self._found[body, value] = self._by_nodes(body, value)
        return self._by_arms(body, choice, self._found[body, value])

    def _by_nodes(self, body: int, value: int) -> list[float]:
        """How likely each node of a body needs a value, or is the one."""
        nodes = self._bodies[body].nodes
        found = [0.0] * len(nodes)
        found[value] = 1.0
        for at in range(value + 1, len(nodes)):
            always = (found[one] for one in reads_always(nodes[at].operation))
            handed = (likely * found[one] for one, likely in self._handed(body, at))
            found[at] = max(*always, *handed, self._by_arms(body, at, found), 0.0)
        return found

    def _by_arms(self, body: int, at: int, found: Sequence[float]) -> float:
        """How likely a node takes an arm that needs what the nodes before it need so likely."""
        share = self._shares.get((body, at))
        match self._bodies[body].nodes[at].operation:
            case Select(_, then, otherwise) if share is not None:
                return share * found[then] + (1.0 - share) * found[otherwise]
            case Attempt(otherwise=int(otherwise)) if share is not None:
                return (1.0 - share) * found[otherwise]
            case _:
                return 0.0

    def _handed(self, body: int, at: int) -> Iterator[tuple[int, float]]:
        """What a node hands to a block, and how likely that needs it."""
        nodes, result, runs = self._bodies[body].nodes, 0, 1.0
        match runner := nodes[at].operation:
            case Repeat(_, given, _, limit):
                # A round that is the last in any case does not ask whether it is.
                handed = [*enumerate(given)] if limit > 1 else []
            case Output(repeat, index):
                runner, result = nodes[repeat].operation, 1 + index
                handed = invariants(runner)
            case Each(_, lists, given):
                runs, handed = min(1.0, self._items.get((body, at), 1.0)), [*enumerate((*lists, *given))]
            case Attempt(_, given):
                handed = [*enumerate(given)]
            case _:
                return
        assert isinstance(runner, Repeat | Each | Attempt)
        for argument, one in handed:
            yield one, runs * self._arguments[runner.block][result].get(argument, 0.0)
