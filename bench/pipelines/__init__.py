"""The pipelines and inventories of the measurements, and their scenarios."""

from pathlib import Path

from msgspec.structs import replace

from harmonia_compiler.check.files import check_files
from harmonia_compiler.cli.planning import plan_for
from harmonia_compiler.contract.inventory import load_inventory
from harmonia_compiler.contract.objective import Objective
from harmonia_compiler.emulate.scenario import Scenario, scenario

FOLDER = Path(__file__).parent
NAMES = ("vanilla", "crag", "self_rag", "adaptive", "ircot")


def planned(name: str, inventory: str, seed: int = 1, promise_s: float | None = None) -> Scenario:
    """A pipeline's plan for the highest rate on an inventory, ready to be tried.

    Under what the pipeline declares, or under a promise of so many seconds instead, for 95 of a hundred requests.
    """
    checked = check_files([FOLDER / f"{name}.rag"], {})
    assert checked.application is not None, checked.found
    hosts = load_inventory(FOLDER / f"{inventory}.toml")
    declared = checked.application
    if promise_s is not None:
        promised = (Objective("latency", 0.95, 1000.0 * promise_s),)
        declared = replace(declared, flows=tuple(replace(flow, objectives=promised) for flow in declared.flows))
    application, plan = plan_for(declared, hosts, "throughput")
    return scenario(application, hosts, plan, seed)
