"""How a rehearsal ends: what is still unanswered is waited for as long as something is to be expected of it."""

import asyncio
import json
from collections.abc import Iterator
from time import perf_counter

import msgspec
import pytest

from harmonia_compiler.emulate.rehearsal import run as of_run
from harmonia_compiler.emulate.rehearsal.run import end, patience
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.report.observation import Outcome
from harmonia_compiler.runtime.load.exchange import Asking
from harmonia_compiler.runtime.load.routes import ChatRoute
from harmonia_compiler.runtime.load.sender import Meant, Sender, session
from harmonia_compiler.workload.request import Arrival
from tests.cli.bench_service import Service, running


@pytest.fixture
def url() -> Iterator[str]:
    with running(Service()) as found:
        yield found


def meant(url: str, model: str) -> Meant:
    body = json.dumps({"model": model, "stream": True, "messages": []}).encode()
    return Meant(0.0, Asking(f"{url}/v1/chat/completions", body, {}, 600.0), model)


async def test_what_hangs_is_cut_off_once_nothing_has_ended_for_a_while(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_run, "_LOOK_S", 0.05)
    told: list[int] = []
    async with session({}) as client:
        sender = Sender(client, ChatRoute(), perf_counter)
        await sender.send([meant(url, model) for model in ("fine", "hanging", "fine", "hanging")])
        while len(sender.running) > 2:
            await asyncio.sleep(0.01)
        await end(sender, 0.2, told.append)
    assert told == [2]
    outcomes = {(one.pipeline, one.outcome) for one in sender.observed}
    assert outcomes == {("fine", Outcome.OK), ("hanging", Outcome.CANCELLED)}
    assert len(sender.observed) == 4


async def test_nothing_is_said_where_all_have_ended(url: str) -> None:
    told: list[int] = []
    async with session({}) as client:
        sender = Sender(client, ChatRoute(), perf_counter)
        await end(sender, 0.2, told.append)
    assert told == []


def test_none_is_given_up_before_its_deadline_or_what_the_plan_expects_of_it(planned: Scenario) -> None:
    coming = [*planned.coming([Arrival(10.0, request_class=name) for name in ("fast", "slow")])]
    assert [one.deadline_ms for one in coming] == [3000.0, 9000.0]
    assert patience(planned, coming) == 39.0
    assert patience(planned, coming[:1]) == 33.0
    unbound = [msgspec.structs.replace(one, deadline_ms=None) for one in coming]
    assert patience(planned, unbound) == pytest.approx(30.0 + planned.plan.predicted["ask"].latency_ms / 1000.0)
    hours = [msgspec.structs.replace(one, deadline_ms=7.2e6) for one in coming]
    assert patience(planned, hours) == 630.0, "no longer than the gateway waits"
