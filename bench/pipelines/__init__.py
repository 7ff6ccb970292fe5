"""The pipelines and inventories of the measurements, and their scenarios."""

from pathlib import Path

from msgspec.structs import replace

from harmonia_compiler.check.files import check_files
from harmonia_compiler.cli.planning import plan_for
from harmonia_compiler.contract.inventory import load_inventory
from harmonia_compiler.contract.objective import Objective
from harmonia_compiler.emulate.scenario import Scenario, scenario
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.passes.registry import PASSES, optimise
from harmonia_compiler.plan.planner import make_plan

FOLDER = Path(__file__).parent
#: Passes without which no service can be made: a store is asked by vectors.
NEEDED = {"expand_retrieval"}
NAMES = ("vanilla", "crag", "self_rag", "adaptive", "ircot")


def planned(
    name: str,
    inventory: str,
    seed: int = 1,
    promise_s: float | None = None,
    *,
    promised: bool = True,
    passes: bool = True,
) -> Scenario:
    """A pipeline's plan for the highest rate on an inventory, ready to be tried.

    Under what the pipeline declares, or under a promise of so many seconds instead, for 95 of a hundred requests, or
    with nothing `promised`. Without `passes` the flow is planned and served as it is written, but for
    those that no service can do without.
    """
    checked = check_files([FOLDER / f"{name}.rag"], {})
    assert checked.application is not None, checked.found
    hosts = load_inventory(FOLDER / f"{inventory}.toml")
    declared = checked.application
    if promise_s is not None:
        declared = _promising(declared, (Objective("latency", 0.95, 1000.0 * promise_s),))
    if not promised:
        declared = _promising(declared, ())
    if passes:
        application, plan = plan_for(declared, hosts, "throughput")
    else:
        application = optimise(declared, [one.name for one in PASSES if one.name not in NEEDED])
        plan = make_plan(application, hosts, objective="throughput")
    return scenario(application, hosts, plan, seed)


def _promising(application: Application, objectives: tuple[Objective, ...]) -> Application:
    flows = tuple(replace(flow, objectives=objectives) for flow in application.flows)
    return replace(application, flows=flows)
