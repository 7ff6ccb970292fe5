"""What is done beside requests goes on after a bug of ours, which is written down and counted."""

import asyncio
from typing import Any

import pytest

from harmonia_compiler.runtime.gateway import again as module
from harmonia_compiler.runtime.gateway.again import again
from harmonia_compiler.runtime.gateway.dispatch import EngineQueue
from tests.gateway.fakes import ENGINES, FakeEngine, eventually, serving
from tests.gateway.test_retries import ask, saying


async def turned(fails: int, caplog: pytest.LogCaptureFixture, turns: int = 20) -> tuple[int, list[dict[str, Any]]]:
    """How many failures were counted of a turn whose first ones fail, and what was written down of them."""
    done, counted, enough = 0, 0, asyncio.Event()

    def turn() -> None:
        nonlocal done
        done += 1
        if done == turns:
            enough.set()
        if done <= fails:
            raise KeyError("a secret")

    def count() -> None:
        nonlocal counted
        counted += 1

    caplog.clear()
    running = asyncio.create_task(again("count sheep", turn, 0.001, count))
    async with asyncio.timeout(10.0):
        await enough.wait()
    running.cancel()
    return counted, [{"event": record.message, **vars(record)["facts"]} for record in caplog.records]


async def test_a_bug_is_written_down_with_its_place_and_the_next_turn_comes(caplog: pytest.LogCaptureFixture) -> None:
    counted, (line,) = await turned(1, caplog)
    assert counted == 1
    assert (line["event"], line["turn"], line["exception"], line["times"]) == (
        "turn_failed",
        "count sheep",
        "KeyError",
        1,
    )
    assert any(place.startswith("test_again.py:") for place in line["at"])
    assert "secret" not in str(line)


async def test_one_that_fails_each_time_is_counted_each_time_and_written_down_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, lines = await turned(20, caplog)
    assert (counted, len(lines)) == (20, 1)
    monkeypatch.setattr(module, "TOLD_EVERY_S", 0.0)
    counted, lines = await turned(20, caplog)
    assert [line["times"] for line in lines] == list(range(1, 21))


async def test_a_bug_with_one_engine_is_no_matter_of_the_others_or_of_requests(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, looked = EngineQueue.look, set[str]()

    def look(self: EngineQueue) -> None:
        if "llm-1" in self.line.replicas:
            raise ZeroDivisionError
        looked.update(self.line.replicas)
        usual(self)

    monkeypatch.setattr(EngineQueue, "look", look)
    monkeypatch.setattr("harmonia_compiler.runtime.gateway.dispatch.LOOK_S", 0.005)
    async with serving([saying()], {"llm": engine.port, "embedder": engine.port}, engines=ENGINES) as served:
        await eventually(lambda: served.gateway.metrics.bugs["look llm"].value > 2)
        assert (await served.client.post("/v1/chat/completions", ask()))[0] == 200
        assert looked
        _, text = await served.client.get("/metrics")
        assert 'harmonia_bugs_total{turn="look embedder"} 0.0' in text
