"""The pipelines as the peers run them ask what the compiled ones ask: the same calls at the same places."""

import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench.pipelines import NAMES
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.kinds.openai import spoken
from harmonia_compiler.policy.parts import NONE
from harmonia_compiler.report.measures import Window
from harmonia_compiler.workload.request import Arrival

PROGRAMS = Path(__file__).parent.parent.parent / "bench" / "peers" / "programs"
REQUESTS = 40


@pytest.fixture(scope="module")
def flows() -> Iterator[ModuleType]:
    """The module, which stands in an environment of its own and imports its neighbours by their names."""
    sys.path.insert(0, str(PROGRAMS))
    yield import_module("flows")
    sys.path.remove(str(PROGRAMS))


class Drawn:
    """Calls whose answers are drawn as an emulated engine draws them; what was called, and where."""

    def __init__(self, scenario: Scenario) -> None:
        self.behaviour = scenario.behaviour
        ((_, program),) = scenario.service.programs.items()
        self.components = program.components
        self.called: Counter[str] = Counter()

    def value(self, who: Any, name: str) -> Any:
        self.called[name] += 1
        return self.behaviour.value(self.components[name], {}, who.request, who.place)

    async def search(self, who: Any, _query: str) -> list[Any]:
        self.called["minilm"] += 1
        return list(self.value(who, "search"))

    async def say(self, who: Any, component: str, **_inputs: Any) -> str:
        return spoken(self.value(who, component), self.components[component].result)

    async def stream(self, who: Any, component: str, **inputs: Any) -> AsyncIterator[str]:
        yield await self.say(who, component, **inputs)

    async def web(self, who: Any, _keywords: str) -> list[Any]:
        return list(self.value(who, "web"))


@pytest.mark.parametrize("name", NAMES)
async def test_a_peer_makes_the_calls_of_the_compiled_pipeline(
    name: str, flows: ModuleType, plans: Callable[[str], Scenario]
) -> None:
    scenario = plans(name)
    arrivals = [Arrival(number * 20_000.0) for number in range(REQUESTS)]
    window = Window(0.0, REQUESTS * 20_000.0)
    done = simulate(scenario, arrivals, window, load_cards(), {}, parts=NONE, resizes=False)
    ours = Counter(stage.component for one in done.observed for stage in one.stages)
    drawn = Drawn(scenario)
    for number in range(REQUESTS):
        assert "".join([piece async for piece in flows.FLOWS[name](drawn, str(number), "What?")])
    assert drawn.called == ours
