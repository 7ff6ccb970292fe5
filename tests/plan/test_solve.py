"""How the ends of HiGHS's runs are read: what was found, what is proven, and how far from the best it may be."""

from random import Random

import pytest

from harmonia_compiler.plan.solve import INFINITY, Program, Standing, Terms


def knapsack(items: int = 30) -> tuple[Program, Terms]:
    """Weights that nearly are their values, so that the first nodes prove nothing."""
    chance, program = Random(5), Program()
    weights = {program.column(high=1.0, whole=True): 1000.0 + chance.randrange(1000) for _ in range(items)}
    for _ in range(3):
        program.row({at: one + chance.randrange(100) for at, one in weights.items()}, high=sum(weights.values()) / 2)
    return program, {at: one + chance.randrange(50) for at, one in weights.items()}


def test_an_optimum_is_proven() -> None:
    program = Program()
    one, two = program.column(high=5.0, whole=True), program.column(high=5.0, whole=True)
    program.row({one: 2.0, two: 3.0}, high=12.5)
    found = program.solve({one: 2.0, two: 3.0}, maximise=True)
    assert (found.status, found.gap, found.objective, found.bound) == ("optimal", 0.0, 12.0, 12.0)
    assert found.reduced == ()


def test_a_search_that_ends_at_its_limit_says_how_far_the_best_may_be() -> None:
    program, worth = knapsack()
    best = program.solve(worth, maximise=True, gap=1e-3)
    ended = program.solve(worth, maximise=True, nodes=1)
    assert ended.status == "feasible"
    assert ended.found
    assert ended.bound >= best.objective
    assert best.objective >= ended.objective * (1 - 1e-12)
    assert ended.gap == pytest.approx((ended.bound - ended.objective) / ended.objective, rel=1e-6)
    assert ended.gap > 0.0
    assert len(ended.values) == 30


def test_a_search_that_ends_before_any_solution_knows_only_a_bound() -> None:
    """An equality that hardly any numbers satisfy."""
    chance, program = Random(7), Program()
    weights = {program.column(high=9.0, whole=True): float(chance.randrange(10_000, 99_999)) for _ in range(25)}
    program.row(weights, 2_345_678.0, 2_345_678.0)
    program.row({at: one % 977 for at, one in weights.items()}, 12_345.0, 12_345.0)
    ended = program.solve(dict.fromkeys(weights, 1.0), nodes=1)
    assert ended.status == "unknown"
    assert not ended.found
    assert ended.gap == INFINITY
    assert ended.bound >= 0.0
    assert ended.values == ()


def test_a_search_ends_at_its_target() -> None:
    program, worth = knapsack()
    half = program.solve(worth, maximise=True, whole=()).objective / 2
    found = program.solve(worth, maximise=True, target=half)
    assert found.found
    assert found.objective >= half


def test_what_contradicts_itself_is_infeasible() -> None:
    program = Program()
    one = program.column(high=5.0, whole=True)
    program.row({one: 2.0}, 1.0, 1.5)
    assert program.solve({one: 1.0}).status == "infeasible"
    assert program.solve({one: 1.0}, whole=()).status == "optimal"


def test_a_program_without_columns_is_as_true_as_its_rows() -> None:
    program = Program()
    program.row({}, high=1.0)
    assert program.solve({}).status == "optimal"
    program.row({}, low=1.0)
    assert program.solve({}).status == "infeasible"


def test_a_relaxation_has_the_price_of_every_column() -> None:
    """Of two columns of equal worth only the lighter is used: the other would cost what it takes away."""
    program = Program()
    light, heavy = program.column(whole=True), program.column(whole=True)
    program.row({light: 1.0, heavy: 2.0}, high=3.5)
    found = program.solve({light: 1.0, heavy: 1.0}, maximise=True, whole=())
    assert found.values == pytest.approx((3.5, 0.0))
    assert found.reduced == pytest.approx((0.0, -1.0))
    assert found.bound == found.objective


def test_bounds_hold_for_one_search_alone() -> None:
    program = Program()
    one = program.column(high=5.0, whole=True)
    assert program.solve({one: 1.0}, maximise=True, within={one: (0.0, 2.0)}).objective == 2.0
    assert program.solve({one: 1.0}, maximise=True).objective == 5.0


def test_a_standing_program_is_solved_as_changed() -> None:
    program = Program()
    one, two = program.column(), program.column()
    row = program.row({one: 1.0, two: 1.0}, low=1.0)
    standing = Standing(program, {one: 1.0, two: 2.0})
    assert standing.solve() == pytest.approx((1.0, 0.0))
    standing.weigh(one, 4.0)
    assert standing.solve() == pytest.approx((0.0, 1.0))
    standing.change(row, two, 0.25)
    assert standing.solve() == pytest.approx((1.0, 0.0))
