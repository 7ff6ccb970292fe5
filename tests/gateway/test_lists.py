"""Long lists at one replica that takes one call at a time: no request is refused for the calls that it makes itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from harmonia_compiler.contract.program import MOST_ITEMS
from harmonia_compiler.policy.line import WAITING_AT_LEAST
from tests.gateway.compiled import compile_text
from tests.gateway.fakes import FakeEngine, Served, eventually, serving

DECLARED = """
component words(q: text) -> [text ~ 9 tokens] ~ 100 = python("m:words")
component caps(q: text) -> text ~ 9 tokens = python("m:caps")
component sure(q: text) -> bool = python("m:sure")
component say(q: text) -> text ~ 9 tokens = python("m:say")
"""

#: What is done for each item, and what it then is.
FORMS: dict[str, tuple[str, str, Any]] = {
    "call": ("caps(w)", "[text]", "x"),
    "where": ("caps(w)", "[text]", "x"),
    "record": ("(one: caps(w), other: say(w))", "[(one: text, other: text)]", {"one": "x", "other": "y"}),
    "chain": ("say(caps(w))", "[text]", "y"),
}


def piped(form: str) -> str:
    """A pipeline that does this for each word."""
    done, gives, _ = FORMS[form]
    where = " where sure(w) ~ 0.9" if form == "where" else ""
    return f"pipeline p(q: text ~ 9 tokens) -> {gives} {{\n    return each w in words(q){where}: {done}\n}}\n"


@asynccontextmanager
async def served_with(folder: Path, form: str, items: int, **caps: Any) -> AsyncIterator[tuple[Served, FakeEngine]]:
    """A gateway of which each engine has a replica that takes one call at a time, and that of `caps`."""
    programs, engines = compile_text(folder, DECLARED + piped(form))
    results = {"words": [f"w{at}" for at in range(items)], "caps": "x", "sure": True, "say": "y"}
    async with AsyncExitStack() as stack:
        replicas = {}
        for name in engines:
            replicas[name] = await FakeEngine(result=results[name], **(caps if name == "caps" else {})).start()
            stack.push_async_callback(replicas[name].stop)
        ports = {name: replica.port for name, replica in replicas.items()}
        served = await stack.enter_async_context(serving(programs, ports, engines=engines, concurrency=1))
        yield served, replicas["caps"]


@pytest.mark.parametrize("items", [100, MOST_ITEMS])
@pytest.mark.parametrize("form", FORMS)
async def test_a_list_is_answered_whatever_its_length(tmp_path: Path, form: str, items: int) -> None:
    async with served_with(tmp_path, form, items) as (served, _):
        status, body, _ = await served.client.post("/v1/pipelines/p", {"inputs": {"q": "hi"}})
        assert (status, body.get("value")) == (200, [FORMS[form][2]] * items), body


async def test_several_lists_wait_for_each_other(tmp_path: Path) -> None:
    async with served_with(tmp_path, "chain", 100) as (served, _):
        asked = (served.client.post("/v1/pipelines/p", {"inputs": {"q": "hi"}}) for _ in range(5))
        assert [status for status, _, _ in await asyncio.gather(*asked)] == [200] * 5


async def test_as_many_requests_wait_as_may_and_the_next_one_is_refused(tmp_path: Path) -> None:
    async with served_with(tmp_path, "call", 3, hang=True) as (served, caps):
        asked = {"inputs": {"q": "hi"}}
        waiting = served.gateway.dispatcher.queues["caps"].line.waiting
        tasks = []
        for number in range(WAITING_AT_LEAST):
            tasks.append(asyncio.create_task(served.client.post("/v1/pipelines/p", asked)))
            await eventually(lambda number=number: len(waiting) == 3 * number + 2)
        status, body, headers = await served.client.post("/v1/pipelines/p", asked)
        assert (status, body["error"]["code"], body["error"]["component"]) == (429, "queue_full", "caps")
        assert body["error"]["message"] == "`caps`: 191 calls of 64 requests wait for its engine `caps` already"
        assert int(headers["retry-after"]) >= 1
        assert len(caps.calls) == 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await eventually(lambda: not waiting)
