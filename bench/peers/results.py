"""`docs/results.md` and its pictures, written from the record (`record.py`): no figure in it is typed by hand.

The document tells of each system what its newest code came to.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from bench.peers import tables
from bench.peers.aims import aims
from bench.peers.cells import kept
from bench.peers.judging import OURS, is_other
from bench.peers.predicting import ratio
from bench.peers.record import (
    CELLS,
    COSTS,
    DOCS,
    PREDICTED,
    RECORD,
    Measured,
    Row,
    add_cells,
    newest,
    predicted_of,
    read,
)
from harmonia_compiler.report.chart import Line, picture


def write(out: Path | None, docs: Path = DOCS) -> None:
    """Add the cells of a folder to the record, if there is one, and write `results.md` and its pictures from all."""
    folder = docs / RECORD
    add_cells(kept(out) if out else (), folder)
    predicted, cells, costs = (read(folder / name) for name in (PREDICTED, CELLS, COSTS))
    measured = newest(cells)
    pictures = {f"{name}.svg": drawn for name, drawn in drawings(measured)}
    for name, drawn in pictures.items():
        (folder / name).write_text(drawn, encoding="utf-8")
    (docs / "results.md").write_text(text(predicted, cells, measured, costs, [*pictures]), encoding="utf-8")


def text(
    predicted: Sequence[Row],
    cells: Sequence[Row],
    measured: Sequence[Measured],
    costs: Sequence[Row],
    pictures: Sequence[str],
) -> str:
    """The document."""
    parts = [_HEAD, "## What must be shown\n", *tables.aims(aims(measured, costs))]
    parts += [*_predictions(predicted), "## What was measured\n"]
    if any(one.rows for one in measured):
        parts += [_MEASURED, *_machines(cells)]
        for pipeline, where in dict.fromkeys((one.pipeline, one.where) for one in measured):
            here = [one for one in measured if (one.pipeline, one.where) == (pipeline, where)]
            parts += [f"### {pipeline} on {where}\n", *tables.highest(here), *tables.loads(here)]
            if without := tables.ablation(here):
                parts += [_ABLATION, *without]
            if full := tables.full(here):
                parts += [_FULL, *full]
            parts += [f"![{name}](results/{name})\n" for name in pictures if name == f"{_file(pipeline, where)}.svg"]
    else:
        parts += [f"Nothing that counts yet; void cells: {sum(one.void for one in measured)}.\n"]
    return "\n".join([*parts, *_costs(costs)])


_HEAD = """\
# Side by side with what people use today

