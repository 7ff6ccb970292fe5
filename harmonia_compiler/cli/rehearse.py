"""`harmoniac rehearse`: runs a plan on this machine, the real gateway over emulated engines, before a GPU is rented."""

from pathlib import Path

import click

from harmonia_compiler.cli.arriving import Asked, workload_options
from harmonia_compiler.cli.emulated import delays_option, factor_option, faults_option
from harmonia_compiler.cli.examples import examples
from harmonia_compiler.cli.options import files_argument, format_option, settings_option
from harmonia_compiler.cli.planning import inventory_option, objective_option
from harmonia_compiler.cli.reporting import html_option, print_report, warmup_option
from harmonia_compiler.cli.stopping import stopped_as_by_hand
from harmonia_compiler.cli.trying import plan_option, trial
from harmonia_compiler.cli.without import said_without, without_option
from harmonia_compiler.contract.duration import shown_ms
from harmonia_compiler.emulate.rehearsal.run import Wishes, rehearse
from harmonia_compiler.emulate.servers.faults import Fault
from harmonia_compiler.plan.problem import Aim
from harmonia_compiler.policy.parts import Parts


@click.command(
    epilog=examples(
        "harmoniac rehearse app.rag --inventory gpus.toml --for 60s",
        "harmoniac rehearse app.rag --inventory gpus.toml --rate 5 --fault 'answer slow 3x at 30s for 10s'",
    )
)
@files_argument
@inventory_option
@objective_option
@plan_option
@workload_options
@warmup_option
@factor_option
@faults_option
@delays_option
@without_option
@html_option
@format_option
@settings_option
def command(
    files: tuple[Path, ...],
    inventory: Path,
    objective: Aim,
    saved: Path | None,
    asked: Asked,
    warmup_ms: float | None,
    factor: float | None,
    faults: tuple[Fault, ...],
    delays: tuple[tuple[str, float], ...],
    parts: Parts,
    html: Path | None,
    form: str,
    settings: dict[str, str],
) -> None:
    """Plan, and run the plan here: the real gateway over engines that take the time that the profiles give.

    FILE is a `.rag` file, whose pipelines are planned for the machines of --inventory: no GPU of them need be there.
    Requests come in at the declared loads, at --rate, or as a --trace recorded them. Where this machine would be the
    limit, all times are stretched by one factor.

    A --fault names a replica, an engine or a component, and its time counts from the first request on.
    """
    tried = trial(files, settings, inventory, objective, saved, asked, warmup_ms, form=form)

    def tell(factor: float) -> None:
        takes = shown_ms(tried.coming.end_ms * factor)
        click.echo(f"rehearsing for about {takes}: times stretched {factor:.3g} times", err=True)

    def waits(count: int, most_s: float) -> None:
        those = "1 request has" if count == 1 else f"{count} requests have"
        most = shown_ms(most_s * 1000.0)
        click.echo(f"{those} no answer yet: waiting until all have, or no more came for {most}", err=True)

    wishes = Wishes(factor, dict(delays), faults, parts)
    said = {**tried.coming.said, **said_without(parts)}
    with stopped_as_by_hand():
        done = rehearse(tried.scenario, tried.coming.arrivals, tried.window, said, wishes, tell, waits)
    print_report(done.report, form, html)
