"""How soon a step of load is expected, and how little a burst is."""

from collections.abc import Iterable

import pytest

from harmonia_compiler.policy.control.forecast import Forecast
from tests.policy.control.virtual import CAPACITY_RPS, Service, plan_of

WINDOW_S = 5.0


def after(rates: Iterable[float], known: Forecast = Forecast()) -> Forecast:  # noqa: B008 - immutable
    """The forecast after windows at these rates."""
    for rate in rates:
        known = known.seen(rate, 1.0, WINDOW_S, 0.0)
    return known


@pytest.mark.parametrize("rate", [3.0, 20.0, 200.0, 5000.0])
@pytest.mark.parametrize("begins", [0.0, 0.1, 0.4, 0.7, 1.0])
def test_a_step_from_nothing_is_expected_after_its_second_whole_window(rate: float, begins: float) -> None:
    """It begins within a window, which has that part of it."""
    idle = after([0.0] * 10)
    known = after([begins * rate, rate, rate], idle)
    assert known.level is not None
    assert 0.8 * rate <= known.level <= rate
    assert 0.8 * rate <= known.rate(30.0, 0.0) <= 1.5 * rate
    assert after([rate, rate], idle).level == rate


@pytest.mark.parametrize("quiet", [0.0, 10.0])
def test_one_odd_window_is_hardly_believed(quiet: float) -> None:
    before = after([quiet] * 10)
    known = after([50.0], before)
    assert known.rate(30.0, 0.0) <= 1.25 * quiet + 0.1
    assert after([quiet] * 3, known).rate(30.0, 0.0) <= 1.15 * quiet + 0.1
    # Long after it, another one is as odd.
    assert after([*[quiet] * 10, 50.0], known).rate(30.0, 0.0) <= 1.25 * quiet + 0.1


def test_bursts_that_come_again_and_again_are_believed_in_part() -> None:
    levels = [after([1.0, *[20.0, 1.0] * count]).level or 0.0 for count in (1, 3, 10)]
    assert levels == sorted(levels)
    assert levels[0] < 1.5
    assert 0.6 * 10.5 < levels[-1] < 20.0


def test_a_step_is_served_by_as_many_as_it_needs_and_no_odd_window_by_more() -> None:
    service = Service(plan_of(1, 1, 40), lambda now: 200.0 if now > 150.0 else 0.0)
    service.windows(10)
    first = service.windows(1)
    assert first.replicas == {"llm": 1}
    assert "(200 in the last window, which is not believed alone)" in first.reasons[0].why
    counts = [service.windows(1).replicas["llm"] for _ in range(20)]
    assert counts[1] >= 200.0 / CAPACITY_RPS
    assert counts == sorted(counts), "none of them is taken back"
    assert max(counts) <= 1.5 * 200.0 / CAPACITY_RPS
    odd = Service(plan_of(2, 1, 40), lambda now: 200.0 if 150.0 < now <= 155.0 else 10.0)
    odd.windows(40)
    assert {one.replicas["llm"] for one in odd.decisions} == {2}
