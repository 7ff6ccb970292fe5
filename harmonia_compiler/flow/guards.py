"""How likely each node of a flow is demanded, exactly for branches that are independent of each other.

A guard is the function of branch outcomes under which a node is demanded: the result always, what a
node reads under the node's guard, the arms of a `Select` under its guard and its condition.
`conditions.py` says which conditions are one outcome.

Inside an `Each` a guard is that of one item. What is outside is demanded as soon as any item demands
it: with k items that do so independently, each in a share p of the requests, in 1 - (1 - p)^k of them.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import NamedTuple

import msgspec

from harmonia_compiler.contract.program import Call, Select, inputs
from harmonia_compiler.flow.arms import OfArm, with_arms, without_arms
from harmonia_compiler.flow.asked import Test
from harmonia_compiler.flow.conditions import Conditions, Missed
from harmonia_compiler.flow.expand import Expanded, in_rounds, scopes_around
from harmonia_compiler.flow.geometric import Rounds
from harmonia_compiler.flow.graph import EVEN, Node
from harmonia_compiler.flow.outcomes import FALSE, TRUE, Outcomes, SpentError, Steps, TooManyError
from harmonia_compiler.flow.questions import Place, Questions

#: Nodes of decision diagrams for one flow; structured programs need a few for each branch.
LIMIT = 100_000

#: The same for what is said of one value, and for one condition, where all together are too much.
_LIMIT_ALONE = 2_000

#: How many steps may be taken to find the guards of one flow in all: by all conditions, by those that are made of few
#: others, and by each one alone.
_MOST_STEPS = 250_000, 100_000, 100_000

#: How many steps may be taken to see which of very many calls are sent together.
_MOST_STEPS_OF_PATHS = 100_000

#: Paths that are told apart, and of how many calls times branches, beyond which they are taken to be nested.
MOST_PATHS = 16
MOST_TOLD_APART = 5_000

#: How often the shares of arms are reckoned anew, each time by how often the tests before them hold; in the second half
#: of those turns all are heard. What is estimated is so once.
_MOST_TURNS = 8


class Path(NamedTuple):
    """The calls that a request sends, by position, and how likely one sends just those.

    Of the choices that are told apart, by position, it gives what they fall back on for those in `fallen`.
    """

    likely: float
    sent: frozenset[int]
    fallen: frozenset[int] = frozenset()


class Guards(msgspec.Struct, frozen=True):
    """The probabilities of one flow.

    `demanded[i]` is that of node i, for one item where it is inside an `Each`; `taken[i]`, for a
    `Select`, that of `then` once it is demanded. `paths` are the calls that requests send together, for
    any item, the most likely first; of more than MOST_PATHS the least likely count as one that sends what
    either does. In a flow of very many branches, who sends a rare call is taken to send all that are less rare.
    `rounds` are those of the expanded flow, by how often a round that is left together with others is the last.
    Where not `exact`, the flow branches beyond the bounds and the figures are estimates: each condition that is made of
    many others counts as one of its own, which holds as often as is said. Where that is too much as well, each branch
    is an outcome of its own but for those around it that ask about the same values, and demands from several places
    count as if they never coincided.
    `likely` is how often each test holds of what calls give and requests bring (`Conditions.likely`), `arms` what takes
    an arm behind silent ones (`Conditions.arms`), `missed` the shares that are not met (`Conditions.missed`), which may
    be since all `rests_on_guesses` (`Conditions.rest_on_guesses`).
    """

    demanded: tuple[float, ...]
    taken: dict[int, float]
    paths: tuple[Path, ...]
    exact: bool
    rounds: tuple[float, ...] = ()
    likely: Mapping[Place, Mapping[Test, float]] = msgspec.field(default_factory=dict)
    arms: Mapping[int, OfArm] = msgspec.field(default_factory=dict)
    missed: tuple[Missed, ...] = ()
    rests_on_guesses: bool = False


class Bounds:
    """How much may be done to find the guards of one flow, however often that is done.

    They are found by all conditions; where that is too much, by those that are made of few others, and else by each
    one alone: from then on, in this way.
    """

    def __init__(self) -> None:
        # Of each way that is left, whether all conditions are looked into, and how many steps.
        all_, few, alone = map(Steps, _MOST_STEPS)
        self._ways, self._alone = [(True, all_), (False, few)], alone

    def found(
        self,
        expanded: Expanded,
        questions: Questions,
        items: Sequence[float],
        limit: int,
        told_apart: Collection[int],
        *,
        as_written: bool = False,
    ) -> Guards:
        """The guards' probabilities, by diagrams of at most `limit` nodes."""
        while self._ways:
            is_exact, steps = self._ways[0]
            looked_into = questions if is_exact else questions.of_few
            try:
                joint = _Joint(expanded, looked_into, items, limit, steps, as_written=as_written)
                return joint.found(told_apart, exact=is_exact)
            except (TooManyError, SpentError):
                del self._ways[0]
        return _estimate(expanded, questions.of_few, items, self._alone)


