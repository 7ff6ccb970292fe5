"""What replicas tell of their prefix caches: read apart from requests, and no harm where it is nonsense."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.bundle import Endpoint, Service
from harmonia_compiler.contract.readings import CacheRead, Readings
from harmonia_compiler.kinds.kind import PrefixCache
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.kinds.vllm import PREFIX_CACHE
from harmonia_compiler.runtime.gateway import caches
from harmonia_compiler.runtime.gateway.caches import LINE_LIMIT, MOST, MOST_SERIES, PAGE_LIMIT, Caches, counted
from harmonia_compiler.runtime.gateway.part import Part
from harmonia_compiler.runtime.gateway.service import Gateway
from tests.examples import examples
from tests.gateway.fakes import ENGINES, RECORD, SAYING, FakeEngine, FakeMilvus, eventually, serving

QUERIES, HITS = PREFIX_CACHE.looked_up, PREFIX_CACHE.found


def page(looked_up: object, found: object) -> bytes:
    """As vLLM writes it, between what it says beside."""
    labels = 'engine="0",model_name="a }b{\\"1 2\\" c"'
    return f"""# HELP {QUERIES} Tokens.
# TYPE {QUERIES} counter
vllm:num_requests_running{{{labels}}} 3.0
{QUERIES}{{{labels}}} {looked_up}
# TYPE vllm:prefix_cache_queries_created gauge
vllm:prefix_cache_queries_created{{{labels}}} 1.7e+09
{HITS}{{{labels}}} {found}
""".encode()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (page("1.2e+06", 7), 1_200_000),
        (f"{QUERIES} 7\n".encode(), 7),
        (f"{QUERIES} 7".encode(), 7),
        (f"{QUERIES}{{}}\t7.0 1700000000000\r\n".encode(), 7),
        (f'{QUERIES}{{engine="0"}} 7\n{QUERIES}{{engine="1"}} 5\n'.encode(), 12),
        (f'{QUERIES}{{engine="0"}} 7 # {{trace_id="x"}} 9 1.0\n'.encode(), 7),
        (f"{QUERIES} {MOST}\n".encode(), MOST),
        (f"\xff\xfe\n{QUERIES} 7\n\x00".encode("latin-1"), 7),
        (b"", None),
        (b"# nothing\n", None),
        (f"{QUERIES}_created 7\n{QUERIES}\n x{QUERIES} 7\n".encode(), None),
        (page("NaN", 7), None),
        (page("-1", 7), None),
        (page("+Inf", 7), None),
        (page("1e999", 7), None),
        (page("1e17", 7), None),
        (page("1_000", 7), None),
        (page("e", 7), None),
        (page("9" * 40, 7), None),
        (f'{QUERIES}{{engine="0" 7\n'.encode(), None),
        (f"{QUERIES}{{{' ' * LINE_LIMIT}}} 7\n".encode(), None),
        (f"{QUERIES} 7\n".encode() * MOST_SERIES, 7 * MOST_SERIES),
        (f"{QUERIES} 7\n".encode() * (MOST_SERIES + 1), None),
        (f"{QUERIES}_created 7\n".encode() * MOST_SERIES + f"{QUERIES} 7\n".encode(), None),
    ],
)
def test_a_counter_is_the_sum_of_its_series_and_nothing_where_one_cannot_be_read(
    text: bytes, count: int | None
) -> None:
    assert counted(text, QUERIES) == count


@given(
    st.lists(st.sampled_from([QUERIES.encode(), b"{", b"}", b'"', b"\\", b" ", b"\n", b"7", b"e", b"."]) | st.binary())
)
@examples(200)
def test_any_bytes_are_read_as_a_count_or_as_none(parts: list[bytes]) -> None:
    found = counted(b"".join(parts), QUERIES)
    assert found is None or 0 <= found <= MOST


def test_any_series_are_added_up_or_are_none() -> None:
    """Of lines of which each may be that of a series, of another name, or of nothing that can be read."""
    read, unread = 0, 0
    for seed in range(200):
        chance = Random(seed)
        total, sound, lines = 0, True, []
        for _ in range(chance.randint(1, 4)):
            labels = chance.choice(("", "{}", '{engine="0"}', '{a="}\\"{"}'))
            value = chance.choice(("7", "7.0", "7e0", "7 1700000000000", "7 # 9 1.0"))
            name = chance.choice((QUERIES, QUERIES, QUERIES, f"{QUERIES}_created", HITS))
            if name == QUERIES:
                total += 7
                if chance.random() < 0.15:
                    value, sound = chance.choice(("-7", "NaN", "e", "7.7.7", "\\", "")), False
            lines.append(f"{name}{labels} {value}")
        expected = total if sound and total else None
        assert counted("\n".join(lines).encode(), QUERIES) == expected, lines
        read, unread = read + (expected is not None), unread + (expected is None)
    assert min(read, unread) >= 50


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is slow for a moment makes nobody late."""
    monkeypatch.setattr(caches, "PATIENCE_S", 60.0)


