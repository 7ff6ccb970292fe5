"""Boolean functions of independent yes-or-no outcomes, with their probabilities.

Reduced ordered binary decision diagrams (Bryant 1986): equal functions are one number, so that what
is wanted on both sides of a branch is wanted for certain. A new outcome stands above all earlier
ones: a guard that grows inwards, branch by branch, then grows by one node each. Outcomes of one round of a loop
stand together: what comes of the rounds before a round is then a few functions, however many rounds there are.
"""

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import reduce
from itertools import product
from operator import or_

FALSE = 0
TRUE = 1

_Triple = tuple[int, int, int]

#: A group of outcomes and its part. The group stands where its first outcome does, and its parts by their numbers.
Among = tuple[int, int]

#: How high an outcome stands: the first of its group, its part, and its number.
_Height = tuple[int, int, int]
_LOWEST = (-1, -1, -1)

#: Functions of which one alone is true, and what requests weigh of which each is.
Weight = tuple[tuple[int, float], ...]

#: What is left of weights, by their numbers, and of a function.
_Left = tuple[tuple[int, Weight], ...]
_State = tuple[int, _Left]

#: How many outcomes, nodes, and entries of both kinds there are.
Mark = tuple[int, int, int, int]


class TooManyError(Exception):
    """The functions asked for take more nodes than the bound."""


class SpentError(Exception):
    """What is asked for takes more steps than there may be."""


class Steps:
    """How many steps may be taken in all, whatever of what they find is forgotten in between."""

    def __init__(self, most: float) -> None:
        self._left = most

    def take(self, many: int = 1) -> None:
        """Take some of them. Raises SpentError where none are left, and from then on."""
        self._left -= many
        if self._left < 0:
            raise SpentError


