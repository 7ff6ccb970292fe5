"""Calls of a pipeline whose answers are drawn as an emulated engine draws them; what was called, and where."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.kinds.openai import spoken


class Drawn:
    """What `bench/peers/programs/flows.py` calls. `said` is each answer by its component, request and place."""

    def __init__(self, scenario: Scenario) -> None:
        self.behaviour = scenario.behaviour
        ((_, program),) = scenario.service.programs.items()
        self.components = program.components
        self.called: Counter[str] = Counter()
        self.said: dict[str, Any] = {}

    def value(self, who: Any, name: str) -> Any:
        self.called[name] += 1
        return self.behaviour.value(self.components[name], {}, who.request, who.place)

    def keep(self, who: Any, name: str, said: Any) -> Any:
        self.said[f"{name} {who.request} {who.place}"] = said
        return said

    async def search(self, who: Any, _query: str) -> list[Any]:
        self.called["minilm"] += 1
        return list(self.keep(who, "search", self.value(who, "search")))

    async def say(self, who: Any, component: str, **_inputs: Any) -> str:
        said = spoken(self.value(who, component), self.components[component].result)
        return str(self.keep(who, component, said))

    async def stream(self, who: Any, component: str, **inputs: Any) -> AsyncIterator[str]:
        yield await self.say(who, component, **inputs)

    async def web(self, who: Any, _keywords: str) -> list[Any]:
        return list(self.keep(who, "web", self.value(who, "web")))
