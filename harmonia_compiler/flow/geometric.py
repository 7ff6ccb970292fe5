"""Rounds of loops that are left together: how many a request has, and how the last of them ends.

One copy of the block stands for all of them. Each round ends the loop as often as the copy's test says, whether by a
return or by `until`, so that their number is geometric, cut at the limit. What is in the copy runs so often. To what is
outside of it, it is the last round: one that ends the loop, unless the limit does. So outcomes of the copy have weights
there: of n rounds that each go on in a share c of the requests, those that end the loop weigh (1 - c^n) / (1 - c), and
those that go on c^(n - 1).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from operator import or_

from harmonia_compiler.contract.program import Constant, Select
from harmonia_compiler.flow.asked import Asked
from harmonia_compiler.flow.bits import bits
from harmonia_compiler.flow.conditions import Conditions
from harmonia_compiler.flow.expand import NEGLIGIBLE, Expanded, Several, likely_rounds
from harmonia_compiler.flow.outcomes import FALSE, TRUE, Outcomes, Steps, Weight
from harmonia_compiler.flow.questions import Questions

#: In so many steps at most it is found how likely functions are by those weights.
_MOST_STEPS = 500_000


class Rounds:
    """The rounds of a flow that are left together, numbered; `wanted` says when each of its nodes is demanded.

    Sets of them are bits.
    """

    def __init__(self, expanded: Expanded, outcomes: Outcomes, conditions: Conditions, wanted: Sequence[int]) -> None:
        self._expanded = expanded
        self._outcomes = outcomes
        self._conditions = conditions
        self._wanted = wanted
        self._inside = _inside(expanded, lambda one: (one.copy,))
        self._steps = Steps(_MOST_STEPS)
        # For each function, whose outcomes it rests on.
        self._asked = [0, 0]
        self._levels = [0, 0]
        # For each copy of a body, the outcomes that it rests on what of it is demanded.
        self._rest_on = [0] * len(expanded.around)
        for copy, guard in zip(expanded.copies if expanded.several else (), wanted, strict=bool(expanded.several)):
            self._rest_on[copy] |= self._levels_of(guard)
        #: Whether one round stands for all of them wherever they are left together.
        self.are_alike = True
        self._weights: list[Weight] = []
        self._times: list[float] = []
        for number, one in enumerate(expanded.several):
            self._weigh(number, one)

    def likely(self, position: int, guard: int) -> float:
        """How likely a guard of a node is."""
        inside = self._inside[self._expanded.copies[position]]
        if not self._expanded.several:
            return self._outcomes.probability(guard)
        rests_on = self._outcomes.gathered(self._asked, self._own)
        weights = {number: self._weights[number] for number in bits(rests_on[guard] & ~inside)}
        return min(1.0, max(0.0, self._outcomes.expected(guard, weights, rests_on, self._steps)))

    def runs(self) -> tuple[float, ...]:
        """How often each node is expected to run, one time after the other, for each that it is reached."""
        found: list[float] = []
        for rounds, copy in zip(self._expanded.rounds, self._expanded.copies, strict=True):
            times = rounds
            for number in bits(self._inside[copy]):
                one = self._expanded.several[number]
                times *= self._times[number] / likely_rounds(one.share, one.rounds)
            found.append(times)
        return tuple(found)

    def look(self, questions: Questions) -> None:
        """See whether a round asks what the one before has made, so that one does not stand for all of them.

        Nor does it where something outside of the items of a list asks what the last round for one of them has made.
        """
        expanded, before = self._expanded, _inside(self._expanded, lambda one: one.before)
        probability, several = self._outcomes.probability, expanded.several
        matter = sum(1 << at for at, one in enumerate(several) if probability(self._wanted[one.test]) > NEGLIGIBLE)
        of_items = sum(1 << at for at, one in enumerate(expanded.several) if expanded.scopes[one.test])
        for at, node in enumerate(expanded.flow.nodes if expanded.several else ()):
            if isinstance(node.operation, Select) and self._wanted[at] != FALSE:
                here = self._inside[expanded.copies[at]]
                for place in questions.places(Asked(node.operation.condition)):
                    if isinstance(expanded.flow.nodes[place.position].operation, Constant):
                        continue
                    made = expanded.copies[place.position]
                    self.are_alike &= not matter & (here & before[made] | self._inside[made] & ~here & of_items)

    def _weigh(self, number: int, one: Several) -> None:
        """Find the weight of some rounds, by how often one of them ends the loop."""
        outcomes, reached = self._outcomes, self._wanted[one.test]
        times, weight = likely_rounds(one.share, one.rounds), list[tuple[int, float]]()
        if reached != FALSE and not self._expanded.scopes[one.test]:
            ends = self._conditions.is_last(one, reached)
            levels = [*bits(self._levels_of(ends))]
            matters = outcomes.probability(reached) > NEGLIGIBLE
            self.are_alike &= not matters or all(self._own(level) >> number & 1 for level in levels)
            share = self.likely(one.test, ends)
            times, goes_on = likely_rounds(share, one.rounds), (1.0 - share) ** (one.rounds - 1)
            # What nothing outside of them rests on needs no weight of its own.
            outside = reduce(or_, (each for at, each in enumerate(self._rest_on) if not self._inside[at] >> number & 1))
            inside = self._inside[one.copy]
            unasked = {level for level in levels if not outside >> level & 1 and self._own(level) == inside}
            for part, when in outcomes.averaged(ends, unasked).items():
                weight.append((when, part * times + (1.0 - part) * goes_on))
        self._weights.append(tuple(weight) or ((TRUE, 1.0),))
        self._times.append(times)

    def _levels_of(self, function: int) -> int:
        """The outcomes that a function rests on, as bits."""
        return self._outcomes.gathered(self._levels, lambda level: 1 << level)[function]

    def _own(self, level: int) -> int:
        """The rounds that an outcome is of."""
        place = self._conditions.places.get(level)
        return 0 if place is None else self._inside[self._expanded.copies[place.position]]


def _inside(expanded: Expanded, copies: Callable[[Several], Iterable[int]]) -> list[int]:
    """For each copy of a body the rounds of which some `copies` have it in them."""
    of: dict[int, int] = {}
    for number, one in enumerate(expanded.several):
        for copy in copies(one):
            of[copy] = of.get(copy, 0) | 1 << number
    found: list[int] = []
    for copy, around in enumerate(expanded.around):
        found.append(of.get(copy, 0) | (found[around] if around >= 0 else 0))
    return found