class Outcomes:
    """A shared store of functions; a function is the number of its node, FALSE or TRUE among them.

    `limit` is how large it may become. What it does takes some of the `steps`, or raises SpentError.
    """

    def __init__(self, limit: int, steps: Steps | None = None) -> None:
        self.steps = steps or Steps(math.inf)
        self._limit = limit
        self._level = [-1, -1]
        # How high the outcome of each node stands, and each outcome.
        self._height: list[_Height] = [_LOWEST, _LOWEST]
        self._heights: list[_Height] = []
        # Of each group the first outcome.
        self._groups: dict[int, int] = {}
        self._low = [FALSE, TRUE]
        self._high = [FALSE, TRUE]
        self._probability = [0.0, 1.0]
        self._shares: list[float] = []
        self._nodes: dict[_Triple, int] = {}
        self._chosen: dict[_Triple, int] = {}
        self._means: dict[_State, float] = {}

    def outcome(self, share: float, among: Among | None = None) -> int:
        """A new outcome that is true with this probability, alone or among those of a part of a group."""
        number = len(self._shares)
        first, part = (number, 0) if among is None else (self._groups.setdefault(among[0], number), among[1])
        self._heights.append((first, part, number))
        self._shares.append(share)
        return self._node(len(self._shares) - 1, FALSE, TRUE)

    def probability(self, function: int) -> float:
        """How likely the function is true."""
        return self._probability[function]

    def negate(self, function: int) -> int:
        """True where the function is not."""
        return self.choose(function, FALSE, TRUE)

    def both(self, one: int, other: int) -> int:
        """True where both are."""
        return self.choose(one, other, FALSE)

    def either(self, one: int, other: int) -> int:
        """True where at least one is."""
        return self.choose(one, TRUE, other)

    def choose(self, test: int, then: int, otherwise: int) -> int:
        """`then` where the test is true, `otherwise` where it is not. Iterative, since flows may be deep.

        Raises TooManyError beyond the bound.
        """
        wanted = (test, then, otherwise)
        agenda = [wanted]
        while agenda:
            self.steps.take()
            triple = agenda[-1]
            if self._known(triple) is not None:
                agenda.pop()
                continue
            level = self._highest(triple)
            below, above = self._sides(triple, level)
            low, high = self._known(below), self._known(above)
            if low is None or high is None:
                agenda += [side for side, found in ((below, low), (above, high)) if found is None]
                continue
            self._chosen[triple] = self._node(level, low, high)
            agenda.pop()
        found = self._known(wanted)
        assert found is not None
        return found

    def averaged(self, function: int, own: Container[int]) -> dict[float, int]:
        """How likely the function is over the outcomes at these levels, and when it is so likely.

        The keys are probabilities, the values functions of the other outcomes that exclude each other.
        """
        parts: dict[int, dict[float, int]] = {FALSE: {0.0: TRUE}, TRUE: {1.0: TRUE}}
        # A node's number is above those of the nodes below it.
        for node in sorted(self._below(function)):
            level = self._level[node]
            low, high = parts[self._low[node]], parts[self._high[node]]
            found: dict[float, int] = {}
            if level in own:
                share = self._shares[level]
                for (one, when_low), (other, when_high) in product(low.items(), high.items()):
                    both = self.both(when_low, when_high)
                    likely = one if one == other else share * other + (1.0 - share) * one
                    found[likely] = self.either(found.get(likely, FALSE), both)
            else:
                test = self._node(level, FALSE, TRUE)
                for likely in {**low, **high}:
                    found[likely] = self.choose(test, high.get(likely, FALSE), low.get(likely, FALSE))
            parts[node] = {likely: when for likely, when in found.items() if when != FALSE}
        return parts[function]

    def together(self, functions: Sequence[int], most: int) -> dict[tuple[int, ...], float]:
        """How likely which of some functions are true, as FALSE or TRUE for each.

        Of more than `most` combinations the least likely count as one, with what is true in either of them. Raises
        TooManyError beyond the bound.
        """
        found = {tuple(functions): 1.0}
        while (level := self._highest(one for ways in found for one in ways)) >= 0:
            sides: dict[tuple[int, ...], float] = {}
            for ways, likely in found.items():
                parts = ((self._low, 1.0 - self._shares[level]), (self._high, self._shares[level]))
                for side, share in parts:
                    then = tuple(side[one] if self._level[one] == level else one for one in ways)
                    if share > 0.0:
                        sides[then] = sides.get(then, 0.0) + share * likely
            while len(sides) > most:
                one, other = sorted(sides, key=lambda ways: (sides[ways], ways))[:2]
                likely = sides.pop(one) + sides.pop(other)
                either = tuple(map(self.either, one, other))
                sides[either] = sides.get(either, 0.0) + likely
            found = sides
        return found

    @property
    def shares(self) -> list[float]:
        """With which probability each outcome is true."""
        return [*self._shares]

    def give(self, shares: Sequence[float]) -> None:
        """Give all outcomes other probabilities."""
        self.steps.take(len(self._level))
        self._shares = [*shares]
        for node in range(2, len(self._level)):
            share = shares[self._level[node]]
            high, low = self._probability[self._high[node]], self._probability[self._low[node]]
            self._probability[node] = share * high + (1.0 - share) * low

    def slopes(self, function: int) -> dict[int, float]:
        """By how much the function's probability grows with that of each outcome, by its level."""
        found: dict[int, float] = {}
        reached = {function: 1.0}
        below = sorted(self._below(function), reverse=True)
        self.steps.take(len(below))
        for node in below:
            likely, level = reached[node], self._level[node]
            low, high = self._low[node], self._high[node]
            slope = self._probability[high] - self._probability[low]
            found[level] = found.get(level, 0.0) + likely * slope
            reached[high] = reached.get(high, 0.0) + likely * self._shares[level]
            reached[low] = reached.get(low, 0.0) + likely * (1.0 - self._shares[level])
        return found

    def gathered(self, known: list[int], of: Callable[[int], int]) -> list[int]:
        """For each function the bits of all levels that it rests on; those `known` stay as they are."""
        for node in range(len(known), len(self._level)):
            known.append(known[self._low[node]] | known[self._high[node]] | of(self._level[node]))
        return known

    def expected(self, function: int, weights: Mapping[int, Weight], rests_on: Sequence[int], steps: Steps) -> float:
        """How likely the function is where requests have weights, each of which comes to 1 by itself.

        `rests_on` says of each function, as bits, of which weights it rests on outcomes, and so do weights on others.
        Iterative, since flows may be deep.
        """
        (wanted, first), agenda = self._weighed(function, tuple(weights.items()), weights, rests_on), list[_State]()
        agenda.append(wanted)
        while agenda:
            state = agenda[-1]
            steps.take(1 + len(state[1]))
            if self._mean(state) is not None:
                agenda.pop()
                continue
            level = self._highest((state[0], *(part for _, each in state[1] for part, _ in each)))
            total, unknown = 0.0, list[_State]()
            for sides, share in ((self._low, 1.0 - self._shares[level]), (self._high, self._shares[level])):
                side, factor = self._weighed(*self._on(sides, level, state), weights, rests_on)
                if (mean := self._mean(side)) is None:
                    unknown.append(side)
                else:
                    total += share * factor * mean
            if unknown:
                agenda += unknown
            else:
                self._means[state] = total
                agenda.pop()
        return first * (self._mean(wanted) or 0.0)

    def _on(self, sides: Sequence[int], level: int, state: _State) -> _State:
        """What is left of a function and weights on one side of a level."""

        def side(one: int) -> int:
            return sides[one] if self._level[one] == level else one

        return side(state[0]), tuple(
            (number, tuple((side(part), weight) for part, weight in each)) for number, each in state[1]
        )

    def _weighed(
        self, function: int, left: _Left, weights: Mapping[int, Weight], rests_on: Sequence[int]
    ) -> tuple[_State, float]:
        """The same without weights that are settled, which come to a factor, and those that make no difference."""
        factor, begun = 1.0, list[tuple[int, Weight]]()
        asked = rests_on[function]
        for number, each in left:
            settled = next((weight for part, weight in each if part == TRUE), None)
            if settled is not None:
                factor *= settled
                continue
            begun.append((number, each))
            if each != weights[number]:
                asked |= reduce(or_, (rests_on[part] for part, _ in each))
        kept = ((number, each) for number, each in begun if each != weights[number] or asked >> number & 1)
        return (function, tuple(kept)), factor

    def _mean(self, state: _State) -> float | None:
        function, left = state
        return self._probability[function] if function == FALSE or not left else self._means.get(state)

    def _below(self, function: int) -> set[int]:
        """The nodes of a function, but for FALSE and TRUE."""
        seen = {function} - {FALSE, TRUE}
        agenda = [*seen]
        while agenda:
            node = agenda.pop()
            below = {self._low[node], self._high[node]} - seen - {FALSE, TRUE}
            seen |= below
            agenda += below
        return seen

    def mark(self) -> Mark:
        """How far the store is filled, for `back`."""
        return len(self._shares), len(self._level), len(self._nodes), len(self._chosen)

    def back(self, mark: Mark) -> None:
        """Forget all outcomes and functions that are new since a mark."""
        outcomes, nodes, *entries = mark
        del self._shares[outcomes:]
        del self._heights[outcomes:]
        self._groups = {group: first for group, first in self._groups.items() if first < outcomes}
        for of_nodes in (self._level, self._height, self._low, self._high, self._probability):
            del of_nodes[nodes:]
        # Dictionaries keep the order in which they were filled.
        for found, length in zip((self._nodes, self._chosen), entries, strict=True):
            while len(found) > length:
                found.popitem()

    @property
    def size(self) -> int:
        """How many nodes the functions have together."""
        return len(self._level)

    @property
    def count(self) -> int:
        """How many outcomes there are: the level of the next one."""
        return len(self._shares)

    def _highest(self, functions: Iterable[int]) -> int:
        """The level of the outcome that stands highest of those that some functions ask first; -1 if there is none."""
        return max((self._height[one] for one in functions), default=_LOWEST)[2]

    def _known(self, triple: _Triple) -> int | None:
        test, then, otherwise = triple
        if test == TRUE or then == otherwise:
            return then
        if test == FALSE:
            return otherwise
        if (then, otherwise) == (TRUE, FALSE):
            return test
        return self._chosen.get(triple)

    def _sides(self, triple: _Triple, level: int) -> tuple[_Triple, _Triple]:
        test, then, otherwise = triple
        low, high = self._low, self._high
        at = [self._level[function] == level for function in triple]
        return (
            (low[test] if at[0] else test, low[then] if at[1] else then, low[otherwise] if at[2] else otherwise),
            (high[test] if at[0] else test, high[then] if at[1] else then, high[otherwise] if at[2] else otherwise),
        )

    def _node(self, level: int, low: int, high: int) -> int:
        if low == high:
            return low
        key = (level, low, high)
        if key not in self._nodes:
            if len(self._level) >= self._limit or len(self._chosen) >= 4 * self._limit:
                raise TooManyError
            self._nodes[key] = len(self._level)
            self._level.append(level)
            self._height.append(self._heights[level])
            self._low.append(low)
            self._high.append(high)
            share = self._shares[level]
            self._probability.append(share * self._probability[high] + (1.0 - share) * self._probability[low])
        return self._nodes[key]
