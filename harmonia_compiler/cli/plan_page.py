"""`plan --html FILE`: a plan as one page that asks nothing of the network: pictures, charts, and the tables."""

from collections.abc import Sequence
from html import escape

from rich.table import Table

from harmonia_compiler.cli.plan_graph import STYLE, drawn
from harmonia_compiler.cli.plan_tables import remarks, tables_of
from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.picture import picture
from harmonia_compiler.plan.planner import usual_takes
from harmonia_compiler.plan.problem import room, take
from harmonia_compiler.report.chart import bars
from harmonia_compiler.report.page import PAGE_STYLE

_NAMES = {"cores": "cores", "memory_gib": "memory"}


def plan_page(application: Application, inventory: Inventory, plan: Plan) -> str:
    """The whole page."""
    title = escape(f"Plan of {', '.join(share.name for share in plan.pipelines)}")
    said = "".join(f"<li>{escape(line)}</li>" for line in remarks(plan))
    takes = usual_takes(application, inventory)
    pictures = "".join(
        f"<figure><figcaption>{escape(flow.name)}</figcaption>"
        f"{drawn(picture(flow, application, demand(application, flow, takes=takes), f'p{number}'))}</figure>"
        for number, flow in enumerate(application.flows)
    )
    charts = bars("How busy each engine is", sorted(plan.utilisation.items())) + bars(
        "What the plan takes of the inventory", _taken(inventory, plan)
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{PAGE_STYLE}{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
        f"<ul>{said}</ul>\n{''.join(map(_shown, tables_of(plan)))}\n{charts}\n<h2>What a request runs through</h2>\n"
        f'<div class="wide">{pictures}</div>\n</body></html>\n'
    )


def _shown(table: Table) -> str:
    """A table as it is printed, or nothing where it has no rows."""
    if not table.row_count:
        return ""
    heads = "".join(f"<th>{escape(str(column.header))}</th>" for column in table.columns)
    rows: Sequence[tuple[object, ...]] = list(zip(*(column.cells for column in table.columns), strict=True))
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<h2>{escape(str(table.title))}</h2><div class="wide"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _taken(inventory: Inventory, plan: Plan) -> list[tuple[str, float]]:
    """The part of each resource of all hosts that the replicas take."""
    has: dict[str, float] = {}
    for host in inventory.hosts:
        for name, amount in room(host).items():
            has[name] = has.get(name, 0.0) + amount
    takes = dict.fromkeys(has, 0.0)
    for replica in plan.replicas:
        for name, amount in take(replica.config).items():
            takes[name] += amount
    return [(_NAMES.get(name, name), takes[name] / amount) for name, amount in has.items()]
