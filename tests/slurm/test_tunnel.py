"""The tunnel between nodes: everything passes for whoever knows the token, and nothing for anybody else."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from harmonia_compiler.runtime.actuators.slurm import tunnel
from harmonia_compiler.runtime.actuators.slurm.tunnel import LOOPBACK, Distrusted, Inlet, Outlet, dial

TOKEN = b"a token"


class Engine:
    """Says back what it hears, and counts who came."""

    def __init__(self) -> None:
        self.came = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        while part := await reader.read(1 << 16):
            writer.write(part)
            await writer.drain()
        writer.write(b"end")
        writer.close()


@asynccontextmanager
async def engine(*, is_ready: bool = True) -> AsyncIterator[tuple[Engine, int]]:
    """An engine behind an outlet, and the outlet's port."""
    found = Engine()
    server = await asyncio.start_server(found.take, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1] if is_ready else None
    outlet = Outlet(TOKEN, lambda: port)
    try:
        yield found, await outlet.open(LOOPBACK)
        assert not await carrying(), "a connection goes on although nobody is at its ends"
    finally:
        outlet.close()
        server.close()


async def carrying(patience_s: float = 5.0) -> set[asyncio.Task[None]]:
    """What is done for connections still, once that had time to end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return (await asyncio.wait(others, timeout=patience_s))[1] if others else set()


async def test_what_goes_in_comes_out_and_half_an_end_is_half_an_end() -> None:
    content = os.urandom(3_000_000)
    async with engine() as (_, port):
        inlet = Inlet(TOKEN, LOOPBACK, port)
        reader, writer = await asyncio.open_connection(LOOPBACK, await inlet.open(LOOPBACK))
        writer.write(content)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(-1), 20) == content + b"end"
        inlet.close()
        writer.close()


@pytest.mark.parametrize("token", [b"another", b""])
async def test_who_does_not_know_the_token_reaches_nothing(token: bytes) -> None:
    async with engine() as (found, port):
        with pytest.raises((Distrusted, ConnectionError)):
            await dial(LOOPBACK, port, token)
        inlet = Inlet(token, LOOPBACK, port)
        reader, writer = await asyncio.open_connection(LOOPBACK, await inlet.open(LOOPBACK))
        writer.write(b"GET /health HTTP/1.1\r\n\r\n")
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(reader.readexactly(1), 5)
        inlet.close()
        writer.close()
        assert not found.came


async def test_who_speaks_to_an_outlet_directly_is_told_nothing_but_a_number() -> None:
    async with engine() as (found, port):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"GET /v1/models HTTP/1.1\r\nAuthorization: Bearer " + TOKEN + b"\r\n\r\n" + b" " * 64)
        assert len(await reader.readexactly(32)) == 32
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        assert not found.came


async def test_what_was_overheard_opens_nothing_later() -> None:
    heard = bytearray()

    async def overhear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, out = await asyncio.open_connection(LOOPBACK, port)
        writer.write(await there.readexactly(32))
        heard.extend(await reader.readexactly(64))
        out.write(heard)
        writer.write(await there.readexactly(32))
        out.close()
        writer.close()

    async with engine() as (found, port):
        between = await asyncio.start_server(overhear, LOOPBACK, 0)
        _, writer = await dial(LOOPBACK, between.sockets[0].getsockname()[1], TOKEN)
        writer.close()
        before = found.came
        assert TOKEN not in heard
        again, out = await asyncio.open_connection(LOOPBACK, port)
        await again.readexactly(32)
        out.write(heard)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(again.readexactly(1), 5)
        between.close()
        assert found.came <= before + 1


async def test_an_outlet_that_is_none_is_not_believed() -> None:
    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"n" * 32)
        await reader.readexactly(64)
        writer.write(b"p" * 32)
        writer.close()

    server = await asyncio.start_server(pretend, LOOPBACK, 0)
    with pytest.raises(Distrusted):
        await dial(LOOPBACK, server.sockets[0].getsockname()[1], TOKEN)
    server.close()


async def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one() -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"a beginning")
        await writer.drain()
        await reader.readexactly(1)
        tunnel.break_off(writer)

    server = await asyncio.start_server(break_off, LOOPBACK, 0)
    outlet = Outlet(TOKEN, lambda: server.sockets[0].getsockname()[1])
    inlet = Inlet(TOKEN, LOOPBACK, await outlet.open(LOOPBACK))
    reader, writer = await asyncio.open_connection(LOOPBACK, await inlet.open(LOOPBACK))
    assert await reader.readexactly(11) == b"a beginning"
    writer.write(b"x")
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(reader.read(-1), 5)
    for open_still in (inlet, outlet, server, writer):
        open_still.close()


@pytest.mark.parametrize("are_proven", [False, True])
async def test_a_connection_whose_end_is_ended_is_cut_and_not_closed(*, are_proven: bool) -> None:
    async with engine() as (_, port):
        if are_proven:
            reader, writer = await dial(LOOPBACK, port, TOKEN)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
        else:
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            await reader.readexactly(32)
        for task in await carrying(0):
            task.cancel()
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(reader.readexactly(1), 5)
        writer.close()


async def test_an_engine_that_is_not_ready_is_not_reached() -> None:
    async with engine(is_ready=False) as (found, port):
        reader, writer = await dial(LOOPBACK, port, TOKEN)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        writer.close()
        assert not found.came


async def test_those_who_prove_nothing_are_few_and_do_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "PATIENCE_S", 0.3)
    monkeypatch.setattr(tunnel, "MOST_UNPROVEN", 3)
    async with engine() as (found, port):
        silent = [await asyncio.open_connection(LOOPBACK, port) for _ in range(3)]
        for reader, _ in silent:
            await reader.readexactly(32)
        with pytest.raises((Distrusted, ConnectionError)):
            await dial(LOOPBACK, port, TOKEN)
        for reader, writer in silent:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await asyncio.wait_for(reader.readexactly(1), 5)
            writer.close()
        _, writer = await dial(LOOPBACK, port, TOKEN)
        writer.close()
        assert found.came <= 1


@pytest.mark.slow
async def test_a_connection_of_which_one_side_has_said_all_is_not_swept_away() -> None:
    """What asyncio holds of such a connection alone is a circle that the garbage collector may take apart."""
    answers = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        content = await reader.read(-1)
        await answers.wait()
        writer.write(content[::-1])
        writer.close()

    server = await asyncio.start_server(late, LOOPBACK, 0)
    outlet = Outlet(TOKEN, lambda: server.sockets[0].getsockname()[1])
    inlet = Inlet(TOKEN, LOOPBACK, await outlet.open(LOOPBACK))
    reader, writer = await asyncio.open_connection(LOOPBACK, await inlet.open(LOOPBACK))
    writer.write(b"question")
    writer.write_eof()
    for _ in range(5):
        await asyncio.sleep(0.02)
        gc.collect()
    answers.set()
    assert await asyncio.wait_for(reader.read(-1), 5) == b"noitseuq"
    for open_still in (inlet, outlet, server, writer):
        open_still.close()
    assert not await carrying()
