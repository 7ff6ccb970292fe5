"""Percentiles against the standard library's, rates and shares within a window, and how often intervals hold."""

import math
from statistics import quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.objective import Objective, bound_ms, parse_objectives
from harmonia_compiler.report.measures import Window, distribution, figures, percentile, within
from harmonia_compiler.report.observation import Outcome
from harmonia_compiler.workload.draws import Draws, exponential
from tests.report.made import seen

WINDOW = Window(1000.0, 3000.0)


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=50))
def test_percentiles_are_those_of_the_standard_library(values: list[float]) -> None:
    ordered = sorted(values)
    for number, expected in enumerate(quantiles(values, n=20, method="inclusive"), 1):
        assert percentile(ordered, number / 20) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert (percentile(ordered, 0.0), percentile(ordered, 1.0)) == (ordered[0], ordered[-1])


def test_one_value_is_all_its_percentiles() -> None:
    found = distribution([7.0])
    assert found is not None
    assert {found.mean, found.p50, found.p99, found.max} == {7.0}
    assert found.p95_within is None
    assert distribution([]) is None


def test_an_interval_holds_the_true_percentile_about_as_often_as_it_says() -> None:
    draws, true, runs = Draws(3), -10.0 * math.log(0.05), 100
    held = 0
    for run in range(runs):
        times = [exponential(draws.of(run, "x")(str(number)), 10.0) for number in range(2000)]
        half = within(times, 0.95)
        assert half is not None
        held += abs(percentile(sorted(times), 0.95) - true) <= half
    # 95 are expected, with a standard deviation of 2.
    assert held / runs == pytest.approx(0.95, abs=0.06)


def test_too_few_requests_have_no_interval() -> None:
    assert within([1.0] * 299, 0.95) is None
    assert within([1.0] * 300, 0.95) == 0.0


