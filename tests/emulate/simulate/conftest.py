"""Plans of samples and of small files, ready to be simulated."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.emulate.scenario import scenario
from harmonia_compiler.emulate.simulate.simulation import Simulation
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.planner import make_plan

INVENTORY = Inventory((Host("one", 32, 256.0, (Gpu("h100_sxm", 2),)),))

Simulated = Callable[..., Simulation]


def simulation_of(application: Application, seed: int = 1, overhead_ms: float = 0.0) -> Simulation:
    """A simulation of the application's plan for two GPUs and 32 cores."""
    plan = make_plan(application, INVENTORY)
    return Simulation(scenario(application, INVENTORY, plan, seed), load_cards(), overhead_ms)


@pytest.fixture
def simulated(tmp_path: Path) -> Simulated:
    """Checks, plans and prepares a source text, or a file."""

    def make(source: str | Path, seed: int = 1, overhead_ms: float = 0.0) -> Simulation:
        path = source
        if isinstance(source, str):
            path = tmp_path / "app.rag"
            path.write_text(source)
        assert isinstance(path, Path)
        checked = check_files([path], {})
        assert checked.application is not None, checked.found
        return simulation_of(optimise(checked.application), seed, overhead_ms)

    return make
