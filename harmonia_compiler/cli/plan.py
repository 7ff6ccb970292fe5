"""`harmoniac plan`: decides what runs where, and says what to expect of it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from harmonia_compiler.cli.certifying import simulate_option, simulated
from harmonia_compiler.cli.comparing import change_remarks, change_tables, stale_remarks
from harmonia_compiler.cli.fronting import frontier_document, frontier_picture, frontier_table
from harmonia_compiler.cli.options import IN_FILE, OUT_FILE, PATH, files_argument, format_option, settings_option
from harmonia_compiler.cli.output import print_json
from harmonia_compiler.cli.outputs import write_output
from harmonia_compiler.cli.plan_page import plan_page
from harmonia_compiler.cli.plan_tables import remarks, tables_of
from harmonia_compiler.cli.planning import (
    checked_for,
    inventory_option,
    objective_option,
    or_leave,
    plan_for,
    planned,
)
from harmonia_compiler.cli.reasoning import explanation_document, explanation_remarks, explanation_tables
from harmonia_compiler.cli.rereading import measured_in
from harmonia_compiler.contract.inventory import Inventory, load_inventory
from harmonia_compiler.contract.plan import Plan, encode_plan, read_plan
from harmonia_compiler.diagnostics.near import listed, nearest
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.plan.corrected import Measured
from harmonia_compiler.plan.frontier import frontier
from harmonia_compiler.plan.planner import explained
from harmonia_compiler.plan.problem import Aim
from harmonia_compiler.plan.running import changes, stale
from harmonia_compiler.runtime.bundle import read_plan_of


@click.command()
@files_argument
@inventory_option
@objective_option
@click.option("--out", type=OUT_FILE, help="Write the plan to this file as well.")
@click.option("--from", "running", type=IN_FILE, help="A plan that runs: of equally good ones, keep most of it.")
@click.option("--diff", "other", type=IN_FILE, help="Show what changes of this plan.")
@click.option("--readings", type=PATH, help="A bundle whose service runs or ran: plan by what it measured.")
@click.option("--html", type=OUT_FILE, help="Write the plan as a page as well.")
@click.option("--explain", metavar="COMPONENT", help="Show why it runs where it does, and what limits the rate.")
@click.option("--frontier", "is_frontier", is_flag=True, help="Show what being faster costs, at the declared loads.")
@click.option("--svg", type=OUT_FILE, help="Draw the frontier to this file.")
@simulate_option
@format_option
@settings_option
def command(
    files: tuple[Path, ...],
    inventory: Path,
    objective: Aim,
    out: Path | None,
    running: Path | None,
    other: Path | None,
    readings: Path | None,
    html: Path | None,
    explain: str | None,
    svg: Path | None,
    form: str,
    settings: dict[str, str],
    *,
    is_frontier: bool,
    is_simulated: bool,
) -> None:
    """Decide which replicas of which engine run on which host, device and cores.

    `throughput` serves as many times the declared loads as the inventory can; `cost` serves the declared loads on the
    cheapest hosts. Either is met to within 1 %, where that makes a simpler plan, but a load that the inventory can
    carry is carried in full. A peak counts where one is declared. Exit code 3 says that there is no feasible plan.
    """
    if is_frontier:
        if any((out, running, other, readings, html, explain, is_simulated)):
            raise click.UsageError("--frontier makes many plans: it goes with --svg, and with no option about one plan")
        _frontier(files, settings, inventory, svg, form)
        return
    if svg is not None:
        raise click.UsageError("--svg draws what --frontier finds: give both")
    if other is not None and form == "json":
        raise click.UsageError("--diff is for people: a program compares the documents themselves")
    if explain is not None and (other is not None or is_simulated):
        raise click.UsageError("--explain says why a plan is as it is: leave --diff and --simulate out")
    before = None if other is None else read_plan(other)
    kept = None if running is None else read_plan(running)
    measured = None if readings is None else measured_in(readings)
    decide = simulated if is_simulated else None
    application, plan = planned(
        files, settings, inventory, objective, form=form, decide=decide, running=kept, measured=measured
    )
    _say_stale(((running, read_plan), (readings, read_plan_of)), plan, load_inventory(inventory))
    document = encode_plan(plan)
    if out is not None:
        write_output(out, document)
    if html is not None:
        write_output(html, plan_page(application, load_inventory(inventory), plan).encode())
    if explain is not None:
        _explain(application, load_inventory(inventory), plan, explain, measured, form)
    elif form == "json":
        click.echo(document, nl=False)
    elif before is not None:
        compared = changes(before, plan)
        _print(change_tables(compared), [*change_remarks(compared), *remarks(plan)])
    else:
        _print(tables_of(plan), remarks(plan))


def _say_stale(former: Sequence[tuple[Path | None, Callable[[Path], Plan]]], plan: Plan, inventory: Inventory) -> None:
    for path, read in former:
        for line in () if path is None else stale_remarks(str(path), stale(read(path), plan.sources, inventory)):
            click.echo(line, err=True)


def _explain(
    application: Application,
    inventory: Inventory,
    plan: Plan,
    component: str,
    measured: Measured | None,
    form: str,
) -> None:
    if component not in plan.components:
        near = nearest(component, plan.components)
        hint = f"; did you mean {near}?" if near else f"; there are {listed(sorted(plan.components))}"
        raise click.BadParameter(f"the plan has no component {component!r}{hint}", param_hint="--explain")
    found = explained(application, inventory, plan, component, measured=measured)
    if found is None:
        raise click.BadParameter(f"{component!r} is somebody else's and takes no hardware", param_hint="--explain")
    if form == "json":
        print_json(explanation_document(found))
    else:
        loads = {share.name: share.load_rps for share in plan.pipelines}
        _print(explanation_tables(found, loads), explanation_remarks(found))


def _frontier(files: Sequence[Path], settings: Mapping[str, str], inventory: Path, svg: Path | None, form: str) -> None:
    make = partial(plan_for, checked_for(files, settings, form), load_inventory(inventory), "cost")
    points = or_leave(form, lambda: frontier(lambda within_ms: make(within_ms=within_ms)[1]))
    if svg is not None:
        write_output(svg, frontier_picture(points).encode())
    if form == "json":
        print_json(frontier_document(points))
    else:
        _print([frontier_table(points)], [])


def _print(tables: Sequence[Table], remarks: Sequence[str]) -> None:
    # What it is given is text as it stands: names of files and of what was measured may hold brackets and colons.
    width = None if sys.stdout.isatty() else 120
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    for table in tables:
        if table.row_count:
            console.print(table)
    for line in remarks:
        console.print(line)
