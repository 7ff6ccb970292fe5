"""The record of what was predicted and measured, as CSV.

A cell is a row, void ones too; rows are added and never changed, but for predictions: they replace those of the same
pipeline, and all that other code has made.
"""

import csv
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import msgspec

from bench.peers.arriving import POISSON
from bench.peers.cells import Cell, Key
from bench.peers.identity import ROOT
from bench.peers.judging import KEPT
from bench.peers.predicting import Predicted

#: Where the documents are, and the folder in them that has the record.
DOCS, RECORD = ROOT / "docs", "results"
PREDICTED, CELLS, COSTS = "predicted.csv", "cells.csv", "overhead.csv"
#: The column of a prediction that says by which code it was made.
CODE = "code"
#: Up to which part of the highest rate a system counts as having no load.
LOW = 0.25
#: What a row of a cell has, in this order.
COLUMNS = (*Key.__struct_fields__, *(name for name in Cell.__struct_fields__ if name != "key"))
Row = Mapping[str, str]


def keep_predicted(rows: Sequence[Predicted], folder: Path, code: str) -> None:
    """Put the predictions of a pipeline on an inventory in the place of those that are there.

    `code` is the digest of what made them (`identity.py`). Predictions of other code are dropped: theirs are other
    plans, and a mean over both would say nothing.
    """
    names = Predicted.__struct_fields__
    new = [{name: _shown(getattr(one, name)) for name in names} | {CODE: code} for one in rows]
    known = {(one["pipeline"], one["inventory"]) for one in new}
    old = [one for one in read(folder / PREDICTED) if one.get(CODE) == code]
    kept = [one for one in old if (one["pipeline"], one["inventory"]) not in known]
    _write(folder / PREDICTED, (*names, CODE), [*kept, *new])


def predicted_of(row: Row) -> Predicted:
    """A prediction from its row."""
    return msgspec.convert(
        {name: of if of or not name.endswith("_rps") else None for name, of in row.items()}, Predicted, strict=False
    )


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
    rows = {tuple(one.get(name, "") for name in COLUMNS): one for one in (*there, *map(row_of, cells))}
    if rows:
        _write(folder / CELLS, COLUMNS, sorted(rows.values(), key=lambda one: one["at"]))


def beside_s(folder: Path) -> dict[str, float]:
    """How much longer than its requests a cell of a system took, in seconds in the mean, by its name."""
    found: dict[str, list[float]] = {}
    for one in read(folder / CELLS):
        if one["took_s"]:
            asked_s = (float(one["warmup_s"]) + float(one["seconds"])) * float(one["factor"])
            found.setdefault(one["system"], []).append(float(one["took_s"]) - asked_s)
    return {system: fmean(each) for system, each in found.items()}


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
        case tuple() if all(isinstance(one, float) for one in value):
            return " ".join(map(_shown, value))
        case tuple():
            return "; ".join(map(str, value))
        case _:
            return str(value)


@dataclass(frozen=True, slots=True)
class Measured:
    """What the newest cells of a system on a pipeline say: those that count, and how many are void.

    `where` is the inventory, and the recording by which requests came if they did not come as Poisson's.
    """

    pipeline: str
    where: str
    system: str
    rows: tuple[Row, ...]
    void: int

    @property
    def highest(self) -> float:
        """The highest rate at which the promise was kept in every cell that counts; 0 where at none."""
        rates = {float(one["rate_rps"]) for one in self.rows}
        return max((rate for rate in rates if all(_keeps(one) for one in self.at(rate))), default=0.0)

    @property
    def is_bounded(self) -> bool:
        """Whether it is known to keep the promise at no rate beyond the highest: a cell that counts has missed it."""
        return any(float(one["rate_rps"]) > self.highest and not _keeps(one) for one in self.rows)

    def at(self, rate_rps: float) -> list[Row]:
        """The cells at a rate."""
        return [one for one in self.rows if float(one["rate_rps"]) == rate_rps]

    @property
    def alone_ms(self) -> float | None:
        """The mean latency at the lowest rate, where that is a quarter of the highest that was measured or less."""
        rates = sorted({float(one["rate_rps"]) for one in self.rows})
        if not rates or rates[0] > LOW * rates[-1]:
            return None
        each = [float(one["mean_ms"]) for one in self.at(rates[0]) if one["mean_ms"]]
        return fmean(each) if each else None


def within(row: Row, bound_ms: float) -> float:
    """The part of all that were offered that was answered within a bound, by the percentiles."""
    return bisect_right([float(ms) for ms in row["percentiles_ms"].split()], bound_ms) / 100.0


def _keeps(row: Row) -> bool:
    return 1.0 - float(row["violated"]) >= KEPT


def newest(rows: Sequence[Row]) -> list[Measured]:
    """By pipeline, inventory, recording and system, the cells of the code that ran last."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for one in sorted(rows, key=lambda row: row["at"]):
        recorded = one["arrivals"] != POISSON
        where = f"{one['inventory']}, {one['arrivals']}" if recorded else one["inventory"]
        groups.setdefault((one["pipeline"], where, one["system"]), []).append(one)
    found = []
    for key, group in sorted(groups.items()):
        last = [one for one in group if all(one[name] == group[-1][name] for name in ("code", "subject", "versions"))]
        counting = tuple(one for one in last if not one["void"])
        found.append(Measured(*key, counting, len(last) - len(counting)))
    return found
