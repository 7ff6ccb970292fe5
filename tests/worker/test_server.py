"""What every worker does whatever it serves."""

import asyncio
import json
from collections.abc import Sequence
from io import BytesIO

import aiohttp
import msgspec
import pytest
from starlette.responses import Response

from harmonia_compiler.runtime.worker.server import (
    MOST_BODY_BYTES,
    Handler,
    Refusal,
    application,
    json_response,
    read_body,
)
from tests.worker.conftest import Running


class _Numbers(msgspec.Struct):
    numbers: list[int]


class Adder:
    """A role that adds numbers, refuses none, breaks on 13, and takes for ever over 0."""

    model = "adder"

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()

    def load(self) -> None:
        """Nothing to load."""

    def routes(self) -> Sequence[tuple[str, Handler]]:
        return [("/v1/add", self._add)]

    async def _add(self, body: bytes) -> Response:
        ask = read_body(body, _Numbers)
        if not ask.numbers:
            raise Refusal(422, "empty", "no numbers")
        if 13 in ask.numbers:
            raise RuntimeError("unlucky")
        if 0 in ask.numbers:
            await self._long()
        return json_response({"sum": sum(ask.numbers)})

    async def _long(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


async def post(url: str, body: bytes) -> tuple[int, object]:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/add", data=BytesIO(body)) as answer:
        return answer.status, json.loads(await answer.read())


async def test_an_answer(running: Running) -> None:
    async with running(application(Adder(), ready=True)) as url:
        assert await post(url, b'{"numbers":[1,2]}') == (200, {"sum": 3})


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"", 400, "invalid_request_error"),
        (b"{", 400, "invalid_request_error"),
        (b"[]", 400, "invalid_request_error"),
        (b'{"numbers":["x"]}', 400, "invalid_request_error"),
        (b'{"numbers":[NaN]}', 400, "invalid_request_error"),
        (b"\xff\xfe", 400, "invalid_request_error"),
        (b'{"other":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "invalid_request_error"),
        (b'{"numbers":[]}', 422, "empty"),
        (b'{"numbers":[13]}', 500, "internal_error"),
        (b"x" * (MOST_BODY_BYTES + 1), 413, "too_large"),
    ],
    ids=["empty", "cut", "list", "type", "nan", "bytes", "deep", "refused", "broken", "large"],
)
async def test_errors_are_typed(running: Running, body: bytes, status: int, kind: str) -> None:
    async with running(application(Adder(), ready=True)) as url:
        found, document = await post(url, body)
        assert isinstance(document, dict)
        assert (found, document["error"]["type"], document["error"]["code"]) == (status, kind, status)
        assert await post(url, b'{"numbers":[1]}') == (200, {"sum": 1})


async def test_before_it_is_ready(running: Running) -> None:
    async with running(application(Adder())) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/health") as answer:
            assert (answer.status, await answer.json()) == (503, {"status": "loading adder"})
        assert (await post(url, b'{"numbers":[1]}'))[0] == 503


async def test_what_every_worker_tells(running: Running) -> None:
    async with running(application(Adder(), ready=True)) as url, aiohttp.ClientSession() as session:
        await asyncio.gather(post(url, b'{"numbers":[1]}'), post(url, b"{"))
        async with session.get(f"{url}/health") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ready"})
        async with session.get(f"{url}/v1/models") as answer:
            assert [model["id"] for model in (await answer.json())["data"]] == ["adder"]
        async with session.get(f"{url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        assert 'harmonia_worker_requests_total{path="/v1/add",status="200"} 1.0' in lines
        assert 'harmonia_worker_requests_total{path="/v1/add",status="400"} 1.0' in lines
        assert "harmonia_worker_requests_running 0.0" in lines
        async with session.get(f"{url}/nowhere") as answer:
            assert (answer.status, (await answer.json())["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize("spaces", [0, 2**20, MOST_BODY_BYTES - 100])
async def test_what_a_client_that_has_gone_asked_for_is_cancelled(running: Running, spaces: int) -> None:
    role = Adder()
    async with running(application(role, ready=True)) as url:
        asking = asyncio.create_task(post(url, b'{"numbers":[0]}' + b" " * spaces))
        await asyncio.wait_for(role.begun.wait(), 10)
        asking.cancel()
        await asyncio.wait_for(role.cancelled.wait(), 10)
        assert await post(url, b'{"numbers":[1,2]}') == (200, {"sum": 3})
