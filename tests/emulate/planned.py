"""A service that is planned for a host with L40S GPUs, to be simulated or rehearsed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.contract.types import Value
from harmonia_compiler.emulate.scenario import Scenario, scenario
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.planner import make_plan
from harmonia_compiler.policy.events import Path as Place


@dataclass(frozen=True)
class Asked:
    """A call as the emulation is asked it."""

    component: Component
    settings: Mapping[str, Any]
    items: Sequence[Mapping[str, Value]]
    many: bool
    request: int
    path: Place = ()
    site: int = 0


def planned_for(folder: Path, source: str, *, gpus: int = 1, price_per_hour: float = 0.0) -> Scenario:
    """The scenario of a program, whose file is written into the folder."""
    path = folder / "ask.rag"
    path.write_text(source)
    checked = check_files([path], {})
    assert checked.application is not None, checked.found
    application = optimise(checked.application)
    inventory = Inventory((Host("one", 16, 64.0, (Gpu("l40s", gpus),), price_per_hour=price_per_hour),))
    return scenario(application, inventory, make_plan(application, inventory), seed=3)
