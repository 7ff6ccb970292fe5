"""How likely a choice takes an arm that needs a value and asks for it at once, by how often choices turn out which way.

What was begun early and nobody asks for when the choice is made is left, and begun anew if it is needed after all.
So a choice in an arm counts where it can be made at once or begins the value early itself, and what is handed to a
block where the block asks for it before anything else. What both arms of a choice need counts with both; of other ways
to a value the likeliest counts alone, since they may coincide. So a value may be needed more often than is said here,
and hardly less.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain

from harmonia_compiler.contract.program import Argument, Attempt, Operation, Repeat, Select
from harmonia_compiler.flow.bodies import reads_always
from harmonia_compiler.flow.demand import Demand
from harmonia_compiler.flow.graph import Flow

#: To so many digits shares are known: what adds up to a half is one.
_DIGITS = 9

#: How likely a node needs the values that it may need, by their positions.
_Likely = dict[int, float]


class Needed:
    """What the nodes of a flow need where requests demand of it what they are expected to, a body after the other."""

    def __init__(self, flow: Flow, demand: Demand) -> None:
        self._bodies = flow.bodies
        self._shares = {place: round(share, _DIGITS) for place, share in demand.shares_of().items()}
        # For each block that is done, how likely its first result needs the arguments, by their index.
        self._arguments: list[_Likely] = []

    def behind(
        self, choice: int, among: Iterable[int], known: Collection[int], early: Mapping[int, Iterable[int]]
    ) -> _Likely:
        """How likely a choice of the first body that is not done needs each of these values; none that it never does.

        When it is made, values are `known`, and choices before it begin others `early`.
        """
        return self._by_arms(choice, self._by_nodes(among, known, early))

    def done(self, early: Mapping[int, Iterable[int]]) -> None:
        """Go on to the next body: in this one choices begin values `early`."""
        body = self._bodies[len(self._arguments)]
        result = body.results[0]
        arguments: _Likely = {}
        for value, likely in self._by_nodes(range(result + 1), (), early)[result].items():
            operation = body.nodes[value].operation
            if isinstance(operation, Argument):
                arguments[operation.index] = likely
        self._arguments.append(arguments)

    def _by_nodes(
        self, among: Iterable[int], known: Collection[int], early: Mapping[int, Iterable[int]]
    ) -> dict[int, _Likely]:
        """How likely each of these nodes needs others of them, or is the one."""
        nodes = self._bodies[len(self._arguments)].nodes
        found: dict[int, _Likely] = {}
        for at in sorted(among):
            operation, likely = nodes[at].operation, {at: 1.0}
            ways = [found.get(one, {}) for one in reads_always(operation)]
            for one, share in self._handed(operation):
                ways.append({value: share * part for value, part in found.get(one, {}).items()})
            if isinstance(operation, Select):
                arms = self._by_arms(at, found)
                at_once = arms if operation.condition in known else {*chain(*(found.get(one, ()) for one in early[at]))}
                ways.append({value: part for value, part in arms.items() if value in at_once})
            for way in ways:
                for value, part in way.items():
                    likely[value] = max(part, likely.get(value, 0.0))
            found[at] = likely
        return found

    def _by_arms(self, choice: int, found: Mapping[int, _Likely]) -> _Likely:
        """How likely a choice takes an arm that needs what the nodes before it need so likely."""
        body = len(self._arguments)
        select, share = self._bodies[body].nodes[choice].operation, self._shares.get((body, choice))
        assert isinstance(select, Select)
        if share is None:
            return {}
        likely = {value: share * part for value, part in found.get(select.then, {}).items()}
        for value, part in found.get(select.otherwise, {}).items():
            likely[value] = likely.get(value, 0.0) + (1.0 - share) * part
        return likely

    def _handed(self, operation: Operation) -> Iterator[tuple[int, float]]:
        """What an operation hands to a block and the block needs so likely at once."""
        match operation:
            # A round that is the last in any case does not ask whether it is.
            case Repeat(block, given, limit=limit) if limit > 1:
                at_once = given
            case Attempt(block, given, awaits=awaits):
                at_once = awaits or given
            case _:
                return
        for argument, one in enumerate(given):
            if one in at_once:
                yield one, self._arguments[block].get(argument, 0.0)
