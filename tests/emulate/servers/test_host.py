"""What a process of emulated replicas says of itself."""

import asyncio
from collections.abc import Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from harmonia_compiler.contract.bundle import Service
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.emulate.servers import host
from harmonia_compiler.emulate.servers.clock import RealLoop
from harmonia_compiler.emulate.servers.document import Rehearsal
from harmonia_compiler.emulate.servers.faults import Fault
from harmonia_compiler.emulate.servers.replica import Condition


async def test_lateness_is_by_a_clock_that_is_not_stretched(monkeypatch: pytest.MonkeyPatch) -> None:
    tells: list[Callable[[float], object]] = []

    def real_loop(late: Callable[[float], object]) -> RealLoop:
        tells.append(late)
        return RealLoop(late=late)

    monkeypatch.setattr(host, "RealLoop", real_loop)
    replicas = host.Host(Rehearsal(Service({}, {}, {}, {}), (), {}, seed=1, factor=4.0), load_cards())
    assert await replicas.start() == []
    (tell,) = tells
    for ms in (0.5, 2.0):
        tell(ms)
    late = replicas.tally().late
    assert late is not None
    assert (late.count, late.mean, late.max) == (2, 5.0, 8.0)


async def test_what_a_client_gives_up_was_worked_on_and_what_is_refused_was_not() -> None:
    condition, asked = Condition(lambda: 0.0, 0.0), make_mocked_request("POST", "/")

    async def given_up(_: web.Request) -> web.StreamResponse:
        raise asyncio.CancelledError

    async def answered(_: web.Request) -> web.StreamResponse:
        return web.Response()

    with pytest.raises(asyncio.CancelledError):
        await condition.answer(asked, given_up)
    assert (await condition.answer(asked, answered)).status == 200
    condition.change(Fault("one-0", "fail"), begins=True)
    assert (await condition.answer(asked, answered)).status == 500
    assert condition.calls == 2
