"""`harmoniac simulate`: tries a plan on a workload in virtual time, far faster than it would be served."""

from pathlib import Path

import click

from harmonia_compiler.cli.arriving import Asked, workload_options
from harmonia_compiler.cli.examples import examples
from harmonia_compiler.cli.options import files_argument, format_option, settings_option
from harmonia_compiler.cli.planning import inventory_option, objective_option
from harmonia_compiler.cli.reporting import html_option, print_report, warmup_option
from harmonia_compiler.cli.trying import plan_option, trial
from harmonia_compiler.cli.without import said_without, without_option
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.duration import shown_ms
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.plan.problem import Aim
from harmonia_compiler.policy.parts import Parts
from harmonia_compiler.runtime.controller.controller import EVERY_S

#: How many requests come in the mean where nobody says for how long: enough to say how sure a p95 is.
REQUESTS = 400
#: From so often on, the controller's looking takes longer than anybody waits without a word.
_MANY_LOOKS = 100_000


@click.command(
    epilog=examples(
        "harmoniac simulate app.rag --inventory gpus.toml --for 10m",
        "harmoniac simulate app.rag --inventory gpus.toml --rate 40 --bursty 3",
        "harmoniac simulate app.rag --inventory gpus.toml --trace day.csv --scale 2 --html report.html",
    )
)
@files_argument
@inventory_option
@objective_option
@plan_option
@workload_options
@warmup_option
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
    parts: Parts,
    html: Path | None,
    form: str,
    settings: dict[str, str],
) -> None:
    """Plan, and try the plan in a simulation of every step of every engine, every queue and every branch.

    FILE is a `.rag` file, whose pipelines are planned for the machines of --inventory: nothing of them need be there.
    Requests come in at the declared loads, at --rate, or as a --trace recorded them. Without --for they do for a
    minute, and where they come seldom for as long as 400 take to come in the mean, for a day at most.
    """
    tried = trial(files, settings, inventory, objective, saved, asked, warmup_ms, form=form, requests=REQUESTS)
    coming = tried.coming
    said = {**coming.said, **said_without(parts)}
    looks = round(coming.end_ms / 1000.0 / EVERY_S)
    if parts.controller and looks >= _MANY_LOOKS:
        lasts = f"the run lasts {shown_ms(coming.end_ms)}, in which the controller looks {looks:,} times"
        click.echo(f"{lasts}, idle or not: that takes minutes, and `--without controller` leaves it out", err=True)
    done = simulate(tried.scenario, coming.arrivals, tried.window, load_cards(), said, parts=parts)
    print_report(done.report, form, html)
    rate = done.events / done.cpu_s if done.cpu_s else 0.0
    click.echo(f"simulated {done.events:,} events in {done.cpu_s:.2f} s: {rate:,.0f} a second", err=True)
