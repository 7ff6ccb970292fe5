"""What measured cells decide: void ones nothing, and none is left out."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from bench.peers.judging import ATTEMPTS, Bisection, Stretch, alternated, compared, further, reasons, searched


@dataclass(frozen=True)
class Cell:
    violated: float = 0.0
    busy: float = 0.3
    late_ms: float = 1.0
    fullest: dict[str, float] = field(default_factory=lambda: {"engines": 0.3, "sender": 0.2})


VOID = Cell(busy=0.9)


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (Cell(), ()),
        (Cell(busy=0.61), ("this machine was 61% busy",)),
        # One full process is half of two cores.
        (Cell(busy=0.55, fullest={"ray": 1.0, "sender": 0.1}), ("a process of ray took 100% of a core",)),
        (Cell(late_ms=7.25), ("engines were 7.2 ms late",)),
    ],
)
def test_a_cell_is_void_by_the_machine_by_each_process_and_by_lateness(cell: Cell, why: tuple[str, ...]) -> None:
    assert reasons(cell) == why


def test_times_are_stretched_by_what_was_too_much() -> None:
    assert further(Cell(busy=0.5, fullest={"ray": 0.9})) == pytest.approx(0.9 / 0.6 * 1.1)
    assert further(Cell(late_ms=9.0)) == 1.25
    assert further(Cell(busy=0.5, fullest={"ray": 9.0})) == 3.0


def test_a_void_cell_is_repeated_at_a_larger_factor_which_all_later_ones_get() -> None:
    asked: list[tuple[float, int]] = []

    def measure(factor: float, attempt: int) -> Cell:
        asked.append((factor, attempt))
        return Cell(fullest={"ray": 6.0 / factor})

    stretch = Stretch(6.0)
    assert not reasons(stretch.settled(measure))
    assert asked == [(6.0, 1), (11.0, 2)]
    stretch.settled(measure)
    assert asked[2:] == [(11.0, 1)]


def test_what_stays_void_is_given_back_as_void() -> None:
    asked: list[float] = []

    def measure(factor: float, _attempt: int) -> Cell:
        asked.append(factor)
        return VOID

    assert Stretch(2.0).settled(measure) is VOID
    assert len(asked) == ATTEMPTS
    assert asked == sorted(set(asked))


def carries(most: float, void_from: float = float("inf")) -> Callable[[str, float], Cell]:
    return lambda _, rate: VOID if rate >= void_from else Cell(violated=0.0 if rate <= most else 0.5)


def test_the_highest_rate_is_found_within_a_step() -> None:
    (found,) = searched({"one": Bisection(0.0, 64.0, 7)}, carries(23.0)).values()
    assert 22.5 <= found.kept <= 23.0
    assert found.rate is None


@pytest.mark.parametrize("kept", [True, False])
def test_a_void_cell_moves_neither_bound(*, kept: bool) -> None:
    begun = Bisection(10.0, 30.0, 3, kept=10.0)
    ended = begun.after(Cell(violated=0.0 if kept else 1.0, busy=0.9))
    assert (ended.low, ended.high, ended.kept) == (10.0, 30.0, 10.0)
    assert ended.void == 20.0
    assert ended.rate is None
    assert "VOID at 20.0/s" in ended.describe()


@pytest.mark.parametrize("most", [0.9, 70.0])
def test_a_search_goes_on_beyond_bounds_that_were_wrong(most: float) -> None:
    (found,) = searched({"one": Bisection(4.0, 40.0, 3)}, carries(most)).values()
    assert 0.75 * most <= found.kept <= most
    assert most < found.missed


def test_a_search_ends_where_nothing_bounds_it_and_no_ratio_is_told() -> None:
    tried: list[float] = []

    def measure(_: str, rate: float) -> Cell:
        tried.append(rate)
        return Cell()

    (found,) = searched({"one": Bisection(4.0, 40.0, 3)}, measure).values()
    assert len(tried) == 3 + 3 * 2
    assert found.describe().startswith("at least ")
    ours = Bisection(10.0, 20.0, 0, kept=90.0, missed=100.0)
    assert compared({"harmonia": ours, "one": found})[-1].startswith("no ratio: one kept the promise")


def test_searches_take_turns_in_an_order_that_alternates() -> None:
    asked: list[str] = []

    def measure(name: str, rate: float) -> Cell:
        asked.append(name)
        return Cell(violated=0.0 if rate < 1.6 else 1.0)

    searched({name: Bisection(1.0, 2.0, 2) for name in "abc"}, measure)
    assert asked == [*"abc", *"cba"]
    assert alternated("abc", 2) == [*"abc"]


def test_the_ratio_counts_against_the_best_and_is_a_bound_or_nothing_where_cells_are_void() -> None:
    whole = {
        name: Bisection(rate, rate, 0, kept=rate, missed=2.0 * rate)
        for name, rate in (("harmonia", 40.0), ("a", 10.0), ("b", 20.0))
    }
    assert compared(whole)[-1] == "harmonia has 2.00 times the rate of b, the best of the others"
    # Ours with something left out is nobody else's.
    assert compared({**whole, "harmonia-without-slack": whole["harmonia"]})[-1].endswith("best of the others")
    assert "2.00 times the rate of b" in compared({**whole, "harmonia-without-slack": whole["harmonia"]})[-1]
    ours = Bisection(40.0, 80.0, 2, kept=40.0, missed=80.0, void=60.0)
    assert "at least 2.00 times" in compared({**whole, "harmonia": ours})[-1]
    theirs = Bisection(10.0, 80.0, 2, kept=10.0, missed=80.0, void=45.0)
    assert compared({**whole, "a": theirs})[-1] == "no ratio: this machine was the limit of a"
