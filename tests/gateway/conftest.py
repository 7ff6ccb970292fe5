"""A running engine that does as it is told."""

from collections.abc import AsyncIterator

import pytest

from tests.gateway.fakes import FakeEngine


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    fake = await FakeEngine().start()
    yield fake
    await fake.stop()
