"""The tables of `docs/results.md` that are made of measured cells (`results.py`)."""

from collections.abc import Sequence
from statistics import fmean

from bench.peers.ablation import WITHOUT
from bench.peers.aims import Aim, mean
from bench.peers.judging import OURS, is_other
from bench.peers.record import Measured, Row, within
from bench.peers.systems import UNPROMISED

#: What the paper promises: so many times the mean latency without load.
PAPER = 2.0
_RULE = ("there, by the paper's rule", "ours, by it")
_COLUMNS = (
    *("system", "within", "ours by it", "of the bound", "violated", "by the paper's rule", "goodput"),
    *("p50", "p95", "p99", "first text p50", "p95", "per 1,000", "busy", "process", "late", "void", "set-up"),
)


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """A table as Markdown; none without rows."""
    rows = [head, ["---"] * len(head), *body]
    return ["\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"] if body else []


def aims(found: Sequence[Aim]) -> list[str]:
    """What must be shown, and what was."""
    return table(("must be shown", "found", ""), [(one.wanted, one.found, one.verdict) for one in found])


def highest(measured: Sequence[Measured]) -> list[str]:
    """Each system at the highest rate that it keeps the promise at; ours as it is alone."""
    ours = next((one.highest for one in measured if one.system == OURS), 0.0)
    return table(_COLUMNS, [_line(one, ours) for one in measured if one.system == OURS or is_other(one.system)])


def _line(one: Measured, ours: float) -> tuple[str, ...]:
    rate = one.highest
    at = one.at(rate)
    last = one.rows[-1]["setup"] if one.rows else ""

    def mean_of(name: str, unit: str, digits: int = 0, times: float = 1.0) -> str:
        each = [float(row[name]) * times for row in at if row[name]]
        return f"{sum(each) / len(each):.{digits}f}{unit}" if each else ""

    return (
        one.system,
        f"{rate:.1f}/s" if rate else "none shown",
        f"{ours / rate:.2f}" if rate and ours and one.system != OURS else "",
        _of_bound(at),
        mean_of("violated", " %", 1, 100.0),
        _by_rule(at, one.alone_ms),
        mean_of("goodput_rps", "/s", 1),
        *(mean_of(name, " ms") for name in ("p50_ms", "p95_ms", "p99_ms", "ttft_p50_ms", "ttft_p95_ms")),
        mean_of("cost_per_1000", "", 3),
        *_limits(one.rows),
        str(one.void),
        last,
    )


def _of_bound(rows: Sequence[Row]) -> str:
    """What was answered in time, as a part of what the plan's linear relaxation carries."""
    known = [row for row in rows if float(row["bound_rps"] or 0.0)]
    return f"{mean(known, 'goodput_rps') / mean(known, 'bound_rps'):.0%}" if known else ""


def _by_rule(rows: Sequence[Row], alone_ms: float | None) -> str:
    """The violations of the paper's promise; nothing where it is not known, or where nothing was measured."""
    if alone_ms is None or not rows:
        return ""
    return f"{1.0 - fmean(within(one, PAPER * alone_ms) for one in rows):.0%}"


def _limits(rows: Sequence[Row]) -> tuple[str, str, str]:
    if not rows:
        return "", "", ""
    full = max(float(word.rpartition("=")[2]) for row in rows for word in row["fullest"].split())
    busy, late = (max(float(row[name]) for row in rows) for name in ("busy", "late_ms"))
    return f"{busy:.0%}", f"{full:.0%}", f"{late:.1f} ms"


def loads(measured: Sequence[Measured]) -> list[str]:
    """Every rate at which ours and another were both measured: what became of the requests."""
    ours = _ours(measured)
    body = []
    for one in measured if ours else ():
        for rate in sorted({float(row["rate_rps"]) for row in one.rows}) if is_other(one.system) else ():
            mine, theirs = ours.at(rate) if ours else [], one.at(rate)
            if mine and theirs:
                by_rule = (_by_rule(theirs, one.alone_ms), _by_rule(mine, ours.alone_ms if ours else None))
                times = f"{rate / one.highest:.2f}" if one.highest else ""
                bounds = (_of_bound(theirs), _of_bound(mine))
                body.append((one.system, f"{rate:.1f}/s", times, *_beside(mine, theirs), *bounds, *by_rule))
    head = ("beside", "offered", "of its highest", "violated there", "by ours", "fewer", "goodput there", "ours")
    return table((*head, "of the bound there", "ours", *_RULE), body)


def _beside(mine: Sequence[Row], theirs: Sequence[Row]) -> tuple[str, ...]:
    violated, goodput = (
        [sum(float(row[name]) for row in rows) / len(rows) for rows in (theirs, mine)]
        for name in ("violated", "goodput_rps")
    )
    fewer = f"{1.0 - violated[1] / violated[0]:.1%}" if violated[0] else ""
    return f"{violated[0]:.1%}", f"{violated[1]:.1%}", fewer, f"{goodput[0]:.1f}/s", f"{goodput[1]:.1f}/s"


def ablation(measured: Sequence[Measured]) -> list[str]:
    """Ours without each thing that was taken away, beside ours at the same rates and of the same code."""
    ours = _ours(measured)
    body = []
    for one in measured if ours and ours.rows else ():
        if not one.system.startswith(WITHOUT) or not one.rows or not ours:
            continue
        if one.rows[-1]["code"] != ours.rows[-1]["code"]:
            continue
        for rate in sorted({float(row["rate_rps"]) for row in one.rows}):
            mine, left = ours.at(rate), one.at(rate)
            if mine:
                goodput = [mean(rows, "goodput_rps") for rows in (left, mine)]
                violated = [f"{mean(rows, 'violated'):.1%}" for rows in (left, mine)]
                p95 = [_p95(rows) for rows in (left, mine)]
                change = f"{goodput[0] / goodput[1] - 1.0:+.1%}" if goodput[1] else ""
                what = one.system.removeprefix(WITHOUT)
                rates = (f"{goodput[0]:.1f}/s", f"{goodput[1]:.1f}/s", change)
                body.append((what, f"{rate:.1f}/s", *rates, *violated, *p95, _of_bound(left), left[-1]["setup"]))
    head = (
        "without",
        "offered",
        "goodput",
        "with",
        "change",
        "violated",
        "with",
        "p95",
        "with",
        "of the bound",
        "set-up",
    )
    return table(head, body)


def _p95(rows: Sequence[Row]) -> str:
    each = [float(row["p95_ms"]) for row in rows if row["p95_ms"]]
    return f"{fmean(each):.0f} ms" if each else ""


def full(measured: Sequence[Measured]) -> list[str]:
    """Ours with nothing promised: what is completed of what comes, beside what plan and relaxation say."""
    body = []
    for one in measured:
        if one.system == UNPROMISED and one.rows:
            done, planned, bound, offered = (
                mean(one.rows, name) for name in ("throughput_rps", "planned_rps", "bound_rps", "rate_rps")
            )
            shares = (f"{done / planned:.0%}", f"{bound:.1f}/s", f"{done / bound:.0%}" if bound else "")
            body.append((f"{offered:.1f}/s", f"{done:.1f}/s", f"{planned:.1f}/s", *shares, str(len(one.rows))))
    head = ("offered", "completed", "integer plan", "share of it", "in fractions", "share of that", "seeds")
    return table(head, body)


def _ours(measured: Sequence[Measured]) -> Measured | None:
    return next((one for one in measured if one.system == OURS), None)
