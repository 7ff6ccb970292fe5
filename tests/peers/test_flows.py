"""The pipelines as the peers run them ask what the compiled ones ask: the same calls at the same places."""

from collections import Counter
from collections.abc import Callable
from types import ModuleType

import pytest

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.policy.parts import NONE
from harmonia_compiler.report.measures import Window
from harmonia_compiler.workload.request import Arrival
from tests.peers.drawn import Drawn
from tests.peers.each import EACH

REQUESTS = 40


@pytest.mark.parametrize("name", EACH)
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
