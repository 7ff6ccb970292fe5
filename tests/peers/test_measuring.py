"""Which cells a command comes to, and how long they take."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.peers.ablation import ABLATIONS
from bench.peers.cells import Cell
from bench.peers.measuring import USUAL_BESIDE_S, cells, find, lasting_s
from bench.peers.predicting import bound_rps
from bench.peers.record import add_cells, beside_s
from bench.peers.systems import Set, System, Systems, planned_rps
from bench.pipelines import planned
from harmonia_compiler.emulate.scenario import Scenario
from tests.peers.test_results import cell


def asked(**given: object) -> argparse.Namespace:
    usual = {"rates": [], "find": False, "steps": 4, "repeats": 3, "loads": [1.0, 2.0], "seconds": 60.0, "factor": 2.0}
    return argparse.Namespace(**{**usual, "ablate": None, "full": None, **given})


def test_rates_are_a_cell_for_each_system_and_a_search_its_steps_and_what_follows() -> None:
    assert cells(3, asked(rates=[6.0, 9.0])) == 6
    # Four steps, two more seeds and one without load for each; two loads for ours and the best of the others, of which
    # the first is what that one was found at.
    assert cells(3, asked(find=True)) == 3 * (4 + 2 + 1) + 2 * 2 - 1
    assert cells(1, asked(ablate=[1.2, 1.5], full=1.2)) == 2 * (len(ABLATIONS) + 1) + 3


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
    assert lasting_s([], asked(full=1.2), {}) == pytest.approx(3 * (160.0 + USUAL_BESIDE_S))


def test_a_capacity_is_what_all_seeds_keep_and_loads_are_multiples_of_it() -> None:
    """The other one keeps more with the first seed than with the others."""
    given, measured = asked(find=True, steps=3, loads=[1.0, 2.0], seed=1), list[tuple[str, float, int]]()

    def at(name: str, rate: float, seed: int = 1) -> Cell:
        measured.append((name, rate, seed))
        most = 40.0 if name == "harmonia" else 11.8 if seed == 1 else 10.5
        return cell(name, rate, 0.0 if rate <= most else 0.5, seed=seed)

    def system(name: str, low: float, high: float) -> System:
        return System(name, "", None, (), lambda _: Set((), None), lambda: (low, high))  # type: ignore[arg-type]

    find({"harmonia": system("harmonia", 20.0, 60.0), "other": system("other", 8.0, 16.0)}, at, given)
    tried = {rate for name, rate, seed in measured if (name, seed) == ("other", 1)}
    # With seed 1 alone it would be this; the next lower one that was tried counts.
    first = max(rate for rate in tried if rate <= 11.8)
    assert ("other", first, 2) in measured
    capacity = max(rate for rate in tried if rate < first and rate > 4.0)
    assert sorted(measured[-4:]) == [
        ("harmonia", capacity, 1),
        ("harmonia", 2.0 * capacity, 1),
        ("other", capacity, 1),
        ("other", 2.0 * capacity, 1),
    ]


@pytest.mark.parametrize("name", ["crag", "vanilla"])
def test_no_plan_is_said_to_carry_more_than_its_relaxation(name: str, plans: Callable[[str], Scenario]) -> None:
    given = plans(name)
    assert planned_rps(given) <= bound_rps(given) * (1.0 + 1e-6) <= 1.5 * planned_rps(given)
