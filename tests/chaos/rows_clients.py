"""What a service promises while clients leave, dawdle, send nonsense or come too many: run by `make chaos`."""

import asyncio
import math
import socket
import time
from pathlib import Path
from random import Random

import aiohttp
import msgspec
import pytest

from harmonia_compiler.contract.launch import KEEP_ALIVE_S
from harmonia_compiler.emulate.scenario import Scenario
from tests.chaos.beside import Beside, Start, loaded, started
from tests.chaos.service import WALKS_RPS, Chaos, chaos, quantile
from tests.gateway.fakes import ENGINES, FakeEngine
from tests.gateway.processes import SAY, write_bundle
from tests.ports import free_port

GONE_S, LOOK_S = 0.5, 0.01
#: By so many bytes a gateway may grow while a thousand clients leave: what its allocator does not give back.
MOST_GROWTH = 8 * 2**20
#: So many clients read nothing of their streams, each of which may hold so many bytes.
STALLED, MOST_HELD = 60, 256 * 2**10


async def leave(port: int, pipeline: str, after_s: float) -> None:
    """Ask, and close the connection after a while, or where an answer has begun after so long."""
    body = msgspec.json.encode({"inputs": {"question": "why?"}, "stream": pipeline == "says"})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /v1/pipelines/{pipeline} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await asyncio.sleep(after_s)
    if pipeline == "says" and math.isclose(after_s, 0.0):
        await reader.readuntil(b"data:")
    writer.transport.abort()


def in_flight(running: Chaos, stage: str) -> int:
    line = running.served.gateway.dispatcher.queues[running.engine(stage)].line
    return line.in_flight + len(line.waiting)


async def idle(running: Chaos, stage: str) -> float:
    """How long it takes until no call of a stage is on its way.

    It counts what this loop waits, in which the gateway runs as well: while the machine does not let the process run,
    nobody can cancel.
    """
    waited_s = 0.0
    async with asyncio.timeout(5.0):
        while in_flight(running, stage):
            await asyncio.sleep(LOOK_S)
            waited_s += LOOK_S
    return waited_s


@pytest.mark.parametrize(
    ("pipeline", "stage", "after_s"),
    [("walks", "walk", 0.01), ("says", "model", 0.005), ("says", "model", 0.0)],
    ids=["non-stream", "before the first token", "mid-stream"],
)
async def test_a_client_that_leaves_takes_its_call_with_it(
    scenario: Scenario, seed: int, pipeline: str, stage: str, after_s: float
) -> None:
    async with chaos(scenario) as running:
        chance = Random(seed)
        for _ in range(20):
            await asyncio.gather(*(leave(running.served.port, pipeline, after_s) for _ in range(10)))
            assert await idle(running, stage) < GONE_S
            await asyncio.sleep(chance.random() / 100)


async def test_a_client_that_leaves_while_its_call_waits_leaves_the_line(scenario: Scenario, seed: int) -> None:
    async with chaos(scenario, replicas=1, concurrency=1) as running:
        loading = asyncio.create_task(running.load("walks", WALKS_RPS, 1.0, seed))
        await asyncio.gather(*(leave(running.served.port, "walks", 0.1) for _ in range(40)))
        await asyncio.sleep(GONE_S)
        assert in_flight(running, "walk") <= 6
        assert all(one.answered for one in await loading)


