"""From files and an inventory to a plan: what `plan` and `compile` do alike, the ways to fail included."""

import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar, get_args

import click

from harmonia_compiler.check.files import check_files
from harmonia_compiler.cli.exits import DIAGNOSTICS, INFEASIBLE
from harmonia_compiler.cli.options import InventoryPath
from harmonia_compiler.cli.output import findings_document, print_diagnostics, print_json
from harmonia_compiler.cli.outputs import refuse_overwriting
from harmonia_compiler.contract.inventory import Inventory, load_inventory
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.corrected import Measured
from harmonia_compiler.plan.infeasible import Infeasible
from harmonia_compiler.plan.planner import make_plan, usual_takes
from harmonia_compiler.plan.problem import Aim
from harmonia_compiler.plan.promises import promises

Made = TypeVar("Made")

#: Makes a plan with a margin, and chooses one of those that can be made for an inventory. Both raise Infeasible.
Make = Callable[[float], tuple[Application, Plan]]
Decide = Callable[[Make, Inventory], tuple[Application, Plan]]

inventory_option = click.option(
    "--inventory",
    required=True,
    type=InventoryPath(),
    help="The machines to plan for, as TOML.",
)
objective_option = click.option(
    "--objective", type=click.Choice(get_args(Aim)), default="throughput", show_default=True
)


def planned(
    files: Collection[Path],
    settings: Mapping[str, str],
    inventory: Path,
    objective: Aim,
    *,
    form: str = "text",
    decide: Decide | None = None,
    running: Plan | None = None,
    measured: Measured | None = None,
) -> tuple[Application, Plan]:
    """The checked application after the passes, and its plan.

    Exits 1 where a file is wrong and 3 where there is no plan; `form` is how findings are then
    given: frames on stderr, or one JSON document on stdout. `decide` settles on a plan where it is not the first,
    and of equally good ones it is the one that keeps most of a `running` one. What a service `measured` holds in
    place of what is expected.
    """
    checked = checked_for(files, settings, form)
    started = time.perf_counter()
    hosts = load_inventory(inventory)
    make = partial(plan_for, checked, hosts, objective, running=running, measured=measured)
    application, plan = or_leave(form, lambda: make(1.0) if decide is None else decide(make, hosts))
    for share in plan.pipelines:
        if share.early:
            click.echo(f"`{share.name}` begins early, to keep its latency: {', '.join(share.early)}", err=True)
    click.echo(f"planned in {time.perf_counter() - started:.2f} s", err=True)
    return application, plan


def checked_for(files: Collection[Path], settings: Mapping[str, str], form: str) -> Application:
    """The application that some files make. Exits 1 where one is wrong; warnings are printed.

    Raises Rejected where the command would overwrite one of them.
    """
    checked = check_files(list(files), settings)
    if checked.application is None:
        _leave(checked.found, DIAGNOSTICS, form, checked.left_out)
    print_diagnostics(checked.found, checked.left_out)
    refuse_overwriting(checked.read)
    return checked.application


def or_leave(form: str, make: Callable[[], Made]) -> Made:
    """What is made. Exits 3 where there is no plan."""
    try:
        return make()
    except Infeasible as infeasible:
        _leave(infeasible.found, INFEASIBLE, form)


def plan_for(
    application: Application,
    inventory: Inventory,
    objective: Aim,
    margin: float = 1.0,
    *,
    running: Plan | None = None,
    within_ms: float | None = None,
    measured: Measured | None = None,
) -> tuple[Application, Plan]:
    """The application after the passes, and its plan, whose latencies stay `margin` times below what is promised.

    Branches begin nothing early as long as there is a plan without it: what is begun in vain is work. Else those of the
    pipelines do that are late, and where that is not enough, those of all that promise something: what one saves leaves
    room to another. Raises Infeasible where what is promised cannot be kept either way.
    """
    optimised = optimise(application)
    make = partial(
        make_plan,
        inventory=inventory,
        objective=objective,
        margin=margin,
        running=running,
        within_ms=within_ms,
        measured=measured,
    )
    try:
        return optimised, make(optimised)
    except Infeasible as infeasible:
        first = last = infeasible
    if first.late:
        takes, tried = usual_takes(optimised, inventory), optimised
        promising = {flow.name for flow in application.flows if within_ms is not None or promises(flow)}
        for hurried in (first.late, promising):
            eager = optimise(application, takes=takes, hurried=hurried)
            if eager != tried:
                tried = eager
                try:
                    return eager, make(eager)
                except Infeasible as still:
                    last = still
    # How near the promise one comes is said of the fastest way, unless that fails for another reason.
    raise last if codes(last) == codes(first) else first


def codes(infeasible: Infeasible) -> set[str]:
    """What is wrong, by code."""
    return {one.code for one in infeasible.found}


def _leave(found: Collection[Diagnostic], code: int, form: str, left_out: int = 0) -> NoReturn:
    if form == "json":
        print_json(findings_document(found, left_out))
    else:
        print_diagnostics(found, left_out)
    click.get_current_context().exit(code)
