"""What is written in one go leaves in one go."""

import asyncio
from typing import Any, cast

from harmonia_compiler.contract.program import Call, Parameter
from harmonia_compiler.runtime.together import Together
from tests.gateway.fakes import COMPONENTS, FakeEngine, program, serving


class Transport:
    """Notes what is done to it."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.get_extra_info = self.is_closing = self.pause_reading = self.resume_reading = lambda *_: None

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")


def together() -> tuple[Transport, Together]:
    transport = Transport()
    return transport, Together(cast("asyncio.Transport", transport))


async def test_what_is_written_before_the_loop_goes_on_is_one() -> None:
    transport, made = together()
    made.write(b"head ")
    made.write(b"body")
    assert transport.done == []
    await asyncio.sleep(0)
    made.write(b"more")
    await asyncio.sleep(0)
    assert transport.done == [b"head body", b"more"]


async def test_what_was_written_leaves_before_the_end() -> None:
    transport, made = together()
    made.write(b"last")
    made.close()
    await asyncio.sleep(0)
    assert transport.done == [b"last", "close"]


async def test_what_is_broken_off_says_no_more() -> None:
    transport, made = together()
    made.write(b"last")
    made.abort()
    await asyncio.sleep(0)
    assert transport.done == ["abort"]


async def test_an_answer_comes_in_one_piece(engine: FakeEngine) -> None:
    saying = program("p", (Parameter("question"), Call("say", ("question",), (0,))), components=COMPONENTS)
    body = b'{"inputs":{"question":"?"}}'
    async with serving([saying], {"llm": engine.port}) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"POST /v1/pipelines/p HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        said = await reader.read(2**16)
        assert said.startswith(b"HTTP/1.1 200")
        assert b'"value":"Blue as the sky"' in said
        writer.close()
        await writer.wait_closed()
