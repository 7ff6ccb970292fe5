"""`harmoniac compile`: check, plan, and write the bundle that a target starts."""

from pathlib import Path
from typing import get_args

import click

from harmonia_compiler.check.files import check_files
from harmonia_compiler.check.sources import project_root
from harmonia_compiler.cli.exits import DIAGNOSTICS, INFEASIBLE
from harmonia_compiler.cli.options import files_argument, settings_option
from harmonia_compiler.cli.output import print_diagnostics
from harmonia_compiler.contract.inventory import load_inventory
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.emit.bundle import write_bundle
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.infeasible import Infeasible
from harmonia_compiler.plan.planner import make_plan
from harmonia_compiler.plan.problem import Aim
from harmonia_compiler.runtime.actuators.actuator import actuator_for


@click.command()
@files_argument
@click.option("--inventory", required=True, type=click.Path(path_type=Path), help="The machines to plan for, as TOML.")
@click.option("--target", default="local", show_default=True, help="What starts the bundle.")
@click.option(
    "--out", default="bundle", show_default=True, type=click.Path(path_type=Path), help="The folder to write it to."
)
@click.option("--objective", type=click.Choice(get_args(Aim)), default="throughput", show_default=True)
@settings_option
@click.pass_context
def command(
    context: click.Context,
    files: tuple[Path, ...],
    inventory: Path,
    target: str,
    out: Path,
    objective: Aim,
    settings: dict[str, str],
) -> None:
    """Check the files, plan them for an inventory, and write a bundle that `harmoniac up` starts.

    A folder that holds a bundle already is brought up to date; what a service keeps in it stays.
    """
    checked = check_files(files, settings)
    print_diagnostics(checked.found)
    if checked.application is None:
        context.exit(DIAGNOSTICS)
    application = optimise(checked.application)
    machines = load_inventory(inventory)
    try:
        plan = make_plan(application, machines, objective=objective)
    except Infeasible as infeasible:
        print_diagnostics(infeasible.found)
        context.exit(INFEASIBLE)
    _refuse_running(out, target)
    write_bundle(plan, application, target=target, out=out, root=project_root(files))
    _print(plan, target, out)


def _refuse_running(out: Path, target: str) -> None:
    """A running service restarts its processes from these files: they must not change under it."""
    actuator = actuator_for(target)
    if actuator is not None and out.is_dir() and actuator.status(out).phase != "down":
        message = f"the service in `{out}` is running"
        step = f"stop it with `harmoniac down {out}`, or name another folder with --out"
        raise Rejected([Diagnostic("E0914", message, help=step)])


def _print(plan: Plan, target: str, out: Path) -> None:
    hosts = len({replica.host for replica in plan.replicas})
    started = f"{len(plan.replicas)} replicas on {hosts} host{'' if hosts == 1 else 's'}"
    click.echo(f"{out}: a bundle for target {target} with {started}")
    for share in plan.pipelines:
        expected = plan.predicted[share.name]
        click.echo(
            f"  {share.name}: up to {expected.throughput_rps:.3g} rps of the {share.load_rps:g} rps asked for, "
            f"p95 {expected.latency_ms / 1000:.3g} s"
        )
    click.echo(f"next: harmoniac up {out}")