Written by `make bench-peers` from `results/predicted.csv` and `results/cells.csv`; no figure is typed by hand. Which
systems these are, how they are set up and measured, and when a figure counts, is said in [comparison](comparison.md).
"""
_ABLATION = """\
Harmonia with one thing taken away, beside Harmonia as it is at the same rates; what each is says
`bench/peers/ablation.py`.
"""
_FULL = """\
With nothing promised, and so with nobody refused, where more comes than the plan carries:
"""
_SIMULATED = """\
By simulation, before anything is measured (`python -m bench.peers --predict`): *in time* is the highest rate at
which 95 of a hundred requests are in time, the mean over seeds. *busy* is the rate at which the GPUs of one model
would never be idle by the profiles, whatever was promised, and *share* its part of our plan's: a plan that keeps
latencies short, as by two GPUs for one replica, gives some of it away. Where there are no seeds nothing was
simulated, and ratios are of *busy* alone, which bounds what a division of GPUs can win and says nothing of what is
in time. What a peer adds by its own processes is not in it. *In fractions* is what the plan's linear relaxation
carries under the promise: no plan has a higher rate by these profiles.
"""
_COSTS = """\
By `python -m bench.peers.overhead`, whose text says how: components that do nothing, means over the turns. Client,
engine and system share the machine.
"""
_MEASURED = """\
*within* is the highest rate at which 95 of a hundred requests were answered within the promise. *of the bound* is what
was answered in time as a part of what the plan's linear relaxation carries under that promise. All columns
are at that rate, means over the seeds; times are before stretching. *busy*, *process* and *late* are the largest of
any cell that counts: the part of this machine that was busy, the part of a core that the busiest process took, and
how late emulated engines were at p99. The paper's rule promises each system twice its own mean latency at its
lowest rate, where that is a quarter of its highest or less; it is told to a hundredth. A violation is a request that
came and was not answered in full within its promise, refused ones included. Cost is that of all hosts in use, for a
thousand requests in time. Void cells decide nothing;
each is in `results/cells.csv` with its reason.
"""


def _predictions(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    parts = ["## What can be had\n", _SIMULATED]
    ratios = []
    for pipeline, inventory in dict.fromkeys((one["pipeline"], one["inventory"]) for one in rows):
        here = [predicted_of(one) for one in rows if (one["pipeline"], one["inventory"]) == (pipeline, inventory)]
        busy = next(one.busy_rps for one in here if one.way == OURS) or 0.0
        body = [
            (
                one.way,
                "" if one.rate_rps is None else f"{one.rate_rps:.1f}/s",
                "" if one.busy_rps is None else f"{one.busy_rps:.1f}/s",
                "" if one.busy_rps is None or not busy else f"{one.busy_rps / busy:.0%}",
                str(one.seeds),
                str(one.tried or ""),
                one.setup,
            )
            for one in here
        ]
        parts += [
            f"### {pipeline} on {inventory}, simulated\n" if here[0].seeds else f"### {pipeline} on {inventory}\n"
        ]
        parts += tables.table(("way", "in time", "busy", "share", "seeds", "searched", "set-up"), body)
        ratios.append(ratio(here))
        by = "" if here[0].seeds else ", by what keeps GPUs busy"
        parts += [f"Harmonia by the best of the others{by}: {ratios[-1]:.2f}.\n"]
    if len(ratios) > 1:
        parts += [f"Geometric mean of these {len(ratios)} ratios: {geometric(ratios):.2f}.\n"]
    return parts


def _costs(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []

    def mean(of: str, system: str, hops: str) -> float:
        return fmean(float(one[of]) for one in rows if (one["system"], one["hops"]) == (system, hops))

    body = []
    others = [name for name in dict.fromkeys(one["system"] for one in rows) if name != OURS]
    for hops in dict.fromkeys(one["hops"] for one in rows):
        for name in (OURS, *others):
            rate, cpu_us = mean("rate_rps", name, hops), mean("cpu_us", name, hops)
            beside = (mean("rate_rps", OURS, hops) / rate, cpu_us / mean("cpu_us", OURS, hops))
            body.append(
                (
                    name,
                    hops,
                    f"{rate:.0f}/s",
                    f"{mean('p50_ms', name, hops):.2f} ms",
                    f"{cpu_us:.0f} µs",
                    *(("", "") if name == OURS else (f"{beside[0]:.1f}", f"{beside[1]:.1f}")),
                )
            )
    head = ("system", "hops", "a second", "p50 of one client", "CPU a request", "ours, times the rate", "times the CPU")
    return ["## What a request costs beside its engines\n", _COSTS, *tables.table(head, body)]


def _machines(cells: Sequence[Row]) -> list[str]:
    said = dict.fromkeys(f"{one['machine']}, Python {one['python']}" for one in cells)
    peers = dict.fromkeys(one["peers"] for one in cells if one["peers"])
    return [f"Measured on: {'; '.join(said)}. Versions: {'; '.join(peers) or 'none of others'}.\n"]


def drawings(measured: Sequence[Measured]) -> Iterable[tuple[str, str]]:
    """For each pipeline and inventory, what part of requests was in time at which rate, a line for each system."""
    for pipeline, where in dict.fromkeys((one.pipeline, one.where) for one in measured):
        drawn = []
        for one in measured:
            of_it = (one.pipeline, one.where) == (pipeline, where) and (one.system == OURS or is_other(one.system))
            if of_it and one.rows:
                rates = sorted({float(row["rate_rps"]) for row in one.rows})
                drawn.append(Line(one.system, [(rate, _in_time(one.at(rate))) for rate in rates]))
        if drawn:
            title = f"{pipeline} on {where}: requests answered within the promise"
            yield _file(pipeline, where), picture(title, "offered, a second", "in time, %", *drawn)


def _file(pipeline: str, where: str) -> str:
    return f"{pipeline}-{where}".replace(", ", "-").replace(" ", "-")


def _in_time(rows: Sequence[Row]) -> float:
    return 100.0 - 100.0 * sum(float(row["violated"]) for row in rows) / len(rows)


def geometric(ratios: Iterable[float]) -> float:
    """The geometric mean."""
    return math.exp(fmean(map(math.log, ratios)))
