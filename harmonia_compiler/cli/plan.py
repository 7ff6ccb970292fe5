"""`harmoniac plan`: decides what runs where, and says what to expect of it."""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from harmonia_compiler.cli.certifying import simulated
from harmonia_compiler.cli.comparing import change_remarks, change_tables
from harmonia_compiler.cli.fronting import frontier_document, frontier_picture, frontier_table
from harmonia_compiler.cli.options import OUT_FILE, PATH, files_argument, format_option, settings_option
from harmonia_compiler.cli.output import print_json
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
from harmonia_compiler.contract.plan import Plan, Replica, encode_plan, read_plan
from harmonia_compiler.diagnostics.near import listed, nearest
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.plan.corrected import Measured
from harmonia_compiler.plan.figures import MOST_DIGITS, down, plain, up
from harmonia_compiler.plan.frontier import frontier
from harmonia_compiler.plan.planner import explained
from harmonia_compiler.plan.problem import Aim
from harmonia_compiler.plan.running import changes
from harmonia_compiler.profile.sources import CPU_ROOFLINE, ROOFLINE


@click.command()
@files_argument
@inventory_option
@objective_option
@click.option("--out", type=OUT_FILE, help="Write the plan to this file as well.")
@click.option("--from", "running", type=PATH, help="A plan that runs: of equally good ones, keep most of it.")
@click.option("--diff", "other", type=PATH, help="Show what changes of this plan.")
@click.option("--readings", type=PATH, help="A bundle whose service runs or ran: plan by what it measured.")
@click.option("--explain", metavar="COMPONENT", help="Show why it runs where it does, and what limits the rate.")
@click.option("--frontier", "is_frontier", is_flag=True, help="Show what being faster costs, at the declared loads.")
@click.option("--svg", type=OUT_FILE, help="Draw the frontier to this file.")
@click.option("--simulate", "is_simulated", is_flag=True, help="Plan again until a simulation keeps every promise.")
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
        if any((out, running, other, readings, explain, is_simulated)):
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
    document = encode_plan(plan)
    if out is not None:
        out.write_bytes(document)
    if explain is not None:
        _explain(application, load_inventory(inventory), plan, explain, measured, form)
    elif form == "json":
        click.echo(document, nl=False)
    elif before is not None:
        compared = changes(before, plan)
        _print(change_tables(compared), [*change_remarks(compared), *_remarks(plan)])
    else:
        _print([_placement(plan), _expectation(plan), _engines(plan), _memory(plan)], _remarks(plan))


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
        svg.write_text(frontier_picture(points), encoding="utf-8")
    if form == "json":
        print_json(frontier_document(points))
    else:
        _print([frontier_table(points)], [])


def _print(tables: Sequence[Table], remarks: Sequence[str]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    for table in tables:
        if table.row_count:
            console.print(table)
    for line in remarks:
        console.print(line)


def _placement(plan: Plan) -> Table:
    table = Table("host", "device", "replica", "serves", "cores", "memory", title="What runs where", box=SIMPLE)
    last = ""
    for replica in sorted(plan.replicas, key=lambda replica: (replica.host, _devices(replica), replica.id)):
        if last and replica.host != last:
            table.add_section()
        host = "" if replica.host == last else replica.host
        last = replica.host
        memory = f"{replica.memory_gib:g} GiB"
        table.add_row(host, _devices(replica), replica.id, ", ".join(replica.serves), f"{replica.cores:g}", memory)
    return table


def _devices(replica: Replica) -> str:
    if not replica.devices:
        return "cpu"
    part = f" ({replica.config.gpus:g} of it)" if replica.config.gpus < 1 else ""
    return f"{replica.config.gpu} {','.join(map(str, replica.devices))}{part}"


def _expectation(plan: Plan) -> Table:
    columns = ("pipeline", "load", "carries", "latency p95", "first token p95", "cost per hour", "bottleneck")
    table = Table(*columns, title="What to expect", box=SIMPLE)
    for share in plan.pipelines:
        expected = plan.predicted[share.name]
        table.add_row(
            share.name,
            f"{plain(up(share.load_rps, MOST_DIGITS))} rps",
            f"{plain(down(expected.throughput_rps))} rps",
            _time(expected.latency_ms),
            _time(expected.ttft_ms),
            f"{expected.cost_per_hour:g}" if expected.cost_per_hour else "-",
            expected.bottleneck,
        )
    return table


def _engines(plan: Plan) -> Table:
    columns = ("engine", "configuration", "replicas", "calls/s each", "latency", "busy", "figures from")
    table = Table(*columns, title="Engines at those rates", box=SIMPLE)
    for use in plan.profiles:
        count = sum(one.engine == use.engine and one.config.describe() == use.config for one in plan.replicas)
        busy = f"{plan.utilisation[use.engine]:.0%}"
        figures = (f"{use.capacity_rps:.3g}", _time(use.latency_ms), busy, use.provenance)
        table.add_row(use.engine, use.config, str(count), *figures)
    return table


def _memory(plan: Plan) -> Table:
    """Of the replicas of models: what the weights and the KV cache take, over all devices of a replica."""
    columns = ("engine", "configuration", "weights", "KV cache", "holds", "activations, engine")
    table = Table(*columns, title="Memory of each replica", box=SIMPLE)
    for one in plan.memory:
        cache = (f"{one.cache_gib:.3g} GiB", f"{one.cache_tokens:,.0f} tokens") if one.cache_gib else ("-", "-")
        table.add_row(one.engine, one.config, f"{one.weights_gib:.3g} GiB", *cache, f"{one.rest_gib:.3g} GiB")
    return table


def _remarks(plan: Plan) -> list[str]:
    remarks = []
    if assumed := sorted({use.engine for use in plan.profiles if use.provenance in (ROOFLINE, CPU_ROOFLINE)}):
        writes = {name for name in assumed if plan.engines[name].kind == "llm"}
        measure = " `harmoniac profile` measures language models." if writes else ""
        remarks.append(
            f"Figures by data sheet or for a modest core, which may be far off: {', '.join(assumed)}.{measure}"
        )
    for engine, factor in sorted({(use.engine, use.corrected) for use in plan.profiles if use.corrected != 1.0}):
        remarks.append(f"Calls of {engine} take {factor:.3g} times as long as the source of their figures says.")
    for share in plan.pipelines:
        carried = plan.predicted[share.name].throughput_rps
        if carried < share.load_rps * (1 - 1e-6):
            asked, carries = plain(up(share.load_rps, MOST_DIGITS)), plain(down(carried))
            most = "; no plan on this inventory carries it all" if plan.solver.status == "optimal" else ""
            remarks.append(f"{share.name} asks for {asked} rps, and this plan carries {carries}{most}.")
    if plan.guessed:
        guessed = ", ".join(plan.guessed)
        remarks.append(
            f"Sizes are guessed for: {guessed}. Say them, as in `q: text ~ 15 tokens` or `-> text ~ 60 tokens`."
        )
    if plan.estimated:
        pipelines = ", ".join(plan.estimated)
        remarks.append(f"Visits are estimated for: {pipelines}. There are too many branches for exact probabilities.")
    if plan.solver.status != "optimal":
        within = plain(up(plan.solver.gap * 100.0))
        remarks.append(f"The search ended at its node limit; the plan is within {within} % of the best.")
    return remarks


def _time(ms: float) -> str:
    return f"{ms / 1000:.3g} s" if ms >= 1000 else f"{ms:.3g} ms"
