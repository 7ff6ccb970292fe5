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
        {} if system == "harmonia" else {"ray": "2.5"}, "abc", "2026-01-01T00:00:00",
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
    assert "| 2.00 | 4.0 % |  |" in ray
    assert "| langgraph-best | none shown |" in said
    assert "| ray-best | 40.0/s | 50.0% | 1.0% | 98.0% |" in said
    assert "![crag-eight.svg](results/crag-eight.svg)" in said
    assert (folder / "results" / "crag-eight.svg").read_text().count("<polyline") == 2
    assert "ours by the best of the others: 2.00" in said


def test_no_ratio_is_said_where_another_system_was_not_shown(folder: Path) -> None:
    said = keep(folder, cell("harmonia", 40.0, 0.01), cell("ray-best", 20.0, 0.5))
    assert "best of the others" not in said


def test_predictions_replace_those_of_the_same_pipeline(folder: Path) -> None:
    def rows(pipeline: str, ours: float) -> list[Predicted]:
        return [
            Predicted(pipeline, "eight", "harmonia", "its plan", ours, 60.0),
            Predicted(pipeline, "eight", "pool per model, best", "large=8", 25.0, 30.0, 20),
        ]

    for given in (rows("crag", 99.0), rows("vanilla", 25.0), rows("crag", 100.0)):
        keep_predicted(given, folder / "results")
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
    keep_predicted(rows, folder / "results")
    said = keep(folder)
    assert "| pool per model, best |  | 75.0/s | 125% | 0 |  |  |" in said
    assert "Harmonia by the best of the others, by what keeps GPUs busy: 0.80." in said
