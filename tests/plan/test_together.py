"""Calls that are sent at once: how long a replica takes to answer all of them, and how much that varies."""

import math
import random
import statistics
from dataclasses import replace

import pytest

from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.plan.queueing import LATENCY_CV, own_ms, together_ms, together_spread
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import LEVELS


def option(batch: int, busy_ms: float, alone_ms: float, adds_ms: float | None = None) -> Option:
    times = {"a": (alone_ms,) * 8}
    adds = {} if adds_ms is None else {"a": adds_ms}
    return Option(
        Configuration(cores=1.0, memory_gib=1.0, batch=batch), {"a": busy_ms}, times, times, "stated", 1.0, adds
    )


@pytest.mark.parametrize(
    ("calls", "ms"),
    [
        # In a batch of four each further one adds ten, and a second batch begins when the first has ended.
        (0.5, 100.0),
        (1.0, 100.0),
        (2.0, 110.0),
        (4.0, 130.0),
        (5.0, 230.0),
        (8.0, 260.0),
        (9.0, 360.0),
    ],
)
def test_each_further_call_adds_its_own_part_to_a_batch(calls: float, ms: float) -> None:
    assert together_ms(calls, option(4, 32.5, 100.0), "a", 0) == pytest.approx(ms)
    # Nothing follows the first piece.
    assert together_ms(calls, option(4, 40.0, 100.0, adds_ms=10.0), "a", 0) == pytest.approx(ms)


def test_who_takes_one_at_a_time_takes_one_after_the_other() -> None:
    assert own_ms(option(1, 100.0, 100.0), "a") == 0.0
    assert together_ms(7.0, option(1, 100.0, 100.0), "a", 0) == pytest.approx(700.0)


@pytest.mark.parametrize("busy_ms", [25.0, 20.0])
def test_servers_that_share_nothing_add_nothing(busy_ms: float) -> None:
    """Nor do those that are said to be faster than that, as what was measured may be by a little."""
    assert own_ms(option(4, busy_ms, 100.0), "a") == 0.0


def test_a_single_call_waits_as_its_profile_says_and_several_as_a_list() -> None:
    one = replace(option(1, 100.0, 100.0), latency_ms={"a": tuple(100.0 + at for at in range(len(LEVELS)))})
    for at in range(len(LEVELS)):
        assert together_ms(1.0, one, "a", at) == pytest.approx(100.0 + at)
    assert together_ms(2.0, one, "a", 1) > 200.0 + 1.0


def test_of_many_not_all_are_late_together() -> None:
    one = option(1, 100.0, 100.0)
    assert together_spread(1.0, one, "a") == 1.0
    assert together_spread(16.0, one, "a") == pytest.approx(1 / 4)
    batched = together_spread(4.0, option(4, 32.5, 100.0), "a")
    assert batched == pytest.approx(math.sqrt(100.0**2 + 3 * 10.0**2) / 130.0)


@pytest.mark.parametrize(("calls", "times"), [(1.0, 1.0), (8.0, 1.76), (32.0, 2.38), (200.0, 3.25)])
def test_all_are_answered_once_the_longest_answer_is(calls: float, times: float) -> None:
    """Of lognormal lengths of this deviation the longest of eight is 1.76 times the mean, and so on."""
    made = replace(option(256, 40.0, 100.0, adds_ms=1.0), first_ms={"a": (20.0,) * 8})
    assert together_ms(calls, made, "a", 0) == pytest.approx(100.0 + 80.0 * (times - 1.0) + (calls - 1.0), abs=1.0)
    assert together_ms(calls, made, "a", 0, first=True) == pytest.approx(20.0 + calls - 1.0)
    rng = random.Random(3)
    variance = math.log(1.0 + LATENCY_CV**2)
    drawn = [
        max(rng.lognormvariate(-variance / 2, math.sqrt(variance)) for _ in range(int(calls))) for _ in range(4000)
    ]
    assert statistics.fmean(drawn) == pytest.approx(times, rel=0.05)
    spread = math.sqrt(statistics.variance(drawn)) / statistics.fmean(drawn) / LATENCY_CV
    assert together_spread(calls, replace(made, adds_ms={"a": 0.0}), "a") == pytest.approx(spread, rel=0.25)