def guards(
    expanded: Expanded,
    items: Sequence[float],
    limit: int = LIMIT,
    told_apart: Collection[int] = (),
    questions: Questions | None = None,
    bounds: Bounds | None = None,
) -> Guards:
    """The guards' probabilities, exact while the diagrams have at most `limit` nodes, and within the bounds.

    `items[s]` is how many items scope s is expected to have. Paths say of the choices to be `told_apart`, all outside
    of any scope, which of their values they take. `questions` are those of the flow, where they are known already.
    """
    bounds, questions, heard = bounds or Bounds(), questions or Questions(expanded), without_arms(expanded)
    found = bounds.found(heard, questions, items, limit, told_apart)
    for turn in range(_MOST_TURNS):
        is_exact = found.exact
        settled = with_arms(heard, found.arms, all_of_them=2 * turn >= _MOST_TURNS or not is_exact)
        if settled is heard:
            break
        heard = settled
        found = bounds.found(heard, questions, items, limit, told_apart)
        if not is_exact:
            break
    if found.missed and found.rests_on_guesses:
        # What is guessed of silent arms leaves no room for what is written of those behind them.
        found = bounds.found(heard, questions, items, limit, told_apart, as_written=True)
    return found


def _of_any(one: float, items: float) -> float:
    """How likely at least one of some items does what one does with this probability."""
    return one * items if items < 1.0 else 1.0 - (1.0 - one) ** items


