"""A running engine that does as it is told, and a gateway in a process of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.gateway.fakes import ENGINES, SAYING, FakeEngine, Served, serving
from tests.gateway.processes import OTHER, SAY, Running, model_server, started, write_bundle


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    fake = await FakeEngine().start()
    yield fake
    await fake.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[Served]:
    """One gateway for all requests of a module, which none of them may harm; it serves `SAYING`."""
    fake = await FakeEngine().start()
    async with serving([SAYING], {"llm": fake.port}) as running:
        yield running
    await fake.stop()


@pytest.fixture
def model() -> Iterator[int]:
    """The port of a server that is no coroutine, for tests that block."""
    with model_server() as port:
        yield port


@pytest.fixture
def running(tmp_path: Path, model: int) -> Iterator[Running]:
    """A bundle with two pipelines whose gateway runs."""
    bundle = tmp_path / "bundle"
    write_bundle(bundle, [SAY, OTHER], ENGINES, model)
    with started(bundle) as found:
        yield found
