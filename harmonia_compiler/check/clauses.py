"""The clauses of a pipeline: its promises (`slo`) and its traffic (`load`)."""

import re

import msgspec

from harmonia_compiler.check.amounts import DURATION, RATE, amount
from harmonia_compiler.check.program import Context, Unit, not_a
from harmonia_compiler.contract.objective import METRICS, Objective
from harmonia_compiler.diagnostics.diagnostic import Findings, Note
from harmonia_compiler.diagnostics.near import listed, suggestion
from harmonia_compiler.diagnostics.numbers import plain
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.graph import Load
from harmonia_compiler.syntax import tree

#: Hundredths, and behind 99 further digits of the part: `p999` is 99.9 of 100 requests.
_QUANTILE = re.compile(r"p([1-9][0-9]?|99[0-9]?[1-9])")


class Clauses(msgspec.Struct, frozen=True):
    """What a pipeline promises and expects; `places` says where each metric was promised."""

    objectives: tuple[Objective, ...]
    load: Load | None
    places: dict[str, Span]


def read_clauses(body: tuple[tree.Clause | tree.Statement, ...], unit: Unit, context: Context) -> Clauses:
    """Read the clauses, which stand before all statements."""
    findings = context.findings
    objectives: dict[tuple[str, float], Objective] = {}
    places: dict[str, Span] = {}
    load: tuple[Load, Span] | None = None
    statement: Span | None = None
    for item in body:
        if not isinstance(item, tree.Slo | tree.Load):
            statement = statement or item.span
            continue
        if statement is not None:
            notes = (Note(statement, "the statements begin here"),)
            help = "move it to the beginning of the pipeline"
            findings.add("E0115", "a clause stands after a statement", item.span, help=help, notes=notes)
        if isinstance(item, tree.Load):
            read = _load(item, unit, context)
            if load is not None:
                _twice("`load`", load[1], item.span, findings)
            elif read is not None:
                load = (read, item.span)
            continue
        for node in item.objectives:
            objective = _objective(node, findings)
            if objective is None:
                continue
            key = (objective.metric, objective.quantile)
            if key in objectives:
                _twice("this objective", places[objective.metric], node.span, findings)
            objectives[key] = objective
            places.setdefault(objective.metric, node.span)
    return Clauses(tuple(objectives.values()), load[0] if load else None, places)


def _twice(what: str, first: Span, again: Span, findings: Findings) -> None:
    notes = (Note(first, "it stands here already"),)
    findings.add("E0511", f"{what} is stated twice", again, help="delete one of the two", notes=notes)


def _objective(node: tree.Objective, findings: Findings) -> Objective | None:
    quantile = _QUANTILE.fullmatch(node.words[0].text)
    metric = node.words[-1]
    if metric.text not in METRICS and _QUANTILE.fullmatch(metric.text) is None:
        help = suggestion(metric.text, METRICS, "the metrics are `latency` and `ttft` (time to the first token)")
        findings.add("E0508", f"unknown metric `{metric.text}`", metric.span, help=help)
        return None
    if quantile is None or len(node.words) != 2 or metric.text not in METRICS:
        span = node.words[0].span.to(metric.span)
        named = metric.text if metric.text in METRICS else METRICS[0]
        help = f"write `p95 {named}`: 95 of 100 requests keep the bound; there are `p1` to `p99`, `p999`, `p9999`"
        findings.add("E0508", "an objective names a quantile and a metric", span, help=help)
        return None
    if node.sign != "<=":
        findings.add(
            "E0509", f"an objective is an upper bound, so `{node.sign}` has no meaning", node.span, help="write `<=`"
        )
        return None
    bound = amount(node.bound, DURATION, f"the bound of `{metric.text}`", findings)
    if bound is None:
        return None
    if bound <= 0:
        findings.add(
            "E0505", "the bound of an objective is above 0", node.bound.span, help="write the longest that you accept"
        )
        return None
    promised = next(one for one in METRICS if one == metric.text)
    return Objective(promised, int(quantile[1]) / 10 ** max(2, len(quantile[1])), bound)


def _load(node: tree.Load, unit: Unit, context: Context) -> Load | None:
    """All rates together; each is that of a class, or there is one of all requests."""
    findings = context.findings
    rates = [_rate(each, findings) for each in node.rates]
    by_class: dict[str, Load] = {}
    places: dict[str, Span] = {}
    whole = all(rate is not None for rate in rates)
    for each, rate in zip(node.rates, rates, strict=True):
        if each.of is None:
            if len(rates) > 1:
                help = "give every rate its class: `load NAME 2 rps, OTHER 1 rps`, or one rate for all"
                findings.add("E0515", "this rate is of no class, beside others", each.span, help=help)
                whole = False
            continue
        name = each.of.text
        found = unit.find(name)
        if found is None or not isinstance(found.node, tree.Class):
            if found is not None:
                not_a(found, "a request class", each.of.span, context, f"use one of {listed(unit.named(tree.Class))}")
            elif unit.knows_classes:
                names = unit.named(tree.Class)
                help = context.suggestion(name, names, f"declare it: `class {name}(deadline: 2 s)`")
                findings.add("E0514", f"unknown request class `{name}`", each.of.span, help=help)
            whole = False
        elif name in places:
            _twice(f"the load of `{name}`", places[name], each.span, findings)
            whole = False
        elif rate is not None:
            by_class[name], places[name] = rate, each.span
    known = [rate for rate in rates if rate is not None]
    if not whole:
        return None
    return Load(sum(rate.rps for rate in known), sum(rate.peak_rps for rate in known), by_class)


def _rate(node: tree.Rate, findings: Findings) -> Load | None:
    rate = amount(node.rate, RATE, "`load`", findings)
    peak = rate if node.peak is None else amount(node.peak, RATE, "`peak`", findings)
    if rate is None or peak is None:
        return None
    if rate <= 0:
        findings.add(
            "E0505", "`load` is above 0", node.rate.span, help="write the rate that you expect, such as `0.1 rps`"
        )
        return None
    if peak < rate and node.peak is not None:
        help = (
            f"the peak is the highest rate that you expect for a while: write one of {plain(rate)} rps or more, or none"
        )
        findings.add(
            "E0510", f"the peak {plain(peak)} rps is below the load {plain(rate)} rps", node.peak.span, help=help
        )
        return None
    return Load(rate, peak, at=node.span)
