"""A service that is planned for a host with L40S GPUs, to be simulated or rehearsed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.contract.program import Call
from harmonia_compiler.contract.types import Value
from harmonia_compiler.emulate.scenario import Scenario, scenario
from harmonia_compiler.flow.bodies import with_bodies
from harmonia_compiler.flow.graph import Application, Body
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


def planned_for(
    folder: Path,
    source: str,
    *,
    gpus: int = 1,
    price_per_hour: float = 0.0,
    limits: Mapping[int, int] | None = None,
) -> Scenario:
    """The scenario of a program, whose file is written into the folder.

    What answers at most so many tokens by the file answers at most as many as its number in `limits` says: no file may
    expect more than it allows.
    """
    path = folder / "ask.rag"
    path.write_text(source)
    checked = check_files([path], {})
    assert checked.application is not None, checked.found
    application = optimise(_limited(checked.application, limits or {}))
    inventory = Inventory((Host("one", 16, 64.0, (Gpu("l40s", gpus),), price_per_hour=price_per_hour),))
    return scenario(application, inventory, make_plan(application, inventory), seed=3)


def _limited(application: Application, limits: Mapping[int, int]) -> Application:
    def limited(settings: Mapping[str, Any]) -> dict[str, Any]:
        return {name: limits.get(value, value) if name == "max_tokens" else value for name, value in settings.items()}

    def rewritten(body: Body) -> Body:
        nodes = (
            replace(node, operation=replace(node.operation, settings=limited(node.operation.settings)))
            if isinstance(node.operation, Call)
            else node
            for node in body.nodes
        )
        return replace(body, nodes=tuple(nodes))

    components = {name: replace(one, settings=limited(one.settings)) for name, one in application.components.items()}
    flows = tuple(with_bodies(flow, [rewritten(body) for body in flow.bodies]) for flow in application.flows)
    return replace(application, components=components, flows=flows)
