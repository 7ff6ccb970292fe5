"""When the tests of one value hold, as functions of outcomes: of labels one is true, and bounds follow each other."""

from bisect import bisect, insort
from collections.abc import Callable, Collection, Iterator

from harmonia_compiler.flow.asked import Test
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
        self._tests: dict[Test, int] = {}
        # The numbers among them, from the smallest on.
        self._bounds: list[float] = []
        # True where the value is none of the texts that it was compared with, and those that it may be besides.
        self._none = TRUE
        self._unseen = None if labels is None else set(labels)

    def __iter__(self) -> Iterator[tuple[Test, int]]:
        """The tests that it was put to, and when each holds."""
        return iter([*self._tests.items()])

    def knows(self, test: Test) -> bool:
        """Whether it is settled when the test holds."""
        if test in self._tests:
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
        self._bounds = sorted(each for each in tests if isinstance(each, float))

    def learn(self, test: Test, *, holds: bool) -> None:
        """A test has this answer."""
        if isinstance(test, float) and test not in self._tests:
            insort(self._bounds, test)
        self._tests[test] = TRUE if holds else FALSE
        if isinstance(test, str):
            if self._unseen is not None:
                self._unseen = set() if holds else self._unseen - {test}
            if holds or self._unseen == set():
                self._none = FALSE

    def test(self, test: Test, share: float, guard: int) -> int:
        """When a test holds: of those that the guard lets through in this share, if it is a new one.

        No more than what the guard lets through need be right; where what is known says when the test holds there,
        nothing is learnt of it.
        """
        if test not in self._tests:
            match test:
                case None:
                    self._tests[test] = self._new(share)
                case str() as text:
                    return self._text(text, share, guard)
                case bound:
                    return self._bound(bound, share, guard)
        return self._tests[test]

    def _bound(self, bound: float, share: float, guard: int) -> int:
        """It is less than a bound as soon as it is less than a smaller one, and only if it is below greater ones."""
        outcomes = self._outcomes
        at = bisect(self._bounds, bound)
        low = self._tests[self._bounds[at - 1]] if at else FALSE
        high = self._tests[self._bounds[at]] if at < len(self._bounds) else TRUE
        room = outcomes.choose(low, FALSE, high)
        within = outcomes.both(guard, room)
        if within == FALSE:
            return low
        is_it = self._new(left(outcomes, share, guard, outcomes.both(guard, low), within))
        self._tests[bound] = outcomes.either(low, outcomes.both(is_it, room))
        self._bounds.insert(at, bound)
        return self._tests[bound]

    def _text(self, text: str, share: float, guard: int) -> int:
        """Its share is that of the guard, taken from what other texts left."""
        outcomes = self._outcomes
        if self._unseen is not None and text not in self._unseen:
            return FALSE
        if self._unseen == {text}:
            self._unseen = set()
            self._tests[text], self._none = self._none, FALSE
            return self._tests[text]
        within = outcomes.both(guard, self._none)
        if within == FALSE:
            return FALSE
        if self._unseen is not None:
            self._unseen.discard(text)
        is_it = self._new(left(outcomes, share, guard, FALSE, within))
        self._tests[text] = outcomes.choose(is_it, self._none, FALSE)
        self._none = outcomes.choose(is_it, FALSE, self._none)
        return self._tests[text]
