"""`plan --explain`: why an engine runs where it does, and what limits the rate, as tables and as a document."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from harmonia_compiler.cli.plan_tables import carries
from harmonia_compiler.plan.explain import Alternative, Explanation, Limit

#: How many of what limits the rate are shown, and of the hosts of each.
_MOST = 8
_MOST_HOSTS = 3


def explanation_tables(explanation: Explanation, loads_rps: Mapping[str, float]) -> list[Table]:
    """What comes of each device, and what one more of each limit brings; `loads_rps` are the declared ones."""
    return [_alternatives(explanation, loads_rps), _limits(explanation.limits[:_MOST])]


def explanation_remarks(explanation: Explanation) -> list[str]:
    """What is to be said of the limits, one sentence each."""
    if not explanation.limits:
        return ["Nothing limits the rate alone: several limits would have to give way at once."]
    return ["What one more brings is reckoned with replicas as fractions, and as if nothing else changed."]


def explanation_document(explanation: Explanation) -> dict[str, Any]:
    """The same as values: rates in multiples of the declared loads, and as parts of the rate."""
    return {"explanation": asdict(explanation)}


def _alternatives(explanation: Explanation, loads_rps: Mapping[str, float]) -> Table:
    title = f"If {explanation.engine} ran on one device alone"
    table = Table("device", "replicas now", "the plan carries", "cost per hour", title=title, box=SIMPLE)
    for one in explanation.alternatives:
        table.add_row(one.device, str(one.replicas), *_came_of(one, loads_rps))
    return table


def _came_of(one: Alternative, loads_rps: Mapping[str, float]) -> tuple[str, str]:
    if one.rate is None or one.cost_per_hour is None:
        return f"nothing: {one.why}", "-"
    carried = [f"{carries(load, load * one.rate)} rps of {name}" for name, load in loads_rps.items()]
    return ", ".join(carried), f"{one.cost_per_hour:g}" if one.cost_per_hour else "-"


def _limits(limits: Sequence[Limit]) -> Table:
    table = Table("limit", "on", "one more brings", title="What limits the rate", box=SIMPLE)
    for one in limits:
        more = f" and {len(one.hosts) - _MOST_HOSTS} like them" if len(one.hosts) > _MOST_HOSTS else ""
        table.add_row(_named(one), ", ".join(one.hosts[:_MOST_HOSTS]) + more, f"+{one.brings:.2%}")
    return table


def _named(one: Limit) -> str:
    if one.hosts:
        return "GiB of memory" if one.what == "memory_gib" else one.what
    return f"{one.what}, which is never copied" if one.never_copied else f"max_replicas of {one.what}"
