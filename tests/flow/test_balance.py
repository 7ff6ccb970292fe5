"""Shares of outcomes at which all holds that is said: found together, or left as they were."""

import pytest

from harmonia_compiler.flow.balance import Equation, balance
from harmonia_compiler.flow.outcomes import TRUE, Outcomes

ALL = range(10)


def _two() -> tuple[Outcomes, int, int]:
    outcomes = Outcomes(100)
    return outcomes, outcomes.outcome(0.5), outcomes.outcome(0.5)


def test_statements_hold_together() -> None:
    outcomes, one, other = _two()
    both = outcomes.both(one, other)
    assert balance(
        outcomes,
        [
            Equation(TRUE, both, 0.3),
            Equation(outcomes.negate(both), outcomes.both(one, outcomes.negate(both)), 0.1 / 0.7),
        ],
        ALL,
    )
    assert outcomes.probability(one) == pytest.approx(0.4)
    assert outcomes.probability(other) == pytest.approx(0.75)
    assert outcomes.probability(outcomes.either(one, other)) == pytest.approx(0.4 + 0.75 - 0.3)


def test_what_holds_already_stays() -> None:
    outcomes, one, other = _two()
    assert balance(outcomes, [Equation(TRUE, outcomes.either(one, other), 0.75)], ALL)
    assert outcomes.shares == [0.5, 0.5]
    assert balance(outcomes, [], ALL)


@pytest.mark.parametrize("shares", [(0.2, 0.6), (0.2, 1.5)])
def test_what_cannot_hold_changes_nothing(shares: tuple[float, float]) -> None:
    outcomes, one, other = _two()
    equations = [Equation(TRUE, one, share) for share in shares]
    assert not balance(outcomes, [*equations, Equation(TRUE, other, 0.3)], ALL)
    assert outcomes.shares == [0.5, 0.5]
    assert outcomes.probability(outcomes.both(one, other)) == 0.25


def test_of_many_ways_the_nearest_one_is_found() -> None:
    outcomes, one, other = _two()
    assert balance(outcomes, [Equation(TRUE, outcomes.both(one, other), 0.36)], ALL)
    assert outcomes.shares == pytest.approx([0.6, 0.6])


def test_what_is_not_free_stays_as_it_is() -> None:
    outcomes, one, other = _two()
    equations = [Equation(TRUE, outcomes.both(one, other), 0.4), Equation(TRUE, other, 0.1)]
    assert balance(outcomes, equations, [0]), "what rests on nothing that is free is left out"
    assert outcomes.shares == pytest.approx([0.8, 0.5])


def test_what_is_sure_stays_so() -> None:
    outcomes = Outcomes(100)
    sure, other = outcomes.outcome(1.0), outcomes.outcome(0.5)
    assert balance(outcomes, [Equation(TRUE, outcomes.both(sure, other), 0.2)], ALL)
    assert outcomes.shares == pytest.approx([1.0, 0.2])


def test_slopes_are_by_how_much_a_probability_grows() -> None:
    outcomes = Outcomes(100)
    one, other, third = (outcomes.outcome(share) for share in (0.2, 0.5, 0.9))
    function = outcomes.choose(one, outcomes.either(other, third), outcomes.both(other, outcomes.negate(third)))
    slopes = outcomes.slopes(function)
    before = outcomes.probability(function)
    for level, share in enumerate(outcomes.shares):
        outcomes.give([share + 0.01 if each == level else other for each, other in enumerate(outcomes.shares)])
        assert outcomes.probability(function) - before == pytest.approx(0.01 * slopes[level])
        outcomes.give([0.2, 0.5, 0.9])


def test_what_begins_where_it_is_sure_moves_if_nothing_else_holds() -> None:
    outcomes = Outcomes(100)
    label, rest, other = outcomes.outcome(1.0), outcomes.outcome(0.0), outcomes.outcome(0.5)
    second = outcomes.both(outcomes.negate(label), rest)
    equations = [Equation(TRUE, outcomes.both(each, other), 0.25) for each in (label, second)]
    assert balance(outcomes, equations, ALL)
    assert [outcomes.probability(one.held) for one in equations] == pytest.approx([0.25, 0.25])


def test_nobody_is_kept_from_what_is_said() -> None:
    """Who never comes there is missed by nothing; yet the share is of somebody."""
    outcomes, one, other = _two()
    gate = outcomes.outcome(0.5)
    reached = outcomes.negate(gate)
    equations = [
        Equation(reached, outcomes.both(reached, outcomes.either(one, other)), 0.91),
        Equation(reached, outcomes.both(reached, outcomes.both(one, outcomes.negate(other))), 0.81),
    ]
    assert balance(outcomes, equations, ALL)
    assert outcomes.shares == pytest.approx([0.9, 0.1, 0.5])


def test_where_one_is_as_the_other_they_come_apart() -> None:
    outcomes, one, other = _two()
    equations = [Equation(TRUE, outcomes.both(one, other), 0.3), Equation(TRUE, outcomes.either(one, other), 0.95)]
    assert balance(outcomes, equations, ALL)
    assert [outcomes.probability(each.held) for each in equations] == pytest.approx([0.3, 0.95])


def test_a_step_too_far_leads_back() -> None:
    outcomes = Outcomes(100)
    one, other, third = (outcomes.outcome(share) for share in (0.3, 0.3, 0.4))
    both = outcomes.both(one, other)
    left = outcomes.negate(both)
    second = outcomes.both(left, outcomes.negate(third))
    left = outcomes.both(left, third)
    alone = outcomes.both(left, outcomes.both(one, outcomes.negate(other)))
    assert balance(
        outcomes, [Equation(TRUE, both, 0.09), Equation(TRUE, second, 0.546), Equation(TRUE, alone, 0.324)], ALL
    )
    assert outcomes.shares == pytest.approx([0.9, 0.1, 0.4])