class _Joint:
    """Guards as functions of the same outcomes."""

    def __init__(
        self,
        expanded: Expanded,
        questions: Questions,
        items: Sequence[float],
        limit: int,
        steps: Steps,
        *,
        as_written: bool,
    ) -> None:
        self._expanded = expanded
        self._items = items
        self._outcomes = Outcomes(limit, steps)
        self._questions = questions
        self._conditions = Conditions(expanded, questions, self._outcomes, limit, as_written=as_written)
        self._wanted = [FALSE] * len(expanded.flow.nodes)
        # For each node, when it is demanded from where, by the scope of what demands it.
        self._demands: list[dict[int, int]] = [{} for _ in expanded.flow.nodes]
        # That some item of a scope does what one does with a probability.
        self._any: dict[tuple[int, float], int] = {}
        self._rounds = in_rounds(expanded)
        # For each scope, the outcomes that differ from item to item.
        self._own: list[set[int]] = [set() for _ in expanded.items]

    def found(self, told_apart: Collection[int], *, exact: bool) -> Guards:
        """All that is to be known of them. Raises TooManyError and SpentError."""
        nodes, outcomes, wanted = self._expanded.flow.nodes, self._outcomes, self._wanted
        result = self._expanded.flow.result
        self._demands[result][0] = TRUE
        chosen: dict[int, int] = {}
        fallen: dict[int, int] = {}
        for position in range(result, -1, -1):
            guard, operation = self._guard(position), nodes[position].operation
            wanted[position] = guard
            if guard == FALSE:
                continue
            if not isinstance(operation, Select):
                for needed in inputs(operation):
                    self._want(needed, guard, position)
                continue
            is_true = self._condition(position, operation, guard)
            with_then = outcomes.both(guard, is_true)
            for needed in (operation.condition, *operation.early):
                self._want(needed, guard, position)
            self._want(operation.then, with_then, position)
            without = outcomes.choose(is_true, FALSE, guard)
            self._want(operation.otherwise, without, position)
            if position in told_apart:
                fallen[position] = without
            chosen[position] = with_then
        conditions = self._conditions
        told, arms = conditions.likely(), conditions.arms()
        rounds = Rounds(self._expanded, outcomes, conditions, wanted)
        rounds.look(self._questions)
        demanded = tuple(rounds.likely(at, guard) for at, guard in enumerate(wanted))
        taken = {at: rounds.likely(at, then) / demanded[at] if demanded[at] else 0.0 for at, then in chosen.items()}
        paths, exact = self._paths(demanded, fallen), exact and rounds.are_alike
        runs, missed = rounds.runs(), conditions.missed()
        return Guards(
            demanded,
            taken,
            paths,
            exact,
            runs,
            likely=told,
            arms=arms,
            missed=missed,
            rests_on_guesses=conditions.rest_on_guesses,
        )

    def _paths(self, demanded: Sequence[float], fallen: Mapping[int, int]) -> tuple[Path, ...]:
        outcomes = self._outcomes
        sent = {
            at: self._of_any({self._expanded.scopes[at]: self._wanted[at]}, 0)
            for at in _by_rarity(self._expanded, demanded)
        }
        differing = sorted({*sent.values(), *fallen.values()})
        if len(differing) * outcomes.count > MOST_TOLD_APART and fallen:
            return self._paths(demanded, {})
        if len(differing) * outcomes.count > MOST_TOLD_APART:
            return _nested(dict(zip(sent, self._any_so_far([*sent.values()]), strict=True)))
        together = outcomes.together(differing, MOST_PATHS)
        found: list[Path] = []
        for values, likely in together.items():
            is_true = {one for one, value in zip(differing, values, strict=True) if value == TRUE}
            calls, choices = (frozenset(at for at, one in each.items() if one in is_true) for each in (sent, fallen))
            found.append(Path(likely, calls, choices))
        return _likeliest(found)

    def _any_so_far(self, functions: Sequence[int]) -> list[float]:
        """How likely a function or one before it is true; where that is too much, as likely as the likeliest of those.

        No more functions are found behind it than there are steps for here: what is known of calls is worth more.
        """
        outcomes = self._outcomes
        outcomes.steps = Steps(_MOST_STEPS_OF_PATHS)
        try:
            return [*map(outcomes.probability, accumulate(functions, outcomes.either))]
        except (TooManyError, SpentError):
            return [*accumulate(map(outcomes.probability, functions), max)]

    def _condition(self, position: int, select: Select, guard: int) -> int:
        first = self._outcomes.count
        is_true = self._conditions.function(position, select.condition, guard)
        for outcome in range(first, self._outcomes.count):
            for scope in scopes_around(self._expanded, self._conditions.scopes[outcome]):
                self._own[scope].add(outcome)
        return is_true

    def _want(self, needed: int, guard: int, reader: int) -> None:
        demands, scope = self._demands[needed], _reading_scope(self._expanded, reader, needed)
        demands[scope] = self._outcomes.either(demands.get(scope, FALSE), guard)

    def _guard(self, position: int) -> int:
        """When a node is demanded: what is outside of a scope, as soon as any of its items demands it."""
        return self._of_any(self._demands[position], self._expanded.scopes[position])

    def _of_any(self, demands: dict[int, int], outside: int) -> int:
        demands = dict(demands)
        # A scope's number is above those around it, so that inner demands are gathered first.
        while (scope := max(demands, default=outside)) != outside:
            guard = self._of_any_item(demands.pop(scope), scope)
            parent = self._expanded.items[scope].parent
            demands[parent] = self._outcomes.either(demands.get(parent, FALSE), guard)
        return demands.get(outside, FALSE)

    def _of_any_item(self, guard: int, scope: int) -> int:
        """When any item of one scope has a guard of one item."""
        outcomes, items = self._outcomes, self._items[scope]
        found = FALSE
        for one, when in outcomes.averaged(guard, self._own[scope]).items():
            any_item = _of_any(one, items)
            if 0.0 < any_item < 1.0:
                key = (scope, one)
                if key not in self._any:
                    self._any[key] = self._outcome_outside(any_item, scope)
                found = outcomes.either(found, outcomes.both(when, self._any[key]))
            elif any_item:
                found = outcomes.either(found, when)
        return found

    def _outcome_outside(self, share: float, scope: int) -> int:
        """An outcome that is one for all items of the scope."""
        first = self._outcomes.count
        found = self._outcomes.outcome(share, self._rounds[self._expanded.items[scope].gather])
        for outer in scopes_around(self._expanded, self._expanded.items[scope].parent):
            self._own[outer].add(first)
        return found