@pytest.mark.parametrize(
    ("pipeline", "after_s", "at_once"),
    [("walks", 0.01, 20), ("walks", 0.1, 100), ("says", 0.005, 20), ("says", 0.0, 20)],
    ids=["non-stream", "queued", "before the first token", "mid-stream"],
)
async def test_a_thousand_clients_that_leave_leave_nothing_behind(
    scenario: Scenario, seed: int, pipeline: str, after_s: float, at_once: int, tmp_path: Path
) -> None:
    async with (
        loaded(tmp_path, scenario, pipeline, 0.0, seed) as (_, gateway, loading),
        aiohttp.ClientSession() as session,
    ):

        async def left(clients: int) -> tuple[int, int]:
            """Memory and descriptors of the gateway once so many have left."""
            for _ in range(clients // at_once):
                await asyncio.gather(*(leave(gateway.port, pipeline, after_s) for _ in range(at_once)))
                async with asyncio.timeout(5.0):
                    while (await gateway.check_sum(session))["in_flight"]:
                        await asyncio.sleep(0.02)
            # What is kept open to replicas for the next calls is closed after a while.
            await asyncio.sleep(KEEP_ALIVE_S + 1.0)
            return gateway.itself.memory_info().rss, gateway.itself.num_fds()

        await loading
        memory, descriptors = await left(1000)
        memory_later, descriptors_later = await left(1000)
        assert descriptors_later <= descriptors + 2
        assert memory_later <= memory + MOST_GROWTH
        counted = await gateway.check_sum(session)
        assert counted["cancelled"] >= 0.9 * counted["accepted"]


async def test_a_reader_that_stalls_holds_little(seed: int, tmp_path: Path) -> None:
    engine = await FakeEngine(words=["x" * 2**14] * 1000).start()
    write_bundle(tmp_path / "bundle", [SAY], ENGINES, engine.port, 2 * STALLED)
    how, port = Start(log=tmp_path / "log"), free_port()
    process = await started(tmp_path / "bundle", port, how)
    gateway, stalled = Beside(tmp_path / "bundle", port, how, process), list[socket.socket]()
    try:
        async with aiohttp.ClientSession() as session:
            assert await quick(session, port) < 1.0
            held = list[int]()
            # What the first ones take is also for what all have in common.
            for many in (STALLED // 2, STALLED):
                stalled += [await stall(port) for _ in range(many)]
                held.append(await settled(gateway))
                assert (await gateway.check_sum(session))["in_flight"] == len(stalled)
            assert (held[1] - held[0]) / STALLED <= MOST_HELD
            assert await quick(session, port) < 1.0
        assert "left_out" not in how.log.read_text()
    finally:
        for one in stalled:
            one.close()
        process.kill()
        await process.wait()
        await engine.stop()


async def settled(gateway: Beside) -> int:
    """The gateway's memory, in bytes, once it has not grown for a while: all that is held is there."""
    most, since = 0, time.monotonic()
    async with asyncio.timeout(30.0):
        while time.monotonic() < since + 3.0:
            await asyncio.sleep(0.2)
            if (now := gateway.itself.memory_info().rss) > most:
                most, since = now, time.monotonic()
    return most


async def stall(port: int) -> socket.socket:
    """A client that asks for a stream and reads none of it."""
    unread = socket.socket()
    unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    unread.setblocking(False)  # noqa: FBT003 - the socket's own signature
    loop = asyncio.get_running_loop()
    await loop.sock_connect(unread, ("127.0.0.1", port))
    body = msgspec.json.encode({"inputs": {"question": "why?"}, "stream": True})
    head = f"POST /v1/pipelines/say HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    await loop.sock_sendall(unread, head.encode() + body)
    return unread


async def quick(session: aiohttp.ClientSession, port: int) -> float:
    """How long others wait for a small answer."""
    began = asyncio.get_running_loop().time()
    async with session.get(f"http://127.0.0.1:{port}/v1/models") as response:
        assert response.status == 200
        await response.read()
    return asyncio.get_running_loop().time() - began


async def test_a_spike_whose_clients_ask_again_blindly_is_over_when_it_is_over(scenario: Scenario, seed: int) -> None:
    capacity = 3 * WALKS_RPS / 0.6

    async def stubborn(running: Chaos) -> None:
        for _ in range(5):
            if (await running.ask("walks")).answered:
                return

    async with chaos(scenario) as running:
        chance, tasks = Random(seed), []
        while running.now_s < 5.0:
            await asyncio.sleep(chance.expovariate(1.3 * capacity))
            tasks.append(asyncio.create_task(stubborn(running)))
        loading = asyncio.create_task(running.load("walks", 0.7 * capacity, 18.0, seed))
        asked = [one for one in await loading if one.at_s > 15.0]
        await asyncio.gather(*tasks)
        good = [one for one in asked if one.answered and one.took_s < 1.0]
        assert len(good) >= 0.95 * len(asked)


NONSENSE: dict[str, tuple[bytes, bytes]] = {
    "no JSON": (b"", b'{"inputs": '),
    "deep": (b"", b'{"inputs": ' + b"[" * 100_000),
    "NaN": (b"", b'{"inputs": {"question": NaN}}'),
    "no object": (b"", b"[1, 2]"),
    "no text": (b"", b"\xff\xfe\x00"),
    "large body": (b"", b'{"inputs": "' + b"x" * 2**21 + b'"}'),
    "large head": (b"x-much: " + b"y" * 2**17 + b"\r\n", b"{}"),
    "gzip": (b"content-encoding: gzip\r\n", b"\x1f\x8b\x08\x00" + b"\x00" * 64),
    "two lengths": (b"transfer-encoding: chunked\r\n", b"0\r\n\r\n"),
}


async def test_nonsense_is_refused_and_nobody_waits_for_it(scenario: Scenario, seed: int) -> None:
    async def send(running: Chaos, more: bytes, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.served.port)
        head = b"POST /v1/pipelines/walks HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n" % len(body)
        try:
            writer.write(head + more + b"\r\n" + body)
            async with asyncio.timeout(15.0):
                return await reader.readline()
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()

    async with chaos(scenario) as running:
        loading = asyncio.create_task(running.load("walks", WALKS_RPS, 4.0, seed))
        for _ in range(5):
            for name, (more, body) in NONSENSE.items():
                line = await send(running, more, body)
                assert line == b"" or line.startswith(b"HTTP/1.1 4"), (name, line)
        asked = await loading
        assert all(one.answered for one in asked)
        assert quantile(asked, 0.95) < 1.0


@pytest.mark.parametrize("sent", ["head", "body"])
async def test_five_hundred_who_dawdle_harm_nobody_and_are_shown_out(
    scenario: Scenario, seed: int, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harmonia_compiler.runtime.heads.HEAD_DEADLINE_S", 3.0)
    start = b"POST /v1/pipelines/walks HTTP/1.1\r\nhost: x\r\n"
    start += b"content-length: 1000\r\n\r\n{" if sent == "body" else b"x-slow: "
    async with chaos(scenario) as running:
        slow = [await asyncio.open_connection("127.0.0.1", running.served.port) for _ in range(500)]
        for _, writer in slow:
            writer.write(start)
        asked = await running.load("walks", WALKS_RPS, running.now_s + 12.0, seed)
        assert all(one.answered for one in asked)
        assert quantile(asked, 0.95) < 1.0
        async with asyncio.timeout(5.0):
            told = [await reader.read() for reader, _ in slow]
        assert {line[:12] for line in told} <= {b"", b"HTTP/1.1 408"}
        for _, writer in slow:
            writer.close()
