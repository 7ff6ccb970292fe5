"""The record of cells and the document that is written from it."""

from pathlib import Path
from shutil import copytree

import msgspec
import pytest

from bench.peers.cells import Cell, Key
from bench.peers.predicting import Predicted
from bench.peers.record import DOCS, Cost, add_cells, keep_costs, keep_predicted, newest, predicted_of, read, row_of
from bench.peers.results import geometric, write

KEY = Key("crag", "eight", "harmonia", "its plan", "poisson", 40.0, 20.0, 60.0, 6.0, 1, "code", "subject", "")


def cell(system: str, rate: float, violated: float, **other: object) -> Cell:
    """A cell; what is named in its key goes there."""
    named = {name: other.pop(name) for name in tuple(other) if name in Key.__struct_fields__}
    key = msgspec.structs.replace(KEY, system=system, rate_rps=rate, **named)
    made = Cell(
        key, 1, 2400, violated, rate * (1.0 - violated), rate, 900.0, 2000.0, 2500.0, 90.0, 400.0, 950.0,
        tuple(10.0 * part for part in range(1, 100)),
        {"ok": 2300, "late": 100}, 0.09, 0.31, {"engines": 0.2, "sender": 0.45}, 1.25, (), "2 cores", "3.11", "0.1",
        {} if system == "harmonia" else {"ray": "2.5"}, "abc", "2026-01-01T00:00:00", 48.0, 50.0, 490.0,
    )  # fmt: skip
    return msgspec.structs.replace(made, **other)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cells").mkdir()
    return tmp_path


def keep(folder: Path, *cells: Cell) -> str:
    """The document once these were measured."""
    for one in cells:
        name = f"{'void-1-' if one.void else ''}{one.key.file}"
        (folder / "cells" / name).write_bytes(msgspec.json.encode(one))
    write(folder / "cells", folder)
    return (folder / "results.md").read_text()


def test_a_cell_is_a_row_with_all_of_it() -> None:
    row = row_of(cell("ray-best", 40.0, 0.125))
    assert row["violated"] == "0.125"
    assert row["outcomes"] == "late=100 ok=2300"
    assert row["fullest"] == "engines=0.2 sender=0.45"
    assert row["peers"] == "ray=2.5"
    assert {*Key.__struct_fields__, *Cell.__struct_fields__} - {"key"} == row.keys()


def test_rows_are_added_once(tmp_path: Path) -> None:
    one, other = cell("harmonia", 40.0, 0.0), cell("harmonia", 50.0, 0.2)
    add_cells([one], tmp_path)
    add_cells([one, other], tmp_path)
    assert [row["rate_rps"] for row in read(tmp_path / "cells.csv")] == ["40", "50"]


def test_what_older_code_came_to_is_in_the_record_and_not_in_the_document() -> None:
    old = cell("harmonia", 90.0, 0.0, code="old", at="2026-01-01T00:00:00")
    new = cell("harmonia", 40.0, 0.0, at="2026-01-02T00:00:00")
    (found,) = newest([row_of(old), row_of(new)])
    assert found.highest == 40.0


def test_a_rate_is_kept_where_every_seed_keeps_it_and_void_cells_say_nothing() -> None:
    cells = [
        cell("harmonia", 40.0, 0.01),
        cell("harmonia", 50.0, 0.01),
        cell("harmonia", 50.0, 0.2, seed=2),
        cell("harmonia", 60.0, 0.0, void=("this machine was 99% busy",)),
    ]
    (found,) = newest([*map(row_of, cells)])
    assert found.highest == 40.0
    assert found.void == 1


def test_the_document_has_each_system_the_ratio_and_the_void_cells(folder: Path) -> None:
    said = keep(
        folder,
        cell("harmonia", 40.0, 0.01),
        cell("harmonia", 20.0, 0.0),
        cell("ray-best", 20.0, 0.04),
        cell("ray-best", 40.0, 0.5),
        cell("langgraph-best", 30.0, 0.3, void=("busy",)),
    )
    ray = next(line for line in said.splitlines() if line.startswith("| ray-best | 20.0/s"))
    assert "| 2.00 | 38% | 4.0 % |  |" in ray
    assert "| langgraph-best | none shown |" in said
    assert "| ray-best | 40.0/s | 2.00 | 50.0% | 1.0% | 98.0% |" in said
    assert "![crag-eight.svg](results/crag-eight.svg)" in said
    assert (folder / "results" / "crag-eight.svg").read_text().count("<polyline") == 2
    said = keep(folder, cell("harmonia", 50.0, 0.2))
    assert "over the pipelines | 2.00 (crag 2.00); at most that, since no more" in said
    assert "is known of langgraph-best on crag | missed |" in said