def _estimate(expanded: Expanded, questions: Questions, items: Sequence[float], steps: Steps) -> Guards:
    try:
        conditions = Conditions(expanded, questions, Outcomes(_LIMIT_ALONE, steps), _LIMIT_ALONE)
    except (TooManyError, SpentError):
        # What is said of one value alone is too much.
        conditions = None
    nodes, scopes = expanded.flow.nodes, expanded.scopes
    demanded = [0.0] * len(nodes)
    demanded[expanded.flow.result] = 1.0
    taken: dict[int, float] = {}

    def of_any(likely: float, scope: int, outside: int) -> float:
        while scope != outside:
            around = demanded[expanded.items[scope].gather]
            one = min(1.0, likely / around) if around else 0.0
            likely = around * _of_any(one, items[scope])
            scope = expanded.items[scope].parent
        return likely

    def demand(position: int, likely: float, reader: int) -> None:
        likely = of_any(likely, _reading_scope(expanded, reader, position), scopes[position])
        demanded[position] = min(1.0, demanded[position] + likely)

    for position in range(expanded.flow.result, -1, -1):
        node, likely = nodes[position], demanded[position]
        if isinstance(node.operation, Select):
            condition, then, otherwise, early = msgspec.structs.astuple(node.operation)
            taken[position] = _estimated(conditions, position, node)
            for needed in {condition, *early}:
                demand(needed, likely, position)
            demand(then, likely * taken[position], position)
            demand(otherwise, likely * (1.0 - taken[position]), position)
        else:
            for needed in set(inputs(node.operation)):
                demand(needed, likely, position)
    arms: Mapping[int, OfArm] = {}
    if conditions is not None:
        with suppress(SpentError):
            arms = conditions.arms(are_alone=True)
    sent = _by_rarity(expanded, demanded)
    any_of = accumulate(of_any(demanded[at], scopes[at], 0) for at in sent)
    return Guards(
        tuple(demanded),
        taken,
        _nested({at: min(1.0, one) for at, one in zip(sent, any_of, strict=True)}),
        exact=False,
        rounds=expanded.rounds,
        likely={} if conditions is None else conditions.likely(),
        arms=arms,
    )


def _estimated(conditions: Conditions | None, position: int, node: Node) -> float:
    """How often a choice takes `then` where it is reached: as the table says, or else as the branch does."""
    assert isinstance(node.operation, Select)
    if conditions is not None:
        try:
            return conditions.estimate(position, node.operation.condition)
        except (TooManyError, SpentError):
            pass
    return EVEN if node.share is None else node.share


def _nested(sent: Mapping[int, float]) -> tuple[Path, ...]:
    """Paths of which each sends what the next one does and a rarer call more.

    Of calls from the rarest on it is said how likely a request sends that one or a rarer one.
    """
    calls, found, reached = [*sent], list[Path](), 0.0
    for number, likely in enumerate(sent.values()):
        if likely > reached:
            found.append(Path(likely - reached, frozenset(calls[number:])))
        reached = max(reached, likely)
    if reached < 1.0:
        found.append(Path(1.0 - reached, frozenset()))
    # Those of the rarest calls count as one.
    rare = max(1, len(found) - MOST_PATHS + 1)
    return _likeliest([Path(math.fsum(path.likely for path in found[:rare]), found[0].sent), *found[rare:]])


def _likeliest(paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(sorted(paths, key=lambda path: (-path.likely, sorted(path.sent), sorted(path.fallen))))


def _reading_scope(expanded: Expanded, reader: int, needed: int) -> int:
    """The scope that a node is read from: what gathers the results of all items reads that of each inside."""
    return max(expanded.scopes[reader], expanded.scopes[needed])


def _by_rarity(expanded: Expanded, demanded: Sequence[float]) -> list[int]:
    nodes = expanded.flow.nodes
    calls = (at for at, node in enumerate(nodes) if isinstance(node.operation, Call) and demanded[at] > 0.0)
    return sorted(calls, key=lambda at: (demanded[at], at))
