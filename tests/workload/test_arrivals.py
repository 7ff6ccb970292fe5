"""Arrivals: the rates and spreads that are asked for, the same for the same seed, and what squeezing leaves."""

from collections import Counter
from itertools import islice, pairwise
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.workload.arrivals import (
    bursty,
    classed,
    compressed,
    constant,
    mean_rate_rps,
    multiplied,
    poisson,
    until,
    window,
)
from harmonia_compiler.workload.request import Arrival

MANY = 10_000


def gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in pairwise([0.0, *times])]


def recorded(*times: float) -> list[Arrival]:
    return [Arrival(at, prompt_tokens=number, session=f"s{number}") for number, at in enumerate(times)]


@pytest.mark.parametrize("rate", [0.02, 5.0, 400.0])
def test_poisson_has_its_rate_and_gaps_as_wide_as_their_mean(rate: float) -> None:
    found = gaps([one.at_ms for one in islice(poisson(rate, 1), MANY)])
    assert 1000.0 / fmean(found) == pytest.approx(rate, rel=0.03)
    assert pstdev(found) / fmean(found) == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("cv", [0.25, 1.0, 3.1])
def test_bursts_have_the_rate_and_the_spread_that_are_asked_for(cv: float) -> None:
    found = gaps([one.at_ms for one in islice(bursty(5.0, cv, 3), 3 * MANY)])
    # The mean of n gaps lies within 3 cv / √n of theirs, nearly always.
    assert 1000.0 / fmean(found) == pytest.approx(5.0, rel=3 * cv / (3 * MANY) ** 0.5)
    assert pstdev(found) / fmean(found) == pytest.approx(cv, rel=0.05)


def test_bursts_of_a_spread_of_1_are_as_poissons() -> None:
    """The part of an exponential's gaps that is below its mean is 1 - 1/e."""
    found = gaps([one.at_ms for one in islice(bursty(5.0, 1.0, 7), MANY)])
    assert sum(gap < 200.0 for gap in found) / MANY == pytest.approx(0.632, abs=0.015)


def test_constant_gaps_are_equal() -> None:
    assert [one.at_ms for one in islice(constant(4.0), 3)] == [250.0, 500.0, 750.0]


def test_a_seed_gives_the_same_arrivals_and_another_others() -> None:
    assert [*islice(bursty(5.0, 2.0, 1), 50)] == [*islice(bursty(5.0, 2.0, 1), 50)]
    assert [*islice(bursty(5.0, 2.0, 1), 50)] != [*islice(bursty(5.0, 2.0, 2), 50)]


def test_an_end_cuts() -> None:
    assert [one.at_ms for one in until(constant(4.0), 750.0)] == [250.0, 500.0]


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=20).map(sorted), st.floats(0.01, 1e4))
def test_compressing_multiplies_the_rate(times: list[float], factor: float) -> None:
    before, after = recorded(*times), [*compressed(recorded(*times), factor)]
    assert [one.session for one in after] == [one.session for one in before]
    rate = mean_rate_rps(before)
    if rate is not None and (faster := mean_rate_rps(after)) is not None and times[-1] - times[0] > 1e-3:
        assert faster == pytest.approx(rate * factor, rel=1e-6)


@given(st.lists(st.floats(0, 1e6), max_size=20).map(sorted), st.integers(0, 5))
def test_multiplying_by_a_whole_number_repeats_each_request(times: list[float], factor: int) -> None:
    found = multiplied(recorded(*times), factor, 1)
    assert [one.at_ms for one in found] == sorted(one.at_ms for one in found)
    assert Counter(one.prompt_tokens for one in found) == Counter([*range(len(times))] * factor)
    assert len({one.session for one in found}) == len(found)


@pytest.mark.parametrize("factor", [0.25, 1.5])
def test_multiplying_by_a_fraction_goes_by_chance(factor: float) -> None:
    whole = [*until(poisson(10.0, 1), 1_000_000.0)]
    found = multiplied(whole, factor, 1)
    assert len(found) / len(whole) == pytest.approx(factor, rel=0.05)
    assert [*multiplied(whole, factor, 1)] == found


def test_copies_come_after_a_gap_as_the_trace_has_between_requests() -> None:
    found = multiplied(recorded(*range(0, 2_000_000, 1000)), 3.0, 1)
    first = {one.session: one.at_ms for one in found if one.session is not None and "+" not in one.session}
    later = [one.at_ms - first[one.session.split("+")[0]] for one in found if one.session and "+" in one.session]
    assert len(later) == 4000
    assert min(later) > 0.0
    assert fmean(later) == pytest.approx(1000.0, rel=0.06)


def test_multiplying_leaves_rush_hours_where_they_are() -> None:
    quiet, busy = recorded(*range(0, 100_000, 1000)), recorded(*range(100_000, 110_000, 10))
    found = multiplied(quiet + busy, 4.0, 1)
    rush = [one for one in found if one.at_ms >= 100_000]
    assert len(rush) / len(found) == pytest.approx(len(busy) / (len(quiet) + len(busy)), abs=0.01)


def test_a_window_begins_at_0() -> None:
    found = [*window(recorded(0.0, 10.0, 20.0, 30.0), 10.0, 20.0)]
    assert [(one.at_ms, one.session) for one in found] == [(0.0, "s1"), (10.0, "s2")]
    assert [one.at_ms for one in window(recorded(0.0, 10.0, 20.0), 5.0)] == [5.0, 15.0]


def test_a_rate_needs_time() -> None:
    assert mean_rate_rps(recorded()) is None
    assert mean_rate_rps(recorded(3.0, 3.0)) is None
    assert mean_rate_rps(recorded(0.0, 500.0, 1000.0)) == 2.0


def test_classes_come_by_their_shares() -> None:
    found = [*classed(islice(constant(1.0), MANY), [("fast", 4.0), ("slow", 1.0)], 1)]
    assert sum(one.request_class == "fast" for one in found) / MANY == pytest.approx(0.8, abs=0.015)
    assert {one.request_class for one in found} == {"fast", "slow"}
    assert found == [*classed(islice(constant(1.0), MANY), [("fast", 4.0), ("slow", 1.0)], 1)]
