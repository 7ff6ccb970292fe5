"""What a process of emulated replicas says of itself."""

from collections.abc import Callable

import pytest

from harmonia_compiler.contract.bundle import Service
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.emulate.servers import host
from harmonia_compiler.emulate.servers.clock import RealLoop
from harmonia_compiler.emulate.servers.document import Rehearsal


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
