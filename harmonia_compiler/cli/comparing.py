"""What a plan changes of another one, as tables."""

from collections.abc import Callable

from rich.box import SIMPLE
from rich.table import Table

from harmonia_compiler.cli.plan_tables import carries
from harmonia_compiler.contract.duration import shown_ms
from harmonia_compiler.contract.plan import Predicted
from harmonia_compiler.plan.running import Changes, Stale


def change_tables(changes: Changes) -> list[Table]:
    """The replicas that come and go, and what was expected and is now; no table without rows."""
    return [table for table in (_replicas(changes), _pipelines(changes)) if table.row_count]


def change_remarks(changes: Changes) -> list[str]:
    """How much is to be done, and which files differ; one sentence each."""
    counts = (("stay", changes.stay), ("are started", changes.started), ("are stopped", changes.stopped))
    said = [f"{', '.join(f'{count} {what}' for what, count in counts)}."]
    if changes.sources:
        said.append(f"Files that are not what the other plan was made from: {', '.join(changes.sources)}.")
    return said


def stale_remarks(name: str, found: Stale) -> list[str]:
    """What of a plan that others are made by is stale, one sentence each."""
    said = []
    if found.sources:
        said.append(f"`{name}` was planned before these changed: {', '.join(found.sources)}")
    if found.hosts:
        said.append(f"`{name}` has replicas on hosts that the inventory lacks: {', '.join(found.hosts)}")
    return said


def _replicas(changes: Changes) -> Table:
    table = Table(
        "host", "engine", "configuration", "before", "after", "", title="What changes of the replicas", box=SIMPLE
    )
    for one in changes.replicas:
        why = "its settings are others" if one.stay < min(one.before, one.after) else ""
        table.add_row(one.host, one.engine, one.config, str(one.before), str(one.after), why)
    return table


def _pipelines(changes: Changes) -> Table:
    columns = ("pipeline", "carries", "latency p95", "first token p95", "cost per hour", "bottleneck")
    table = Table(*columns, title="What changes of what to expect", box=SIMPLE)
    shown: tuple[Callable[[Predicted], str], ...] = (
        lambda of: shown_ms(of.latency_ms),
        lambda of: shown_ms(of.ttft_ms),
        lambda of: f"{of.cost_per_hour:g}",
        lambda of: of.bottleneck,
    )
    for name, before, after in changes.pipelines:
        if before != after:
            both = before, after
            rates = [
                # An edited plan may predict what it is not for.
                f"{carries(loads.get(name, 0.0), of.throughput_rps)} rps" if of else "nothing"
                for of, loads in zip(both, changes.loads_rps, strict=True)
            ]
            others = (_pair(*(show(of) if of else "nothing" for of in both)) for show in shown)
            table.add_row(name, _pair(*rates), *others)
    return table


def _pair(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"
