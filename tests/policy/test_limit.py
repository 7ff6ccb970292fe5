"""How many requests may be under way: found where the most are in time, and kept from one burst to the next."""

import math
from statistics import NormalDist

import pytest

from harmonia_compiler.policy.limit import FEWEST, NEAR, Limit

#: How long requests take beside the usual one, in an order in which any few of them are mixed.
SPREAD = [1.0 + 0.4 * NormalDist().inv_cdf((number * 61 % 199 + 0.5) / 199) for number in range(199)]
MOST = 400


def parts(under_way: int, alone: float, each: float) -> list[float]:
    """Which part of its promise each request takes where so many are under way: `each` adds a little."""
    return [(alone + each * under_way) * spread for spread in SPREAD]


def in_time_a_second(under_way: int, alone: float, each: float) -> float:
    """How many are in time, by the time that a promise leaves."""
    taken = parts(under_way, alone, each)
    return under_way * sum(part < 1.0 for part in taken) / sum(min(1.0, part) for part in taken)


@pytest.mark.parametrize(
    ("alone", "each", "least"), [(0.2, 0.002, 0.92), (0.3, 0.003, 0.92), (0.45, 0.004, 0.75), (0.1, 0.02, 0.92)]
)
def test_nearly_the_most_that_can_be_are_in_time(alone: float, each: float, least: float) -> None:
    limit = Limit()
    for number in range(20_000):
        under_way = min(MOST, int(limit.most) if limit.most < math.inf else MOST)
        part = (alone + each * under_way) * SPREAD[number % len(SPREAD)]
        limit.ended(under_way, part)
    found = in_time_a_second(int(limit.most), alone, each)
    assert found >= least * max(in_time_a_second(under_way, alone, each) for under_way in range(1, MOST))


def test_there_is_no_limit_while_all_are_in_time() -> None:
    limit = Limit()
    for under_way in range(1000):
        limit.ended(under_way, 0.5)
    assert limit.most == math.inf


def limited() -> Limit:
    """A limit that was reached and is at rest."""
    limit = Limit()
    for number in range(5000):
        under_way = min(MOST, int(limit.most) if limit.most < math.inf else MOST)
        limit.ended(under_way, (0.2 + 0.002 * under_way) * SPREAD[number % len(SPREAD)])
    assert limit.most < MOST
    return limit


@pytest.mark.parametrize("part", [0.3, 1.0])
def test_what_happens_while_few_are_under_way_does_not_move_it(part: float) -> None:
    limit = limited()
    before = limit.most
    for _ in range(1000):
        limit.ended(int(NEAR * before) - 1, part)
    assert limit.most == before


def test_it_goes_up_where_those_at_it_have_time_left() -> None:
    limit = limited()
    before = limit.most
    for _ in range(1000):
        limit.ended(int(limit.most), 0.3)
    assert limit.most > 1.5 * before


def test_some_must_be_let_in_where_all_are_late() -> None:
    limit = Limit()
    for _ in range(int(FEWEST) + 10_000):
        limit.ended(1, 1.0)
    assert limit.most == 1.0
