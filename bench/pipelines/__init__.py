"""The pipelines and inventories of the measurements, and their scenarios."""

from pathlib import Path

from harmonia_compiler.check.files import check_files
from harmonia_compiler.cli.planning import plan_for
from harmonia_compiler.contract.inventory import load_inventory
from harmonia_compiler.emulate.scenario import Scenario, scenario

FOLDER = Path(__file__).parent
NAMES = ("vanilla", "crag", "self_rag", "adaptive", "ircot")


def planned(name: str, inventory: str, seed: int = 1) -> Scenario:
    """A pipeline's plan for the highest rate on an inventory, ready to be tried."""
    checked = check_files([FOLDER / f"{name}.rag"], {})
    assert checked.application is not None, checked.found
    hosts = load_inventory(FOLDER / f"{inventory}.toml")
    application, plan = plan_for(checked.application, hosts, "throughput")
    return scenario(application, hosts, plan, seed)
