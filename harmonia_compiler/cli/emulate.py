"""`harmoniac emulate`: the replicas of a plan as servers on this machine, for whatever is to be tried over them."""

import math
import tempfile
import threading
import urllib.request
from pathlib import Path

import click
import msgspec

from harmonia_compiler.cli.emulated import delays_option, factor_option, faults_option
from harmonia_compiler.cli.exits import UNREAD
from harmonia_compiler.cli.options import WholeRange, files_argument, format_option, settings_option
from harmonia_compiler.cli.planning import inventory_option, objective_option
from harmonia_compiler.cli.stopping import stopped_as_by_hand
from harmonia_compiler.cli.streams import is_unread
from harmonia_compiler.cli.trying import plan_option, plan_to_try
from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.inventory import load_inventory
from harmonia_compiler.emulate.rehearsal.mishaps import injected, loading
from harmonia_compiler.emulate.rehearsal.processes import Emulated, emulated, rehearsal_of, url_of
from harmonia_compiler.emulate.scenario import scenario
from harmonia_compiler.emulate.servers.faults import Fault
from harmonia_compiler.plan.problem import Aim
from harmonia_compiler.runtime.descriptors import raise_open_files


@click.command()
@files_argument
@inventory_option
@objective_option
@plan_option
@factor_option
@faults_option
@delays_option
@click.option(
    "--seed", type=WholeRange(0), default=1, show_default=True, help="Another one, and calls answer otherwise."
)
@format_option
@settings_option
@click.pass_context
def command(
    context: click.Context,
    files: tuple[Path, ...],
    inventory: Path,
    objective: Aim,
    saved: Path | None,
    factor: float | None,
    faults: tuple[Fault, ...],
    delays: tuple[tuple[str, float], ...],
    seed: int,
    form: str,
    settings: dict[str, str],
) -> None:
    """Plan, and serve the plan's engines here, emulated: behind their own routes, in the time of the profiles.

    Prints where each replica listens, and serves until Ctrl-C. A --fault's time counts from the start.
    """
    application, plan, _ = plan_to_try(files, settings, inventory, objective, saved, form=form)
    tried = scenario(application, load_inventory(inventory), plan, seed)
    wrong = injected(tried, faults, math.inf)
    document = rehearsal_of(tried, factor or 1.0, loading(tried, dict(delays)), wrong)
    raise_open_files()
    with (
        stopped_as_by_hand(),
        tempfile.TemporaryDirectory(prefix="harmonia-emulated-") as folder,
        emulated(Path(folder), document) as engines,
    ):
        _begin(engines)
        click.echo(_shown(engines.replicas, form))
        if is_unread():
            # Nobody knows where they listen.
            context.exit(UNREAD)
        threading.Event().wait()


def _begin(engines: Emulated) -> None:
    """Let the times of faults count."""
    asked = urllib.request.Request(f"{engines.control}/begin", method="POST")  # noqa: S310 - an address of ours
    urllib.request.urlopen(asked, timeout=10.0).close()  # noqa: S310 - the same


def _shown(replicas: tuple[Endpoint, ...], form: str) -> str:
    if form == "json":
        return msgspec.json.encode({"replicas": replicas}).decode()
    width = max((len(one.replica) for one in replicas), default=0)
    return "\n".join(f"{one.replica:{width}}  {url_of(one)}" for one in replicas)
