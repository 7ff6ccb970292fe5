"""A plan and the workload that it is to be tried on: what `simulate` and `rehearse` begin with alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harmonia_compiler.cli.arriving import Asked, Workload, known_classes, workload
from harmonia_compiler.cli.planning import planned
from harmonia_compiler.cli.reporting import at_rate, counted
from harmonia_compiler.contract.inventory import load_inventory
from harmonia_compiler.emulate.scenario import Scenario, scenario
from harmonia_compiler.plan.problem import Aim
from harmonia_compiler.report.measures import Window


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried, on which requests, and which of these count."""

    scenario: Scenario
    coming: Workload
    window: Window


def trial(
    files: Sequence[Path],
    settings: Mapping[str, str],
    inventory: Path,
    objective: Aim,
    asked: Asked,
    warmup_ms: float | None,
    *,
    form: str,
) -> Trial:
    """Plan, and settle what comes: at the declared loads, unless options say otherwise. Exits as `planned` does.

    Raises Rejected where no request comes in the part of the run that counts.
    """
    application, plan = planned(files, settings, inventory, objective, form=form)
    known_classes(
        asked, {one.name for flow in application.flows for one in flow.classes}, "no pipeline has such a class"
    )
    tried = scenario(application, load_inventory(inventory), plan, asked.seed)
    return Trial(tried, *counted(workload(at_rate(asked, tried.load_rps)), warmup_ms))