@dataclass
class Exporter:
    """A replica of which only the page for Prometheus is asked; while it `hangs`, it answers nobody."""

    body: bytes = page(0, 0)
    status: int = 200
    hangs: bool = False
    asked: list[str] = field(default_factory=list)
    port: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if self.hangs:
            await asyncio.Event().wait()
        return web.Response(body=self.body, status=self.status)


@asynccontextmanager
async def exporting() -> AsyncIterator[Exporter]:
    exporter, app = Exporter(), web.Application()
    app.router.add_route("*", "/{path:.*}", exporter.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    exporter.port = runner.addresses[0][1]
    try:
        yield exporter
    finally:
        await runner.cleanup()


@asynccontextmanager
async def reading(*endpoints: Endpoint) -> AsyncIterator[Caches]:
    made = Caches({"llm": PREFIX_CACHE}, lambda engine: [one for one in endpoints if one.engine == engine])
    try:
        yield made
    finally:
        made.close()


def at(exporter: Exporter, replica: str = "llm-1") -> Endpoint:
    return Endpoint(replica, "llm", "127.0.0.1", exporter.port)


async def test_counts_begin_when_a_replica_is_first_asked_and_go_on_where_it_starts_anew() -> None:
    async with exporting() as exporter, reading(at(exporter)) as read:
        for looked_up, found, so_far in (
            (1000, 900, (0, 0)),
            (1100, 950, (100, 50)),
            (1100, 950, (100, 50)),
            # It began again, and has counted so many since.
            (30, 10, (130, 60)),
            (40, 20, (140, 70)),
            # One of the two may have overtaken what it was.
            (60, 5, (200, 75)),
            # More found than looked for is no more than that.
            (70, 500, (210, 85)),
        ):
            exporter.body = page(looked_up, found)
            await read.read()
            assert read.readings() == (CacheRead("llm-1", "llm", *so_far),)


async def test_no_count_grows_beyond_what_a_document_holds() -> None:
    async with exporting() as exporter, reading(at(exporter)) as read:
        for count in (0, MOST, 0, MOST, 5):
            exporter.body = page(count, count)
            await read.read()
        (said,) = read.readings()
        assert (said.looked_up, said.found) == (MOST, MOST)
        written = msgspec.json.encode(Readings("g", 1.0, 0, caches=(said,)))
        assert msgspec.json.decode(written, type=Readings).caches == (said,)


HOSTILE = (
    b"",
    b"\xff\xfe\x00" * 1000,
    page("NaN", "NaN"),
    page("1e300", "1e300"),
    page("-7", "7"),
    page(2000, "x"),
    f"{QUERIES} 2000\n".encode(),
    page(2000, 2000) + b"#" * 2 * PAGE_LIMIT,
    f"{QUERIES}{{".encode() * (PAGE_LIMIT // 32),
)


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: body[:12])
async def test_what_cannot_be_read_changes_nothing_and_the_next_page_is_read(body: bytes) -> None:
    async with exporting() as exporter, reading(at(exporter)) as read:
        exporter.body = page(1000, 900)
        await read.read()
        exporter.body = body
        await read.read()
        assert read.readings() == (CacheRead("llm-1", "llm"),)
        exporter.body = page(1100, 950)
        await read.read()
        assert read.readings() == (CacheRead("llm-1", "llm", 100, 50),)


async def test_who_tells_of_no_cache_is_in_no_reading() -> None:
    async with exporting() as exporter, exporting() as refusing:
        exporter.body, refusing.status = b"# HELP other Something\nother 1\n", 404
        nobody = Endpoint("llm-3", "llm", "127.0.0.1", 1)
        async with reading(at(exporter), at(refusing, "llm-2"), nobody) as read:
            await read.read()
            assert read.readings() == ()
            assert (len(exporter.asked), len(refusing.asked)) == (1, 1)


async def test_one_that_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "PATIENCE_S", 0.2)
    async with exporting() as hanging, exporting() as exporter:
        hanging.hangs = True
        async with reading(at(hanging), at(exporter, "llm-2")) as read:
            async with asyncio.timeout(30.0):
                while not read.readings():
                    await read.read()
            assert read.readings() == (CacheRead("llm-2", "llm"),)
            hanging.hangs = False
            monkeypatch.setattr(caches, "PATIENCE_S", 60.0)
            await read.read()
            assert [one.replica for one in read.readings()] == ["llm-1", "llm-2"]


