"""Running figures: near the true ones, forgetful, and of bounded size."""

import random

import pytest

from harmonia_compiler.policy.quantile import MEMORY, Mean, Quantiles


@pytest.mark.parametrize("part", [0.05, 0.5, 0.9, 0.95])
def test_quantiles_are_near_those_of_the_values(part: float) -> None:
    rng = random.Random(3)
    values = [rng.lognormvariate(0.0, 0.5) for _ in range(20_000)]
    quantiles = Quantiles()
    for value in values:
        quantiles.add(value)
    newest = sorted(values[-3 * MEMORY :])
    assert quantiles.at(part) == pytest.approx(newest[int(part * len(newest))], rel=0.15)


def test_the_old_is_forgotten() -> None:
    quantiles = Quantiles()
    for _ in range(1000):
        quantiles.add(10.0)
    assert quantiles.at(0.5) == pytest.approx(10.0, rel=0.1)
    for _ in range(2 * MEMORY):
        quantiles.add(1.0)
    assert quantiles.at(0.5) == pytest.approx(1.0, rel=0.1)
    for _ in range(100 * MEMORY):
        quantiles.add(2.0)
    assert quantiles.at(0.99) == pytest.approx(2.0, rel=0.1)


def test_of_nothing_it_is_nothing_and_of_an_expected_value_that() -> None:
    assert Quantiles().at(0.9) == 0.0
    assert Quantiles(3.0, counts=5.0).at(0.9) == pytest.approx(3.0, rel=0.1)


def test_what_comes_beside_all_before_counts_as_well() -> None:
    quantiles = Quantiles()
    for value in (1.0, 0.01, 50.0):
        for _ in range(20):
            quantiles.add(value)
            # Asked in between, so that what was added up before is still at hand.
            assert 0.0 < quantiles.at(0.5) <= 60.0
    assert [quantiles.at(part) for part in (0.15, 0.5, 0.85)] == pytest.approx([0.01, 1.0, 50.0], rel=0.1)
    assert [quantiles.below(value) for value in (0.001, 0.1, 10.0, 1e4)] == pytest.approx(
        [0.0, 0.33, 0.65, 1.0], abs=0.04
    )


@pytest.mark.parametrize("value", [0.0, 1e-9, 1e9])
def test_what_is_out_of_range_is_at_its_edge(value: float) -> None:
    quantiles = Quantiles()
    quantiles.add(value)
    assert 0.0 <= quantiles.at(0.5) < 1e5


def test_a_mean_is_of_all_at_first_and_then_of_the_newest() -> None:
    mean = Mean()
    for value in (1.0, 2.0, 3.0):
        mean.add(value)
    assert mean.value == pytest.approx(2.0)
    for _ in range(20 * MEMORY):
        mean.add(7.0)
    assert mean.value == pytest.approx(7.0)
