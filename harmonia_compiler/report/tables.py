"""The tables of a report as plain rows of texts, for whoever shows them: a terminal, a page."""

from collections.abc import Iterable
from dataclasses import dataclass

from harmonia_compiler.contract.duration import shown_ms
from harmonia_compiler.diagnostics.numbers import about
from harmonia_compiler.report.document import Kind, Machine, Report
from harmonia_compiler.report.measures import Distribution
from harmonia_compiler.report.observation import Outcome

#: How many kinds of reasons are shown.
_MOST_REASONS = 10
_NEARLY_ALL = 0.9
#: What shows a plan as it is; a service that is measured may be steered by something that nobody sees.
_PLANNED = frozenset({"simulation", "rehearsal"})
_TIMES = ("mean", "p50", "p90", "p95", "p99", "max")


@dataclass(frozen=True, slots=True)
class Table:
    """A title, the heads of columns, and rows; figures stand from column `figures_from` on."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures_from: int = 1


def tables(report: Report) -> list[Table]:
    """Every table that has a row, in the order in which they are read."""
    made = (
        _outcomes(report),
        _times(report),
        _objectives(report),
        _reasons(report),
        _stages(report),
        _engines(report),
        _faults(report),
        _decisions(report),
    )
    return [table for table in made if table.rows]


def remarks(report: Report) -> list[str]:
    """What is to be said beside the tables, one sentence each."""
    seconds = (report.window_ms[1] - report.window_ms[0]) / 1000.0
    said = [f"Figures are of {shown_ms(seconds * 1000.0)}, from {shown_ms(report.window_ms[0])} on."]
    if report.cost_per_hour is not None:
        said.append(f"The hosts cost {report.cost_per_hour:g} an hour.")
    if report.machine is not None:
        said += _machine(report.machine, report.kind)
    if report.kind in _PLANNED and not report.decisions:
        said.append("No controller acted: replicas and their settings stayed as planned.")
    return [*said, *report.notes]


def _outcomes(report: Report) -> Table:
    columns = ("pipeline", "requests", "offered", "answered", "in time", "attained", "refused", "failed", "late")
    rows = []
    for group in report.groups:
        found = group.figures
        counts = [str(found.outcomes[outcome]) for outcome in (Outcome.REFUSED, Outcome.FAILED, Outcome.LATE)]
        rates = [f"{about(rate)}/s" for rate in (found.offered_rps, found.throughput_rps, found.goodput_rps)]
        attained = "-" if found.attainment is None else share(found.attainment)
        rows.append((group.name, str(found.requests), *rates, attained, *counts))
    return Table("What came of the requests", columns, tuple(rows))


def _times(report: Report) -> Table:
    rows = []
    for group in report.groups:
        found = group.figures
        named = (("latency", found.latency), ("first text", found.ttft), ("each token", found.token))
        rows += [(group.name, what, *_distribution(times)) for what, times in named if times is not None]
    return Table("How long they took", ("pipeline", "time", *_TIMES, "p95 ±"), tuple(rows), figures_from=2)


def _objectives(report: Report) -> Table:
    rows = [
        (group.name, kept.objective.describe(), share(kept.share), "kept" if kept.met else "missed")
        for group in report.groups
        for kept in group.figures.kept
    ]
    return Table("What was promised", ("pipeline", "objective", "within", "verdict"), tuple(rows), figures_from=2)


def _reasons(report: Report) -> Table:
    rows = [
        (group.pipeline, outcome, reason, str(count))
        for group in report.groups
        if group.request_class is None
        for outcome, reason, count in group.figures.reasons[:_MOST_REASONS]
    ]
    return Table("Why there was no answer", ("pipeline", "outcome", "reason", "requests"), tuple(rows), figures_from=3)


def _stages(report: Report) -> Table:
    columns = ("pipeline", "component", "calls per request", "waits p50", "waits p95", "takes p50", "takes p95")
    rows = []
    for stage in report.stages:
        times = [shown_ms(ms) for ms in (stage.queue.p50, stage.queue.p95, stage.service.p50, stage.service.p95)]
        rows.append((stage.pipeline, stage.component, about(stage.calls_per_request), *times))
    return Table("Where the time went", columns, tuple(rows), figures_from=2)


def _engines(report: Report) -> Table:
    rows = []
    for one in report.engines:
        most = "-" if one.most_rps is None else f"{about(one.most_rps)}/s"
        busy = "-" if one.utilisation is None else _against_plan(one.utilisation)
        rows.append((one.engine, str(one.replicas), f"{about(one.calls_rps)}/s", most, busy, share(one.working)))
    return Table(
        "How busy the engines were", ("engine", "replicas", "calls", "at most", "busy", "any work"), tuple(rows)
    )


def _faults(report: Report) -> Table:
    rows = tuple(
        (shown_ms(one.at_ms), "the end" if one.until_ms is None else shown_ms(one.until_ms), one.replica, one.what)
        for one in report.faults
    )
    return Table("What went wrong on purpose", ("from", "until", "replica", "what"), rows, figures_from=4)


def _decisions(report: Report) -> Table:
    rows = tuple((shown_ms(one.at_ms), one.what, one.why) for one in report.decisions)
    return Table("What the controller did", ("at", "what", "why"), rows, figures_from=3)


def _machine(machine: Machine, kind: Kind) -> Iterable[str]:
    if machine.factor != 1.0:
        yield f"All times were stretched by {machine.factor:.3g} for this machine's sake; figures are as unstretched."
    elif kind == "rehearsal":
        yield "No time was stretched: the factor is 1."
    late = ""
    if machine.lateness is not None:
        late = f", late by {shown_ms(machine.lateness.p50)} at p50 and {shown_ms(machine.lateness.p99)} at p99"
    yield f"This machine: {machine.own_cores:.2f} cores measuring, {share(machine.busy)} busy in all{late}."
    if machine.is_limit:
        yield "This machine was the limit: the figures say as much of it as of the service."
    elif machine.busy > _NEARLY_ALL:
        yield "Nearly all of this machine was busy. Where the service does not run here too, measure from another one."


def _distribution(times: Distribution) -> tuple[str, ...]:
    shown = tuple(shown_ms(getattr(times, name)) for name in _TIMES)
    return (*shown, "" if times.p95_within is None else shown_ms(times.p95_within))


def _against_plan(part: float) -> str:
    """A part of what a plan says, which may come to more than that."""
    return f"{part:.1%}" if part > 1.0 else share(part)


def share(part: float) -> str:
    """A part of a whole in percent; never 100 % where anything is missing."""
    return "100%" if part >= 1.0 else f"{min(part, 0.999):.1%}"
