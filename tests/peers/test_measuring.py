"""Which cells a command comes to, and how long they take."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.peers.measuring import USUAL_BESIDE_S, cells, lasting_s
from bench.peers.predicting import bound_rps
from bench.peers.record import add_cells, beside_s
from bench.peers.systems import Systems, planned_rps
from bench.pipelines import planned
from harmonia_compiler.emulate.scenario import Scenario
from tests.peers.test_results import cell


def asked(**given: object) -> argparse.Namespace:
    usual = {"rates": [], "find": False, "steps": 4, "repeats": 3, "loads": [1.0, 2.0], "seconds": 60.0, "factor": 2.0}
    return argparse.Namespace(**{**usual, **given})


def test_rates_are_a_cell_for_each_system_and_a_search_its_steps_and_what_follows() -> None:
    assert cells(3, asked(rates=[6.0, 9.0])) == 6
    # Four steps, three seeds and one without load for each; two loads for ours and the best of the others.
    assert cells(3, asked(find=True)) == 3 * (4 + 3 + 1) + 2 * 2


def test_the_length_is_by_the_record_where_it_knows_the_system(crag: Scenario, tmp_path: Path) -> None:
    found = Systems(crag, Path("python"), Path("haystack"), tmp_path, planned).named(["harmonia", "ray-auto"])
    # Ray's autoscaler is warmed up for two minutes, ours for twenty seconds: times two, and what stands beside.
    plain = (20.0 + 60.0 + 120.0 + 60.0) * 2.0
    assert lasting_s(found, asked(rates=[6.0]), {}) == pytest.approx(plain + 2 * USUAL_BESIDE_S)
    add_cells([cell("ray-auto", 6.0, 0.0, took_s=580.0), cell("ray-auto", 7.0, 0.0, took_s=680.0)], tmp_path)
    known = beside_s(tmp_path)
    assert known == {"ray-auto": pytest.approx(150.0)}
    assert lasting_s(found, asked(rates=[6.0]), known) == pytest.approx(plain + USUAL_BESIDE_S + 150.0)
    assert lasting_s([], asked(), {}) == 0.0


@pytest.mark.parametrize("name", ["crag", "vanilla"])
def test_no_plan_is_said_to_carry_more_than_its_relaxation(name: str, plans: Callable[[str], Scenario]) -> None:
    given = plans(name)
    assert planned_rps(given) <= bound_rps(given) * (1.0 + 1e-6) <= 1.5 * planned_rps(given)
