"""From files and an inventory to a plan: what `plan` and `compile` do alike, the ways to fail included."""

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NoReturn, get_args

import click

from harmonia_compiler.check.files import check_files
from harmonia_compiler.cli.exits import DIAGNOSTICS, INFEASIBLE
from harmonia_compiler.cli.output import findings_document, print_diagnostics, print_json
from harmonia_compiler.contract.inventory import load_inventory
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.infeasible import Infeasible
from harmonia_compiler.plan.planner import make_plan
from harmonia_compiler.plan.problem import Aim

inventory_option = click.option(
    "--inventory", required=True, type=click.Path(path_type=Path), help="The machines to plan for, as TOML."
)
objective_option = click.option(
    "--objective", type=click.Choice(get_args(Aim)), default="throughput", show_default=True
)


def planned(
    files: Collection[Path], settings: Mapping[str, str], inventory: Path, objective: Aim, *, form: str = "text"
) -> tuple[Application, Plan]:
    """The checked application after the passes, and its plan.

    Exits 1 where a file is wrong and 3 where there is no plan; `form` is how findings are then
    given: frames on stderr, or one JSON document on stdout.
    """
    checked = check_files(list(files), settings)
    if checked.application is None:
        _leave(checked.found, DIAGNOSTICS, form)
    print_diagnostics(checked.found)
    application = optimise(checked.application)
    started = time.perf_counter()
    try:
        plan = make_plan(application, load_inventory(inventory), objective=objective)
    except Infeasible as infeasible:
        _leave(infeasible.found, INFEASIBLE, form)
    click.echo(f"planned in {time.perf_counter() - started:.2f} s", err=True)
    return application, plan


def _leave(found: Collection[Diagnostic], code: int, form: str) -> NoReturn:
    if form == "json":
        print_json(findings_document(found))
    else:
        print_diagnostics(found)
    click.get_current_context().exit(code)
