"""What is known of one value that is told apart, and in which order what is said of such values is taken."""

import pytest

from harmonia_compiler.flow.apart import Pending, Told, next_turn
from harmonia_compiler.flow.asked import Asked, Below
from harmonia_compiler.flow.outcomes import FALSE, TRUE, Outcomes
from harmonia_compiler.flow.questions import Place
from harmonia_compiler.flow.values import Value


def _pending(
    name: str, needs: str = "", likely: float | None = 1.0, *, is_apart: bool = True, is_new: bool = True
) -> Pending:
    """Something said of a value, by one letter, or of a test of it, by one more; it rests on tests of others."""
    asked, *others = (Asked(ord(each[0]), (), each[1:]) for each in (name, *needs.split()))
    return Pending(asked, {Place(asked.position, ())}, {*others}, is_apart, likely, is_new)


ORDERS: dict[str, tuple[list[Pending], int]] = {
    "the fewest requests": ([_pending("g"), _pending("h", likely=0.5), _pending("i", likely=0.7)], 1),
    "of equal ones the first": ([_pending("g"), _pending("h")], 0),
    "of equal ones that of which something is said": ([_pending("g"), _pending("h", is_new=False)], 1),
    "not a value of whose requests some are not known": ([_pending("ga"), _pending("gb", "h", None), _pending("h")], 2),
    "what others need": ([_pending("ga"), _pending("ha", "g", None), _pending("h"), _pending("g", "h", None)], 2),
    "what is made of no value that is open": (
        [_pending("g"), _pending("g", "m", None), _pending("m", is_apart=False)],
        2,
    ),
    "not what is made of values that are open": ([_pending("g", is_apart=False), _pending("g")], 1),
    "the first where nothing is known": ([_pending("g", "h", None), _pending("h", "g", None)], 0),
}


@pytest.mark.parametrize("first", ORDERS)
def test_what_is_said_is_taken_in_turn(first: str) -> None:
    pending, number = ORDERS[first]
    assert next_turn(pending) == number


def test_parts_have_as_much_each_as_can_be() -> None:
    """Two of three parts are too small for an even share of what is due, or have more anyway."""
    outcomes = Outcomes(100)
    low, high = outcomes.outcome(0.5), outcomes.outcome(0.5)
    told = Told(outcomes, lambda: Value(outcomes, None, outcomes.outcome))
    first, second = outcomes.both(low, high), outcomes.both(low, outcomes.negate(high))
    told.say(Below(3.0), 0.1, first)
    told.say(Below(1.0), 0.9, second)
    told.say(Below(2.0), 0.5, TRUE)
    held = told.of(Below(2.0), 0.0)
    assert outcomes.probability(held) == pytest.approx(0.5)
    assert outcomes.probability(outcomes.both(first, held)) == pytest.approx(0.25 * 0.1)
    assert outcomes.probability(outcomes.both(second, held)) == pytest.approx(0.25 * 0.9)


def test_what_nothing_is_said_of_is_as_elsewhere() -> None:
    outcomes = Outcomes(100)
    some = outcomes.outcome(0.25)
    told = Told(outcomes, lambda: Value(outcomes, ["a", "b", "c"], outcomes.outcome))
    told.say("a", 0.8, some)
    assert told.so_far("a", FALSE) != told.so_far("a", TRUE)
    assert outcomes.probability(told.of("a", 0.1)) == pytest.approx(0.8)
    assert outcomes.probability(told.of("b", 0.1)) == pytest.approx(0.1)
    assert told.shares == pytest.approx({"a": 0.8, "b": 0.1})


def test_what_was_learnt_of_a_value_is_forgotten() -> None:
    outcomes = Outcomes(100)
    some = outcomes.outcome(0.5)
    told = Told(outcomes, lambda: Value(outcomes, ["a", "b", "c"], outcomes.outcome))
    told.say("a", 0.8, some)
    mark = outcomes.mark(), told.mark()
    told.say("a", 0.2, TRUE)
    told.of("b", 0.2)
    outcomes.back(mark[0])
    told.back(mark[1])
    assert not told.is_said("b")
    assert outcomes.probability(told.of("b", 0.1)) == pytest.approx(0.1)
    assert outcomes.probability(told.of("a", 0.0)) == pytest.approx(0.8)
