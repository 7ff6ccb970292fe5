"""The record of what was predicted and measured, as CSV.

A cell is a row, void ones too; rows are added and never changed, but for predictions, which replace those of the same
pipeline.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.peers.cells import Cell
from bench.peers.identity import ROOT
from bench.peers.judging import KEPT
from bench.peers.predicting import Predicted

#: Where the documents are, and the folder in them that has the record.
DOCS, RECORD = ROOT / "docs", "results"
PREDICTED, CELLS, COSTS = "predicted.csv", "cells.csv", "overhead.csv"
Row = Mapping[str, str]


def keep_predicted(rows: Sequence[Predicted], folder: Path) -> None:
    """Put the predictions of a pipeline on an inventory in the place of those that are there."""
    names = Predicted.__struct_fields__
    new = [{name: _shown(getattr(one, name)) for name in names} for one in rows]
    known = {(one["pipeline"], one["inventory"]) for one in new}
    old = [one for one in read(folder / PREDICTED) if (one["pipeline"], one["inventory"]) not in known]
    _write(folder / PREDICTED, names, [*old, *new])


class Cost(msgspec.Struct, frozen=True):
    """What a request through components that do nothing cost, in one turn of a measurement.

    `rate_rps` is how many a second many clients had answered, `p50_ms` the median of a single client, and `cpu_us` the
    processor time of all of the system's processes for each request of the many.
    """

    system: str
    hops: int
    turn: int
    rate_rps: float
    p50_ms: float
    cpu_us: float


def keep_costs(rows: Sequence[Cost], folder: Path) -> None:
    """Put these in the place of all that were measured before."""
    names = Cost.__struct_fields__
    _write(folder / COSTS, names, [{name: _shown(getattr(one, name)) for name in names} for one in rows])


def row_of(cell: Cell) -> dict[str, str]:
    """A cell as a row: the fields of its key, then its own; what has parts as `name=value` in a word each."""
    named = {name: getattr(cell.key, name) for name in cell.key.__struct_fields__}
    named |= {name: getattr(cell, name) for name in cell.__struct_fields__ if name != "key"}
    return {name: _shown(value) for name, value in named.items()}


def add_cells(cells: Iterable[Cell], folder: Path) -> None:
    """Add the cells that are not there yet."""
    there = read(folder / CELLS)
    rows = {tuple(one.values()): one for one in (*there, *map(row_of, cells))}
    if rows:
        first = next(iter(rows.values()))
        _write(folder / CELLS, [*first], sorted(rows.values(), key=lambda one: one["at"]))


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a file; none where it is not there."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [*csv.DictReader(file)]


def _write(path: Path, names: Sequence[str], rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:.6g}"
        case dict():
            return " ".join(f"{name}={_shown(of)}" for name, of in sorted(value.items()))
        case tuple():
            return "; ".join(map(str, value))
        case _:
            return str(value)


@dataclass(frozen=True, slots=True)
class Measured:
    """What the newest cells of a system on a pipeline and an inventory say: those that count, and how many are void."""

    pipeline: str
    inventory: str
    system: str
    rows: tuple[Row, ...]
    void: int

    @property
    def highest(self) -> float:
        """The highest rate at which the promise was kept in every cell that counts; 0 where at none."""
        rates = {float(one["rate_rps"]) for one in self.rows}
        return max((rate for rate in rates if all(_keeps(one) for one in self.at(rate))), default=0.0)

    def at(self, rate_rps: float) -> list[Row]:
        """The cells at a rate."""
        return [one for one in self.rows if float(one["rate_rps"]) == rate_rps]


def _keeps(row: Row) -> bool:
    return 1.0 - float(row["violated"]) >= KEPT


def newest(rows: Sequence[Row]) -> list[Measured]:
    """By pipeline, inventory and system, the cells of the code that ran last."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for one in sorted(rows, key=lambda row: row["at"]):
        groups.setdefault((one["pipeline"], one["inventory"], one["system"]), []).append(one)
    found = []
    for key, group in sorted(groups.items()):
        last = [one for one in group if all(one[name] == group[-1][name] for name in ("code", "subject", "versions"))]
        counting = tuple(one for one in last if not one["void"])
        found.append(Measured(*key, counting, len(last) - len(counting)))
    return found