def test_an_interval_is_by_how_much_stretches_of_the_run_differ() -> None:
    """Five of 60 requests, of 1 to 5 ms: a deviation of the square root of 2.5, 2.776 of it over the root of 5."""
    half = within([1.0 + number // 60 for number in range(300)], 0.95)
    assert half == pytest.approx(2.776 / 2**0.5)


def test_rates_are_of_what_happens_in_the_window() -> None:
    observed = [
        seen(500.0, 100.0),  # warm-up, and over before the window
        seen(900.0, 200.0),  # warm-up that ends in the window: an answer, but no request of it
        seen(1500.0, 100.0, deadline_ms=50.0),  # answered, not in time
        seen(2000.0, 100.0, deadline_ms=100.0),
        seen(2900.0, 200.0),  # ends after the window
        seen(3000.0, 100.0),  # after the window
    ]
    found = figures(observed, WINDOW)
    assert (found.requests, found.offered_rps, found.throughput_rps, found.goodput_rps) == (3, 1.5, 1.5, 1.0)
    assert found.attainment == pytest.approx(2 / 3)
    assert found.latency is not None
    assert (found.latency.count, found.latency.max) == (3, 200.0)


def test_goodput_is_of_answers_that_end_in_the_window() -> None:
    observed = [
        seen(900.0, 200.0, deadline_ms=300.0),
        seen(1500.0, 100.0, deadline_ms=300.0),
        seen(2800.0, 250.0, deadline_ms=300.0),
        seen(2900.0, 250.0, deadline_ms=300.0),
    ]
    found = figures(observed[1:], WINDOW)
    assert (found.requests, found.attainment, found.goodput_rps) == (3, 1.0, 0.5)
    assert figures(observed[:2], WINDOW).goodput_rps == 1.0


def test_an_answer_without_a_first_text_keeps_no_promise_about_it() -> None:
    observed = [seen(1500.0, 10.0, first_ms=1505.0), seen(1600.0, 10.0)]
    (kept,) = figures(observed, WINDOW, parse_objectives("p50 ttft <= 8 ms")).kept
    assert (kept.share, kept.met) == (0.5, True)


@pytest.mark.parametrize(
    ("outcome", "first_ms", "share"),
    [
        (Outcome.OK, 1600.0, 1.0),
        (Outcome.LATE, 1600.0, 1.0),
        (Outcome.LATE, 1601.0, 0.0),
        (Outcome.LATE, None, 0.0),
        (Outcome.FAILED, 1600.0, 0.0),
        (Outcome.REFUSED, None, 0.0),
    ],
)
def test_a_first_text_in_time_keeps_its_bound_though_the_end_is_late(
    outcome: Outcome, first_ms: float | None, share: float
) -> None:
    """A class's deadline may end a request long before its pipeline's bound: it is not answered and keeps none."""
    observed = [seen(1500.0, 700.0, outcome, first_ms=first_ms)]
    ttft, latency = figures(observed, WINDOW, parse_objectives("p95 ttft <= 100 ms, p95 latency <= 1 s")).kept
    assert ttft.share == share
    assert latency.share == (outcome is Outcome.OK)


def test_every_way_to_end_is_counted_and_only_answers_are_good() -> None:
    outcomes = [Outcome.OK, Outcome.REFUSED, Outcome.REFUSED, Outcome.FAILED, Outcome.LATE, Outcome.CANCELLED]
    observed = [seen(1500.0, 10.0, outcome, reason="" if outcome is Outcome.OK else "x") for outcome in outcomes]
    found = figures(observed, WINDOW, [Objective("latency", 0.95, 1000.0)])
    assert found.outcomes == {"ok": 1, "refused": 2, "failed": 1, "late": 1, "cancelled": 1}
    # What was cut off by the end of the run counts neither way.
    assert found.attainment == 0.2
    assert [(kept.share, kept.met) for kept in found.kept] == [(0.2, False)]
    assert found.reasons == (("refused", "x", 2), ("cancelled", "x", 1), ("failed", "x", 1), ("late", "x", 1))


def test_what_was_cut_off_has_missed_a_promise_whose_time_had_passed_by_then() -> None:
    cut = [
        seen(1500.0, 900.0, Outcome.CANCELLED, ttft_deadline_ms=200.0),
        seen(1500.0, 900.0, Outcome.CANCELLED, ttft_deadline_ms=200.0, first_ms=1600.0),
        seen(1500.0, 100.0, Outcome.CANCELLED, ttft_deadline_ms=200.0),
        seen(1500.0, 300.0, ttft_deadline_ms=200.0, first_ms=1600.0),
    ]
    assert [one.is_open for one in cut] == [False, True, True, False]
    found = figures(cut, WINDOW, parse_objectives("p50 ttft <= 200 ms, p50 latency <= 1 s, p50 latency <= 400 ms"))
    assert found.attainment == 0.5
    assert [kept.share for kept in found.kept] == [0.5, 1.0, pytest.approx(1 / 3)]


def test_latency_counts_from_when_a_request_was_meant_to_be_sent() -> None:
    one = seen(1000.0, 500.0, sent_ms=1400.0, first_ms=1450.0, tokens_out=60, answer_tokens=6)
    assert (one.latency_ms, one.ttft_ms, one.token_ms) == (500.0, 450.0, 10.0)


@pytest.mark.parametrize(("first", "good"), [(None, False), (1100.0, True), (1101.0, False)])
def test_a_promise_about_the_first_text_needs_a_first_text(first: float | None, good: bool) -> None:  # noqa: FBT001
    assert seen(1000.0, 500.0, first_ms=first, ttft_deadline_ms=100.0).is_good is good


def test_an_objective_is_met_by_enough_requests() -> None:
    observed = [seen(1500.0, 10.0 * number, first_ms=1500.0 + number) for number in range(1, 21)]
    kept = figures(observed, WINDOW, parse_objectives("p95 latency <= 190 ms, p95 ttft <= 18 ms")).kept
    assert [(one.share, one.met) for one in kept] == [(0.95, True), (0.9, False)]


def test_nothing_observed_is_no_failure() -> None:
    found = figures([], WINDOW, parse_objectives("p95 latency <= 1 s"))
    assert (found.requests, found.attainment, found.latency, found.tokens_out_per_s) == (0, None, None, None)
    assert not found.kept[0].met


def test_tokens_are_counted_where_they_are_told() -> None:
    observed = [seen(1500.0, 10.0, tokens_in=100, tokens_out=8), seen(1600.0, 10.0)]
    found = figures(observed, WINDOW)
    assert (found.tokens_in_per_s, found.tokens_out_per_s) == (50.0, 4.0)


def test_objectives_are_written_as_in_a_pipeline() -> None:
    found = parse_objectives("p95 latency <= 4 s, p99.9 ttft < 800ms")
    assert found == (Objective("latency", 0.95, 4000.0), Objective("ttft", 0.999, 800.0))
    assert [one.describe() for one in found] == ["p95 latency <= 4 s", "p99.9 ttft <= 800 ms"]
    assert parse_objectives("p999 ttft <= 800 ms") == found[1:], "as the language writes it"
    assert (bound_ms(found, "latency"), bound_ms(found[1:], "latency")) == (4000.0, None)


def test_a_request_is_held_to_the_highest_quantile() -> None:
    assert bound_ms(parse_objectives("p50 latency <= 1 s, p99 latency <= 4 s"), "latency") == 4000.0


@pytest.mark.parametrize(
    "text", ["", "p95 latency", "p95 speed <= 4 s", "p95 latency <= 4", "p0 ttft <= 1 s", "latency"]
)
def test_what_is_no_objective_says_how_one_looks(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it like|no objective"):
        parse_objectives(text)
