"""`harmoniac compile`: check, plan, and write the bundle that a target starts."""

from functools import partial
from pathlib import Path

import click

from harmonia_compiler.check.sources import project_root
from harmonia_compiler.cli.certifying import simulate_option, simulated
from harmonia_compiler.cli.options import IN_FILE, GivenPath, files_argument, settings_option
from harmonia_compiler.cli.output import print_diagnostics
from harmonia_compiler.cli.plan_tables import carries, uncarried
from harmonia_compiler.cli.planning import inventory_option, objective_option, planned
from harmonia_compiler.contract.duration import shown_ms
from harmonia_compiler.contract.inventory import load_inventory
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.contract.site import load_site
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.render import visible
from harmonia_compiler.diagnostics.shell import shell_word
from harmonia_compiler.emit.bundle import check_target, write_bundle
from harmonia_compiler.emit.folder import is_bundle
from harmonia_compiler.plan.figures import MOST_DIGITS, plain, up
from harmonia_compiler.plan.problem import Aim
from harmonia_compiler.runtime.actuators.actuator import NOTHING_LEFT, actuator_for
from harmonia_compiler.runtime.bundle import read_contents
from harmonia_compiler.runtime.owning import check_readable


@click.command()
@files_argument
@inventory_option
@click.option("--target", default="local", show_default=True, help="What starts the bundle.")
@click.option(
    "--out",
    default="bundle",
    show_default=True,
    type=GivenPath("name a new folder, or one that holds a bundle", written=True),
    help="The folder to write it to.",
)
@click.option("--site", type=IN_FILE, help="What the target must know of the place where it is started, as TOML.")
@click.option(
    "--validate", is_flag=True, help="Then ask what speaks against starting it from here; Slurm says for itself."
)
@objective_option
@simulate_option
@settings_option
def command(
    files: tuple[Path, ...],
    inventory: Path,
    target: str,
    out: Path,
    site: Path | None,
    objective: Aim,
    settings: dict[str, str],
    *,
    is_simulated: bool,
    validate: bool,
) -> None:
    """Check the files, plan them for an inventory, and write a bundle that `harmoniac up` starts.

    A folder that holds a bundle already is brought up to date; what a service keeps in it stays.
    """
    described = None if site is None else load_site(site)
    check_target(target, described)
    _refuse_running(out)
    application, plan = planned(files, settings, inventory, objective, decide=simulated if is_simulated else None)
    # Planning takes its time, and so may waiting for another who writes it: somebody may have started it meanwhile.
    refuse, root = partial(_refuse_running, out), project_root(files)
    hosts = load_inventory(inventory).hosts
    warnings = write_bundle(
        plan, application, target=target, out=out, root=root, site=described, hosts=hosts, check=refuse
    )
    print_diagnostics(warnings)
    _print(plan, target, out)
    if validate:
        _validate(out, target)
    click.echo(f"next: harmoniac up {shell_word(out)}")


def _validate(out: Path, target: str) -> None:
    """What starting it from here would be refused for; errors are raised as one, warnings shown."""
    actuator = actuator_for(target)
    found = [] if actuator is None else actuator.preflight(out, port=None)
    if any(finding.is_error for finding in found):
        raise Rejected(found)
    print_diagnostics(found)


def _refuse_running(out: Path) -> None:
    """A running service restarts its processes from these files: they must not change under it.

    Nor may they where something of a service may be left, which the actuator of its own target alone finds and ends,
    whatever target comes next.
    """
    if not is_bundle(out):
        return
    check_readable(out)
    actuator = actuator_for(read_contents(out).target)
    status = NOTHING_LEFT if actuator is None else actuator.status(out)
    if status == NOTHING_LEFT:
        return
    is_known = status.phase != "down" and not status.is_stale
    message = f"the service in `{out}` is running" if is_known else f"something may be left of the service in `{out}`"
    step = f"end it with `harmoniac down {shell_word(out)}`, or name another folder with --out"
    raise Rejected([Diagnostic("E0914", message, help=step)])


def _print(plan: Plan, target: str, out: Path) -> None:
    hosts = len({replica.host for replica in plan.replicas})
    started = f"{len(plan.replicas)} replicas on {hosts} host{'' if hosts == 1 else 's'}"
    click.echo(f"{visible(str(out))}: a bundle for target {target} with {started}")
    for share in plan.pipelines:
        expected = plan.predicted[share.name]
        click.echo(
            f"  {share.name}: carries {carries(share.load_rps, expected.throughput_rps)} rps, "
            f"{plain(up(share.load_rps, MOST_DIGITS))} asked for, p95 {shown_ms(expected.latency_ms)}"
        )
    for line in uncarried(plan):
        click.echo(line)
