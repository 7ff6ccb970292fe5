"""The pipelines as LangGraph and Haystack have them ask the same calls at the same places as the compiled ones.

Each runs in the environment of its framework, where that is there (`make bench-peers` makes both), over answers that
are given to it.
"""

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from bench.pipelines import NAMES
from harmonia_compiler.emulate.scenario import Scenario
from tests.peers.drawn import Drawn

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = ROOT / "bench" / "peers" / "programs"
REQUESTS = 12
#: Answers by component, request and place; who asks for another one fails.
CALLS = """
import asyncio, json, sys
from collections import Counter
sys.path.insert(0, sys.argv[1])
name, said, asked = sys.argv[2], json.loads(open(sys.argv[3]).read()), Counter()

def give(who, component):
    asked[component] += 1
    return said[f"{component} {who.request} {who.place}"]

class Calls:
    async def search(self, who, query):
        return give(who, "search")

    async def web(self, who, keywords):
        return give(who, "web")
"""
RUNS = {
    "peers": """
from langgraph_graphs import GRAPHS

class Graph(Calls):
    async def say(self, config, who, component, **inputs):
        return give(who, component)

graph, _ = GRAPHS[name](Graph())

async def run(request):
    config = {"configurable": {"request": request}, "recursion_limit": 50}
    return (await graph.ainvoke({"question": "What?"}, config))["draft"]
""",
    "haystack": """
from engines import Who
from haystack_pipelines import PIPELINES, Measured

class Pools(Calls):
    async def say(self, who, component, callback=None, **inputs):
        return give(who, component)

build, streamed, ends = PIPELINES[name]
one = Measured()
one.streamed, one.ends, one.pipeline = streamed, ends, build(Pools())

async def run(request):
    pieces = [piece async for piece in await one.run_api_async("What?", request)]
    return pieces or "streamed"
""",
}
PRINTED = """
async def all():
    for number in range(int(sys.argv[4])):
        assert await run(str(number))

asyncio.run(all())
print(json.dumps(asked))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("environment", RUNS)
async def test_a_framework_asks_what_the_compiled_pipeline_asks(
    name: str, environment: str, flows: ModuleType, plans: Callable[[str], Scenario], tmp_path: Path
) -> None:
    python = ROOT / ".venv" / environment / "bin" / "python"
    if not python.exists():
        pytest.skip(f"`make .venv/stamps/{environment}` installs what this runs in")
    drawn = Drawn(plans(name))
    for number in range(REQUESTS):
        _ = [piece async for piece in flows.FLOWS[name](drawn, str(number), "What?")]
    (tmp_path / "said.json").write_text(json.dumps(drawn.said))
    words = [str(python), "-c", CALLS + RUNS[environment] + PRINTED, str(PROGRAMS), name]
    done = await asyncio.to_thread(
        subprocess.run,
        [*words, str(tmp_path / "said.json"), str(REQUESTS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert Counter(json.loads(done.stdout.splitlines()[-1])) == drawn.called - Counter(minilm=drawn.called["minilm"])
