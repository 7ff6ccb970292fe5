"""A plan that is tried, made here or read, and its workload: what `simulate`, `rehearse` and `emulate` begin with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from harmonia_compiler.cli.arriving import Asked, Workload, for_enough, known_classes, workload
from harmonia_compiler.cli.comparing import stale_remarks
from harmonia_compiler.cli.options import IN_FILE
from harmonia_compiler.cli.planning import checked_for, planned
from harmonia_compiler.cli.reporting import at_rate, counted
from harmonia_compiler.contract.inventory import load_inventory
from harmonia_compiler.contract.plan import Plan, read_plan
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.near import listed
from harmonia_compiler.emulate.scenario import Scenario, scenario
from harmonia_compiler.flow.calls import early_calls
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.plan.planner import digests, usual_takes
from harmonia_compiler.plan.problem import Aim
from harmonia_compiler.plan.running import stale
from harmonia_compiler.plan.verify import without_room
from harmonia_compiler.report.measures import Window

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried, on which requests, and which of these count."""

    scenario: Scenario
    coming: Workload
    window: Window


def plan_option(command: Command) -> Command:
    """`--plan FILE`: gives the command the path as `saved`, or None where a plan is to be made."""
    help = "Try this plan, as `plan --out` or a bundle's `plan.json` holds it, and make none."
    return click.option("--plan", "saved", type=IN_FILE, help=help)(command)


def trial(
    files: Sequence[Path],
    settings: Mapping[str, str],
    inventory: Path,
    objective: Aim,
    saved: Path | None,
    asked: Asked,
    warmup_ms: float | None,
    *,
    form: str,
    requests: int = 0,
) -> Trial:
    """A plan, and what comes: at the declared loads, unless options say otherwise. Exits as `planned` does.

    Where none says for how long, that is until so many `requests` have come, or a little where those come sooner.
    Raises Rejected where no request comes in the part of the run that counts, and as `plan_to_try` does.
    """
    application, plan, said = plan_to_try(files, settings, inventory, objective, saved, form=form)
    known_classes(
        asked, {one.name for flow in application.flows for one in flow.classes}, "no pipeline has such a class"
    )
    # A rate for a plan that is read is one of those that it was made for, in the same parts: so it was simulated.
    loads = None if saved is None or asked.rate is None else {one.name: one.load_rps for one in plan.pipelines}
    tried = scenario(application, load_inventory(inventory), plan, asked.seed, loads)
    coming, window = counted(workload(for_enough(at_rate(asked, tried.load_rps), requests)), warmup_ms)
    those = "plan's" if loads is not None else "declared"
    parts = {"pipelines": f"by the {those} loads"} if len(plan.pipelines) > 1 else {}
    return Trial(tried, Workload(coming.arrivals, coming.end_ms, {"plan": said, **coming.said, **parts}), window)


def plan_to_try(
    files: Sequence[Path],
    settings: Mapping[str, str],
    inventory: Path,
    objective: Aim,
    saved: Path | None,
    *,
    form: str,
) -> tuple[Application, Plan, str]:
    """The application, the plan that is saved or else made here, and which one that is, which is also told.

    Raises Rejected where the plan that is saved is not one of these files for that inventory.
    """
    if saved is None:
        application, plan = planned(files, settings, inventory, objective, form=form)
        said = f"made here for {objective}"
    else:
        if click.get_current_context().get_parameter_source("objective") is not ParameterSource.DEFAULT:
            raise click.UsageError("--objective is about a plan that is made here: leave it or --plan out")
        application, plan = _read(saved, checked_for(files, settings, form), inventory)
        said = f"of {saved}, made for {plan.objective}"
    loads = ", ".join(f"{one.load_rps:g} rps of {one.name}" for one in plan.pipelines)
    said = f"{said} at {loads}"
    click.echo(f"the plan is {said}", err=True)
    return application, plan, said


def _read(path: Path, checked: Application, inventory: Path) -> tuple[Application, Plan]:
    if path.is_dir():
        step = f"a bundle keeps its plan in `{path / 'plan.json'}`"
        raise Rejected([Diagnostic("E0730", f"the plan `{path}` cannot be read: it is a folder", help=step)])
    plan, hosts = read_plan(path), load_inventory(inventory)
    found = stale(plan, digests(checked.sources), hosts)
    for line in stale_remarks(str(path), found):
        click.echo(line, err=True)
    application = _as_planned(checked, plan, inventory)
    wrong = next(
        chain(
            _strangers(plan, application),
            (f"it has replicas on `{host}`, which is none there" for host in found.hosts),
            without_room(plan, hosts.hosts),
        ),
        None,
    )
    if wrong is not None:
        step = "give it with the files, the inventory and the settings that it was made of, or plan again"
        raise Rejected([Diagnostic("E1344", f"the plan `{path}` cannot be tried: {wrong}", help=step)])
    return application, plan


def _as_planned(checked: Application, plan: Plan, inventory: Path) -> Application:
    """The application as it was optimised for the plan: with calls that begin early where that says so."""
    plain, hurried = optimise(checked), {share.name for share in plan.pipelines if share.early}
    if not hurried:
        return plain
    return optimise(checked, takes=usual_takes(plain, load_inventory(inventory)), hurried=hurried)


def _strangers(plan: Plan, application: Application) -> Iterator[str]:
    """What of a plan is not as the application has it."""
    served, known = {flow.name for flow in application.flows}, {share.name for share in plan.pipelines}
    if served != known:
        yield f"it is for {listed(sorted(known))}, and the files have {listed(sorted(served))}"
    early = {flow.name: early_calls(flow) for flow in application.flows}
    for share in plan.pipelines:
        if share.name in early and share.early != early[share.name]:
            then, now = (listed(begun) or "nothing" for begun in (share.early, early[share.name]))
            yield f"it begins {then} early in `{share.name}`, and for what the files say it would be {now}"
    for name in sorted({name for share in plan.pipelines for name in share.visits} | plan.components.keys()):
        if name not in plan.components or plan.components[name] != application.components.get(name):
            yield f"the component `{name}` is not as the files have it"
    running = {replica.engine for replica in plan.replicas}
    for name in sorted({component.engine for component in plan.components.values()} | plan.engines.keys()):
        engine = application.engines.get(name)
        if engine is None or plan.engines.get(name) != engine:
            yield f"the engine `{name}` is not as the files have it"
        elif name not in running and not kinds()[engine.kind].external:
            yield f"it has no replica of the engine `{name}`"