async def test_a_round_begins_once_the_last_one_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "EVERY_S", 0.01)
    async with exporting() as exporter, reading(at(exporter)) as read:
        exporter.hangs = True
        looking = asyncio.create_task(read.look(lambda _: lambda: None))
        await eventually(lambda: len(exporter.asked) == 1)
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert len(exporter.asked) == 1
        looking.cancel()
        await asyncio.wait([looking])


async def test_a_bug_is_counted_and_the_next_round_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "EVERY_S", 0.01)
    counts = list[str]()
    async with exporting() as exporter:
        read = Caches({"llm": PrefixCache("/a\nb", QUERIES, HITS)}, lambda _: [at(exporter)])
        looking = asyncio.create_task(read.look(lambda name: lambda: counts.append(name)))
        await eventually(lambda: len(counts) > 2)
        looking.cancel()
        await asyncio.wait([looking])
        read.close()
    assert {*counts} == {"caches"}


async def test_a_gateway_reads_the_caches_of_language_models_and_tells_of_them(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "EVERY_S", 0.02)
    async with exporting() as exporter, exporting() as other:
        endpoints = [at(exporter), Endpoint("reranker-1", "reranker", "127.0.0.1", other.port)]
        async with serving([SAYING], endpoints) as served:
            # A page was taken in once the round after it has begun.
            for count in (100, 200):
                exporter.body = page(count, count / 2)
                asked = len(exporter.asked)
                await eventually(lambda asked=asked: len(exporter.asked) > asked + 2)

            async def told() -> Readings:
                status, body = await served.client.get("/readings")
                assert status == 200
                return msgspec.convert(body, Readings)

            async with asyncio.timeout(30.0):
                while (await told()).caches[0].looked_up < 100:
                    await asyncio.sleep(0.01)
            assert [(one.replica, one.engine) for one in (await told()).caches] == [("llm-1", "llm")]
        assert {*exporter.asked} == {"/metrics"}
        assert other.asked == []


@pytest.mark.parametrize(("part", "count"), [(Part(0, 2), 1), (Part(1, 2), 0)])
async def test_of_several_processes_the_first_one_reads(part: Part, count: int) -> None:
    async with exporting() as exporter:
        service = Service({"p": SAYING}, {"llm": ENGINES["llm"]}, {}, {})
        clock = asyncio.get_running_loop().time
        transports = {"http": FakeMilvus()}
        gateway = Gateway(service, kinds(), transports, lambda uri, name: RECORD, clock, part=part)
        gateway.dispatcher.set_endpoints([at(exporter)])
        await gateway.caches.read()
        assert len(gateway.caches.readings()) == len(exporter.asked) == count
        await gateway.close()