def test_no_ratio_is_said_where_another_system_was_not_shown(folder: Path) -> None:
    said = keep(folder, cell("harmonia", 40.0, 0.01), cell("ray-best", 20.0, 0.5))
    assert "over the pipelines | not measured |  |" in said


def test_predictions_replace_those_of_the_same_pipeline(folder: Path) -> None:
    def rows(pipeline: str, ours: float) -> list[Predicted]:
        return [
            Predicted(pipeline, "eight", "harmonia", "its plan", ours, 60.0),
            Predicted(pipeline, "eight", "pool per model, best", "large=8", 25.0, 30.0, 20),
        ]

    for given in (rows("crag", 99.0), rows("vanilla", 25.0), rows("crag", 100.0)):
        keep_predicted(given, folder / "results", "new")
    said = keep(folder)
    assert [*map(predicted_of, read(folder / "results" / "predicted.csv"))] == [
        *rows("vanilla", 25.0),
        *rows("crag", 100.0),
    ]
    assert said.count("### crag on eight, simulated") == 1
    assert "| pool per model, best | 25.0/s | 30.0/s | 50% | 1 | 20 | large=8 |" in said
    assert "Harmonia by the best of the others: 4.00." in said
    assert "Geometric mean of these 2 ratios: 2.00." in said
    assert "Nothing that counts yet; void cells: 0." in said


def test_costs_are_means_over_turns_beside_ours(tmp_path: Path) -> None:
    rows = [Cost("harmonia", 3, turn, 900.0 + 200.0 * turn, 1.0, 500.0) for turn in range(2)]
    keep_costs([*rows, Cost("ray", 3, 0, 50.0, 20.0, 5000.0)], tmp_path / "results")
    write(None, tmp_path)
    said = (tmp_path / "results.md").read_text()
    assert "| harmonia | 3 | 1000/s | 1.00 ms | 500 µs |  |  |" in said
    assert "| ray | 3 | 50/s | 20.00 ms | 5000 µs | 20.0 | 10.0 |" in said


def test_the_document_in_this_repository_is_what_its_record_says(tmp_path: Path) -> None:
    copytree(DOCS / "results", tmp_path / "results")
    write(None, tmp_path)
    assert (tmp_path / "results.md").read_text() == (DOCS / "results.md").read_text()


def test_the_geometric_mean_is_of_ratios() -> None:
    assert geometric([1.0, 4.0]) == pytest.approx(2.0)


def test_the_papers_promise_is_twice_the_latency_without_load(folder: Path) -> None:
    """Percentiles of these cells are 10 ms apart: 600 ms are kept by sixty of a hundred."""
    said = keep(
        folder,
        cell("harmonia", 40.0, 0.01),
        cell("ray-best", 40.0, 0.02),
        cell("ray-best", 10.0, 0.0, mean_ms=300.0),
        cell("langgraph-best", 40.0, 0.02),
        cell("langgraph-best", 20.0, 0.0, mean_ms=300.0),
    )
    lines = [line for line in said.splitlines() if " 40.0/s | " in line]
    assert any(line.startswith("| ray-best |") and "| 2.0 % | 40% |" in line for line in lines)
    # Half of the highest rate is no low one.
    assert any(line.startswith("| langgraph-best |") and "| 2.0 % |  |" in line for line in lines)


def test_recorded_arrivals_are_told_apart(folder: Path) -> None:
    said = keep(folder, cell("harmonia", 40.0, 0.0), cell("harmonia", 10.0, 0.0, arrivals="azure 12ab"))
    assert "### crag on eight\n" in said
    assert "### crag on eight, azure 12ab\n" in said
    assert (folder / "results" / "crag-eight-azure-12ab.svg").is_file()


def test_where_nothing_was_simulated_the_ratio_is_of_what_keeps_gpus_busy(folder: Path) -> None:
    def row(way: str, busy: float) -> Predicted:
        return Predicted("crag", "eight", way, "", None, busy, seeds=0)

    rows = [row("harmonia", 60.0), row("pool per model, best", 75.0), row("any plan, nothing promised", 90.0)]
    keep_predicted(rows, folder / "results", "new")
    said = keep(folder)
    assert "| pool per model, best |  | 75.0/s | 125% | 0 |  |  |" in said
    assert "Harmonia by the best of the others, by what keeps GPUs busy: 0.80." in said


def test_predictions_of_other_code_are_not_mixed_in(folder: Path) -> None:
    def rows(pipeline: str) -> list[Predicted]:
        return [Predicted(pipeline, "eight", way, "", 9.0, None) for way in ("harmonia", "pool per model, best")]

    keep_predicted(rows("vanilla"), folder / "results", "old")
    keep_predicted(rows("crag"), folder / "results", "new")
    kept = read(folder / "results" / "predicted.csv")
    assert {(one["pipeline"], one["code"]) for one in kept} == {("crag", "new")}
    # What is not known is not told as nothing.
    assert "| harmonia | 9.0/s |  |  | 1 |" in keep(folder)


