"""Shares of a running service's calls, from what was read of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.plan.replan import LEAST, Reading, Replan
from tests.examples import examples

TIMES = st.floats(0.001, 2.0)


def test_the_slow_replica_gets_fewer_calls() -> None:
    """One takes twice as long: two thirds and one third keep both busy for two thirds of 0.1 s, ten times a second."""
    found = Replan({"write": 2}).shares({"write": Reading(10.0, (0.1, 0.2))})
    assert found.by_engine["write"] == pytest.approx((2 / 3, 1 / 3))
    assert found.busy["write"] == pytest.approx(2 / 3)


def test_every_replica_stays_measured() -> None:
    found = Replan({"write": 2}).shares({"write": Reading(10.0, (0.001, 1000.0))})
    assert found.by_engine["write"][1] == pytest.approx(LEAST / 2)


def test_engines_are_no_matter_to_each_other() -> None:
    both = Replan({"read": 2, "write": 2})
    found = both.shares({"read": Reading(1.0, (0.1, 0.3)), "write": Reading(90.0, (0.1, 0.1))})
    assert found.by_engine["read"] == pytest.approx((0.75, 0.25))
    assert found.by_engine["write"] == pytest.approx((0.5, 0.5))


@examples(40)
@given(st.lists(st.tuples(TIMES, TIMES, TIMES, st.floats(0.1, 50.0)), min_size=2, max_size=5))
def test_a_program_that_stands_says_what_a_new_one_does(readings: list[tuple[float, float, float, float]]) -> None:
    standing = Replan({"a": 2, "b": 1})
    for one, other, alone, calls in readings:
        read = {"a": Reading(calls, (one, other)), "b": Reading(1.0, (alone,))}
        again, new = standing.shares(read), Replan({"a": 2, "b": 1}).shares(read)
        assert again.busy == pytest.approx(new.busy, rel=1e-6, abs=1e-9)
        assert sum(again.by_engine["a"]) == pytest.approx(1.0)
        # Balanced, but for what every replica gets at least.
        part = min(max(other / (one + other), LEAST / 2), 1 - LEAST / 2)
        assert again.by_engine["a"][0] == pytest.approx(part, rel=1e-5)
