"""A service that is planned for a host with L40S GPUs, to be simulated or rehearsed."""

from pathlib import Path

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.emulate.scenario import Scenario, scenario
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.planner import make_plan


def planned_for(folder: Path, source: str, *, gpus: int = 1, price_per_hour: float = 0.0) -> Scenario:
    """The scenario of a program, whose file is written into the folder."""
    path = folder / "ask.rag"
    path.write_text(source)
    checked = check_files([path], {})
    assert checked.application is not None, checked.found
    application = optimise(checked.application)
    inventory = Inventory((Host("one", 16, 64.0, (Gpu("l40s", gpus),), price_per_hour=price_per_hour),))
    return scenario(application, inventory, make_plan(application, inventory), seed=3)