def test_what_was_taken_away_is_told_beside_ours_of_the_same_code_and_rate(folder: Path) -> None:
    said = keep(
        folder,
        cell("harmonia", 40.0, 0.01),
        cell("harmonia-without-slack", 40.0, 0.5, setup="its plan, without slack"),
        cell("harmonia-without-slack", 50.0, 0.9),
        cell("harmonia-without-passes", 40.0, 0.5, code="old"),
    )
    change = "| slack | 40.0/s | 20.0/s | 39.6/s | -49.5% | 50.0% | 1.0% |"
    assert f"{change} 2000 ms | 2000 ms | 40% | its plan, without slack |" in said
    assert said.count("| slack |") == 1
    assert "| passes |" not in said
    # It is no system of its own among the others.
    assert "| harmonia-without-slack |" not in said


def test_with_nothing_promised_the_share_of_the_plans_rate_is_told(folder: Path) -> None:
    said = keep(folder, cell("harmonia-unpromised", 60.0, 0.0, throughput_rps=45.6, planned_rps=50.0, bound_rps=60.0))
    assert "| 60.0/s | 45.6/s | 50.0/s | 91% | 60.0/s | 76% | 1 |" in said
    assert "1.2 times as many come | crag on eight 91% | kept |" in said


def test_aims_are_judged_at_the_loads_of_the_best_peer(folder: Path) -> None:
    best = [cell("ray-best", rate, violated) for rate, violated in ((10.0, 0.04), (15.0, 0.6), (20.0, 0.9))]
    ours = [cell("harmonia", rate, violated) for rate, violated in ((10.0, 0.002), (15.0, 0.01), (20.0, 0.95))]
    said = keep(folder, *best, *ours, cell("langgraph-best", 5.0, 0.0), cell("langgraph-best", 6.0, 0.3))
    assert "over the pipelines | 1.50 (crag 1.50) | missed |" in said
    assert "over the pipelines | 95.0% over 1 pipelines | kept |" in said
    assert "at 1.5 times that capacity, on every pipeline | crag 14.8/s beside 6.0/s | kept |" in said
    assert "at 2 times that capacity, on every pipeline | crag 1.0/s beside 2.0/s | missed |" in said
    assert "at 3 hops that do nothing, times 15 | not measured |  |" in said


def test_a_ratio_is_not_taken_for_shown_where_another_system_may_carry_more(folder: Path) -> None:
    said = keep(folder, cell("harmonia", 40.0, 0.01), cell("harmonia", 50.0, 0.5), cell("ray-best", 10.0, 0.0))
    assert "4.00 (crag 4.00); at most that, since no more than was measured is known of ray-best on crag |  |" in said


def test_a_ratio_is_not_taken_for_missed_where_ours_may_carry_more(folder: Path) -> None:
    said = keep(folder, cell("harmonia", 10.0, 0.01), cell("ray-best", 10.0, 0.0), cell("ray-best", 15.0, 0.5))
    assert "1.00 (crag 1.00); at least that, since no more than was measured is known of harmonia on crag |  |" in said
    said = keep(folder, cell("harmonia", 15.0, 0.9))
    assert "1.00 (crag 1.00) | missed |" in said


def test_of_one_rate_that_all_keep_nothing_follows(folder: Path) -> None:
    said = keep(folder, cell("harmonia", 6.0, 0.0), cell("ray-auto", 6.0, 0.03))
    assert "1.00 (crag 1.00); more or less than that, since" in said
    assert "is known of harmonia on crag, ray-auto on crag |  |" in said
    # What it carries is not known.
    assert "fewer violations at the best peer's capacity, over the pipelines | not measured |  |" in said


def test_the_papers_comparison_is_with_langgraph_on_its_own_hardware(folder: Path) -> None:
    def here(system: str, rate: float, violated: float) -> Cell:
        return cell(system, rate, violated, inventory="paper")

    said = keep(
        folder,
        *(here("langgraph-best", rate, violated) for rate, violated in ((10.0, 0.0), (20.0, 0.5))),
        *(here("harmonia", rate, violated) for rate, violated in ((10.0, 0.0), (20.0, 0.1))),
        here("ray-best", 20.0, 0.0),
    )
    assert (
        "1.48 times as many in time at high load | 1.80 at 2 times its capacity: 18.0/s beside 10.0/s | kept |" in said
    )
    # Another inventory than the headline's.
    assert "over the pipelines | not measured |  |" in said
