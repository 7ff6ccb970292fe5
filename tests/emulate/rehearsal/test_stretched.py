"""A loop with longer seconds: whatever waits by it waits so many times as long, and its clock says nothing of that."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import perf_counter
from typing import Any

import grpc
import pytest
import uvloop
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.runtime.gateway import milvus_transport
from harmonia_compiler.runtime.gateway.milvus_transport import MilvusTransport
from harmonia_compiler.runtime.gateway.within import within_s
from harmonia_compiler.runtime.stretched import StretchedLoop, loop_of

FACTOR, WAIT_S = 20.0, 0.005


async def sleeps() -> None:
    await asyncio.sleep(WAIT_S)


async def times_out() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(WAIT_S):
            await asyncio.Event().wait()


async def is_broken_off() -> None:
    with pytest.raises(TimeoutError), within_s(WAIT_S):
        await asyncio.Event().wait()


async def waits_for_any() -> None:
    forever = asyncio.create_task(asyncio.Event().wait())
    await asyncio.wait([forever], timeout=WAIT_S)
    forever.cancel()


async def is_called_later() -> None:
    called = asyncio.Event()
    asyncio.get_running_loop().call_later(WAIT_S, called.set)
    await called.wait()


async def is_called_at() -> None:
    loop, called = asyncio.get_running_loop(), asyncio.Event()
    loop.call_at(loop.time() + WAIT_S, called.set)
    await called.wait()


@pytest.mark.parametrize("waits", [sleeps, times_out, is_broken_off, waits_for_any, is_called_later, is_called_at])
def test_every_way_to_wait_takes_so_many_times_as_long_and_is_timed_as_if_it_did_not(
    waits: Callable[[], Awaitable[None]],
) -> None:
    async def timed() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await waits()
        return loop.time() - began

    began = perf_counter()
    took_s = uvloop.run(timed(), loop_factory=loop_of(FACTOR))
    real_s = perf_counter() - began
    # uvloop counts in whole milliseconds.
    assert real_s >= FACTOR * WAIT_S - 0.002
    assert WAIT_S - 0.002 / FACTOR <= took_s <= real_s / FACTOR + 0.002 / FACTOR


def test_a_call_that_is_taken_back_never_comes() -> None:
    async def cancelled() -> list[int]:
        called: list[int] = []
        asyncio.get_running_loop().call_later(0.001, called.append, 1).cancel()
        await asyncio.sleep(0.002)
        return called

    assert uvloop.run(cancelled(), loop_factory=loop_of(2.0)) == []


def test_without_a_factor_the_loop_is_uvloops_own() -> None:
    loop = loop_of(1.0)()
    assert not isinstance(loop, StretchedLoop)
    loop.close()


#: How long a store takes to let a client in, by a clock.
LETS_IN_S = 0.4


@pytest.fixture
def slow_store() -> Iterator[Endpoint]:
    """A Milvus server that lets clients in late."""
    ended = Event()

    class Servicer(milvus_pb2_grpc.MilvusServiceServicer):  # type: ignore[misc]
        def Connect(self, _request: Any, _context: Any) -> Any:  # noqa: N802
            ended.wait(LETS_IN_S)
            return milvus_pb2.ConnectResponse(status=common_pb2.Status(), identifier=1)

        def GetVersion(self, _request: Any, _context: Any) -> Any:  # noqa: N802
            return milvus_pb2.GetVersionResponse(status=common_pb2.Status(), version="2.6.0")

    server = grpc.server(ThreadPoolExecutor(2))
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield Endpoint("store", "store", "127.0.0.1", port)
    ended.set()
    server.stop(None).wait()


@pytest.mark.parametrize(("factor", "said"), [(1.0, "it cannot be reached"), (100.0, None)])
def test_a_store_has_its_time_to_let_a_client_in_although_grpc_waits_by_a_clock_of_its_own(
    slow_store: Endpoint, monkeypatch: pytest.MonkeyPatch, factor: float, said: str | None
) -> None:
    monkeypatch.setattr(milvus_transport, "CONNECT_TIMEOUT_S", LETS_IN_S / 4)

    async def asked() -> str | None:
        transport = MilvusTransport()
        answer = await transport.answers(slow_store)
        await transport.close()
        return answer

    assert uvloop.run(asked(), loop_factory=loop_of(factor)) == said
