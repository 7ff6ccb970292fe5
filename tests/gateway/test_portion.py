"""Requests that make very many calls at once: a portion in each turn of the event loop, so that others go on."""

import asyncio
from pathlib import Path

import pytest

from harmonia_compiler.policy.events import Send
from harmonia_compiler.runtime.gateway.portion import MOST, PORTION, Portions
from tests.gateway.fakes import Served
from tests.gateway.test_lists import FORMS, served_with


class Begun:
    """The calls that have begun, and those of them that are on their way."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.put_off = 0
        self.ended = 0

    def __call__(self, send: Send, *, put_off: bool) -> None:
        self.calls.append(send.call)
        self.put_off += put_off

    def on_way(self) -> int:
        return len(self.calls) - self.ended


async def test_a_portion_is_begun_in_a_turn_and_no_more_than_may_be_on_their_way() -> None:
    begun = Begun()
    portions = Portions(begun, begun.on_way, asyncio.get_running_loop())
    added = [portions.add(Send(number, "caps", {}, {})) for number in range(2 * MOST)]
    assert added == [number < PORTION for number in range(2 * MOST)]
    assert portions.drop(PORTION) is not None
    assert portions.drop(0) is None
    for _ in range(MOST // PORTION + 5):
        before = len(begun.calls)
        await asyncio.sleep(0)
        assert len(begun.calls) - before <= PORTION
    assert begun.calls == [number for number in range(MOST + 1) if number != PORTION]
    begun.ended = 10
    portions.go_on()
    await asyncio.sleep(0)
    assert len(begun.calls) == MOST + 10
    assert [send.call for send in portions.stop()] == [*range(MOST + 11, 2 * MOST)]
    assert begun.put_off == MOST + 10 - PORTION


def pending(served: Served) -> list[float]:
    (pipeline,) = served.gateway.schedule.pipelines.values()
    return [calls for group in pipeline.groups.values() for calls in group.pending.values()]


@pytest.mark.parametrize("form", FORMS)
async def test_what_is_done_in_portions_comes_to_the_same(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harmonia_compiler.runtime.gateway.portion.PORTION", 3)
    monkeypatch.setattr("harmonia_compiler.runtime.gateway.portion.MOST", 7)
    monkeypatch.setattr("harmonia_compiler.runtime.gateway.driver.PLACES", 2)
    async with served_with(tmp_path, form, 50) as (served, _):
        status, body, _ = await served.client.post("/v1/pipelines/p", {"inputs": {"q": "hi"}})
        assert (status, body.get("value")) == (200, [FORMS[form][2]] * 50), body
        assert pending(served) == pytest.approx([0.0] * len(pending(served)), abs=1e-6)
