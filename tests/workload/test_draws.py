"""Random choices by key: uniform, independent of order, the same for the same key."""

import math
from itertools import product
from statistics import fmean, pstdev

import pytest

from harmonia_compiler.workload.draws import Draws, exponential, gamma, length, lognormal

MANY = 20_000


def test_a_choice_goes_by_its_key_alone() -> None:
    first, second = Draws(7), Draws(7)
    keys = [
        (request, component, path, what)
        for request, component, path, what in product(
            (1, 2, 11),
            ("grade", "answer"),
            ("", "1", "1/1", "11"),
            ("", "x"),
        )
    ]
    forwards = {key: first.of(*key[:3])(key[3]) for key in keys}
    backwards = {key: second.of(*key[:3])(key[3]) for key in reversed(keys)}
    assert forwards == backwards
    assert len(set(forwards.values())) == len(keys)
    assert Draws(8).of(1, "grade")("") != forwards[1, "grade", "", ""]


def test_choices_are_uniform_and_one_tells_nothing_of_another() -> None:
    draws = Draws(1)
    found = [draws.of(request, "grade")("") for request in range(MANY)]
    other = [draws.of(request, "grade")("other") for request in range(MANY)]
    assert all(0.0 <= one < 1.0 for one in found)
    in_tenths = [sum(tenth <= one * 10 < tenth + 1 for one in found) for tenth in range(10)]
    # Chi squared with 9 degrees of freedom passes 27.9 once in a thousand times.
    assert sum((count - MANY / 10) ** 2 / (MANY / 10) for count in in_tenths) < 27.9
    assert fmean((a - 0.5) * (b - 0.5) for a, b in zip(found, other, strict=True)) == pytest.approx(0.0, abs=0.003)


@pytest.mark.parametrize(("mean", "cv"), [(40.0, 0.5), (200.0, 1.0), (3.0, 0.1)])
def test_a_lognormal_has_the_mean_and_the_spread_that_are_asked_for(mean: float, cv: float) -> None:
    found = [lognormal((at + 0.5) / MANY, mean, cv) for at in range(MANY)]
    assert fmean(found) == pytest.approx(mean, rel=0.01)
    assert pstdev(found) / fmean(found) == pytest.approx(cv, rel=0.03)


def test_an_exponential_has_its_mean_as_its_spread() -> None:
    found = [exponential((at + 0.5) / MANY, 20.0) for at in range(MANY)]
    assert (fmean(found), pstdev(found)) == pytest.approx((20.0, 20.0), rel=0.01)


def test_the_ends_are_numbers() -> None:
    for uniform in (0.0, math.nextafter(1.0, 0.0)):
        assert math.isfinite(lognormal(uniform, 40.0, 0.5))
        assert math.isfinite(exponential(uniform, 40.0))
    assert lognormal(0.3, 0.0, 0.5) == 0.0
    assert lognormal(0.3, 5.0, 0.0) == 5.0


def test_a_length_is_whole_and_within_its_limits() -> None:
    found = [length((at + 0.5) / MANY, 40.0, 0.5, 64.0) for at in range(MANY)]
    assert (min(found) >= 1, max(found)) == (True, 64)
    assert length(0.0, 0.2, 0.5, 64.0) == 1


@pytest.mark.parametrize("cv", [0.0, 0.2, 0.5, 1.2])
@pytest.mark.parametrize("mean", [40, 60, 63])
@pytest.mark.parametrize("most", [64, 80, 1000, math.inf])
def test_lengths_have_the_mean_that_is_asked_for_however_many_are_cut(mean: float, cv: float, most: float) -> None:
    found = [length((at + 0.5) / 2_000, mean, cv, most) for at in range(2_000)]
    assert fmean(found) == pytest.approx(mean, rel=0.005)
    assert max(found) <= most


@pytest.mark.parametrize(("mean", "most"), [(64, 64), (80, 64)])
def test_lengths_of_the_most_that_there_may_be_are_all_so(mean: float, most: float) -> None:
    assert {length(at / 100, mean, 0.5, most) for at in range(100)} == {most}


@pytest.mark.parametrize("shape", [0.1, 0.5, 1.0, 4.0, 25.0])
def test_a_gamma_has_its_shape_as_its_mean_and_its_variance(shape: float) -> None:
    draws = Draws(5)
    found = [gamma(draws.of(number, "x"), shape) for number in range(MANY)]
    assert min(found) >= 0.0
    assert fmean(found) == pytest.approx(shape, rel=4 / math.sqrt(shape * MANY))
    assert pstdev(found) ** 2 == pytest.approx(shape, rel=0.1)
