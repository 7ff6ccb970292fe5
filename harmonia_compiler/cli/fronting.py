"""`plan --frontier`: what being faster costs, as a table, a document and a picture."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from harmonia_compiler.contract.duration import shown_ms
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.plan.frontier import Point
from harmonia_compiler.report.chart import Line, picture

#: Of the document that `--frontier --format json` prints.
FRONTIER_FORMAT = 1


def frontier_table(points: Sequence[Point]) -> Table:
    """A row for each plan, from the cheapest to the fastest."""
    columns = ("latency p95", "cost per hour", "hosts", "GPUs", "replicas", "bottleneck")
    table = Table(*columns, title="The price of being faster, at the declared loads", box=SIMPLE)
    for point in points:
        bottlenecks = sorted({one.bottleneck for one in point.plan.predicted.values()})
        hosts = str(len({replica.host for replica in point.plan.replicas}))
        counts = (hosts, _gpus(point.plan), str(len(point.plan.replicas)))
        table.add_row(shown_ms(point.latency_ms), f"{point.cost_per_hour:g}", *counts, ", ".join(bottlenecks))
    return table


def frontier_document(points: Sequence[Point]) -> dict[str, Any]:
    """The same as values; times are in ms."""
    return {
        "format_version": FRONTIER_FORMAT,
        "frontier": [
            {
                "latency_ms": point.latency_ms,
                "cost_per_hour": point.cost_per_hour,
                "replicas": dict(sorted(Counter(one.engine for one in point.plan.replicas).items())),
                "hosts": sorted({one.host for one in point.plan.replicas}),
            }
            for point in points
        ],
    }


def frontier_picture(points: Sequence[Point]) -> str:
    """The same as an SVG document."""
    line = Line("plans", [(point.latency_ms / 1000.0, point.cost_per_hour) for point in points])
    return picture("The price of being faster", "p95 latency of the slowest pipeline, s", "cost per hour", line)


def _gpus(plan: Plan) -> str:
    """The devices in use, as `2 a100_sxm, 1 l4`."""
    used = {(one.host, device, one.config.gpu) for one in plan.replicas for device in one.devices}
    counts = Counter(gpu for _, _, gpu in used)
    return ", ".join(f"{count} {gpu}" for gpu, count in sorted(counts.items())) or "-"
