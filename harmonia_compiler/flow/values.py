"""When the tests of one value hold, as functions of outcomes.

Of labels one is true. A number is below a bound as soon as it is below a smaller one, and is one number alone.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Iterator

from harmonia_compiler.flow.asked import Below, Exactly, Test
from harmonia_compiler.flow.outcomes import FALSE, TRUE, Outcomes


def left(outcomes: Outcomes, share: float, guard: int, held: int, rest: int) -> float:
    """How often what is asked next holds under `rest`, so that all holds in a share of the guard."""
    probability = outcomes.probability
    likely = probability(rest)
    return min(1.0, max(0.0, (share * probability(guard) - probability(held)) / likely)) if likely else 0.0


#: The tests that a value was put to, when it is none of its labels, and those that are unseen.
Known = tuple[dict[Test, int], int, set[str] | None]


class Value:
    """What is known of a value: of each test that it was put to, when it holds. The first share of a test holds.

    `labels` are those that it may be, None where they cannot be listed; `new` makes an outcome of a share.
    """

    def __init__(self, outcomes: Outcomes, labels: Collection[str] | None, new: Callable[[float], int]) -> None:
        self._outcomes = outcomes
        self._new = new
        self._labels = labels
        self._tests: dict[Test, int] = {}
        # The bounds among them, and the numbers, from the smallest on.
        self._bounds: list[Below] = []
        self._numbers: list[Exactly] = []
        # True where the value is none of what it was compared with, and the labels that it may be besides.
        self._none = TRUE
        self._unseen = None if labels is None else set(labels)

    def __iter__(self) -> Iterator[tuple[Test, int]]:
        """The tests that it was put to, and when each holds."""
        return iter([*self._tests.items()])

    def knows(self, test: Test) -> bool:
        """Whether it is settled when the test holds."""
        if test in self._tests or self._follows(test) is not None:
            return True
        return (
            isinstance(test, str) and self._unseen is not None and (test not in self._unseen or len(self._unseen) < 2)
        )

    def mark(self) -> Known:
        """What is known, for `back`."""
        return dict(self._tests), self._none, None if self._unseen is None else set(self._unseen)

    def back(self, mark: Known) -> None:
        """Know no more than at a mark."""
        tests, self._none, unseen = mark
        self._tests, self._unseen = dict(tests), None if unseen is None else set(unseen)
        self._bounds = sorted(each for each in tests if isinstance(each, Below))
        self._numbers = sorted(each for each in tests if isinstance(each, Exactly))

    def only(self, tests: Collection[Test]) -> "Value":
        """The value as far as some of the tests tell it that it was put to."""
        found = Value(self._outcomes, self._labels, self._new)
        for test, holds in self._tests.items():
            if test in tests:
                found._keep(test, holds)
                if found._unseen is not None and isinstance(test, str):
                    found._unseen.discard(test)
        return found

    def learn(self, test: Test, *, holds: bool) -> None:
        """A test has this answer."""
        self._keep(test, TRUE if holds else FALSE)
        if isinstance(test, str):
            if self._unseen is not None:
                self._unseen = set() if holds else self._unseen - {test}
            if self._unseen == set():
                self._none = FALSE

    def test(self, test: Test, share: float, guard: int) -> int:
        """When a test holds: of those that the guard lets through in this share, if it is a new one.

        No more than what the guard lets through need be right; where what is known says when the test holds there,
        nothing is learnt of it.
        """
        outcomes, (held, room) = self._outcomes, self.leaves(test)
        within = outcomes.both(guard, room)
        if within == FALSE:
            return held
        is_it = self._new(left(outcomes, share, guard, outcomes.both(guard, held), within))
        found = self._keep(test, outcomes.either(held, outcomes.both(is_it, room)))
        if self._unseen is not None and isinstance(test, str):
            self._unseen.discard(test)
        return found

    def guess(self, test: Test, share: float) -> int:
        """When a test holds of which nobody says anything: in this share of what is left, if it is a new one."""
        _, room = self.leaves(test)
        return self.test(test, share, room)

    def even(self, test: Test, share: float) -> float:
        """The share of what is left that a label has where each has as much, whichever is asked for first.

        Where that cannot be told, or is no label, it is the one given.
        """
        return 1.0 / len(self._unseen) if isinstance(test, str) and self._unseen and test in self._unseen else share

    def leaves(self, test: Test) -> tuple[int, int]:
        """When a test holds by what is known, and when else it may: never where that says all."""
        if (known := self._known(test)) is not None:
            return known, FALSE
        match test:
            case None:
                return FALSE, TRUE
            case str():
                return FALSE, self._none
            case Exactly():
                return FALSE, self._outcomes.both(self._between(*self._around(test)), self._none)
            case Below():
                return self._below(test)

    def _known(self, test: Test) -> int | None:
        """When a test holds, where what is known says so."""
        if test in self._tests:
            return self._tests[test]
        if (follows := self._follows(test)) is not None:
            return self._keep(test, follows)
        if isinstance(test, str) and self._unseen is not None:
            if test not in self._unseen:
                return FALSE
            if self._unseen == {test}:
                self._unseen = set()
                return self._keep(test, self._none)
        return None

    def _keep(self, test: Test, holds: int) -> int:
        """Know when a test holds."""
        if test not in self._tests:
            if isinstance(test, Below):
                insort(self._bounds, test)
            elif isinstance(test, Exactly):
                insort(self._numbers, test)
        self._tests[test] = holds
        if isinstance(test, str | Exactly):
            self._none = self._outcomes.choose(holds, FALSE, self._none)
        return holds

    def _follows(self, test: Test) -> int | None:
        """When a test of a number holds, where that follows: of a number and the two bounds around it two are known."""
        if not isinstance(test, Below | Exactly):
            return None
        low, high = self._around(test)
        if isinstance(test, Exactly):
            return self._between(low, high) if (low, high) == test else None
        if low is not None and (number := self._tests.get(Exactly(low, test))) is not None:
            return self._outcomes.either(self._tests[low], number)
        if high is not None and (number := self._tests.get(Exactly(test, high))) is not None:
            return self._outcomes.choose(number, FALSE, self._tests[high])
        return None

    def _around(self, test: Below | Exactly) -> tuple[Below | None, Below | None]:
        """The nearest bounds below and above a new test of a number."""
        low, high = (test, test) if isinstance(test, Below) else test
        below, above = bisect_right(self._bounds, low), bisect_left(self._bounds, high)
        return (
            self._bounds[below - 1] if below else None,
            self._bounds[above] if above < len(self._bounds) else None,
        )

    def _between(self, low: Below | None, high: Below | None) -> int:
        """When the value is not below one bound, but below another one."""
        below = FALSE if low is None else self._tests[low]
        return self._outcomes.choose(below, FALSE, TRUE if high is None else self._tests[high])

    def _below(self, bound: Below) -> tuple[int, int]:
        """It is below a bound as soon as it is below a smaller one, or a smaller number; and when else it may be."""
        outcomes = self._outcomes
        low, high = self._around(bound)
        held = FALSE if low is None else self._tests[low]
        first = 0 if low is None else bisect_left(self._numbers, low, key=_low)
        for number in self._numbers[first : bisect_left(self._numbers, bound, key=_low)]:
            held = outcomes.either(held, self._tests[number])
        return held, outcomes.both(self._between(low, high), self._none)


def _low(number: Exactly) -> Below:
    return number.low
