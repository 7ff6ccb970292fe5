"""A process whose port the user fixed is ready when it listens there itself, whoever else answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harmonia_compiler.contract.launch import Fill, Launch, Probe
from harmonia_compiler.runtime.actuators.supervision.logs import Logs
from harmonia_compiler.runtime.actuators.supervision.managed import Managed, StartFailed
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory
from harmonia_compiler.runtime.actuators.supervision.spec import Shared, Spec

#: Once a file is there, it answers on a port that others may listen on too.
_SERVES = """
import http.server, pathlib, socket, sys, time
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.01)
class Server(http.server.HTTPServer):
    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()
Server(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@contextlib.asynccontextmanager
async def somebody_else() -> AsyncIterator[int]:
    """A port on which somebody answers everything, and lets others listen too."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, reuse_port=True)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def made(bundle: Path, port: int, *, shares_port: bool = False) -> Managed:
    run = RunDirectory(bundle)
    run.prepare()
    command = (Fill("python"), "-c", _SERVES, Fill("port"), "go")
    spec = Spec("one", "", Launch(command, Probe("http", "/")), bundle, port=port, shares_port=shares_port)
    return Managed(spec, Shared(run, Logs(run), {}, lambda: None))


async def test_a_port_that_somebody_else_has_is_the_reason_why_it_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    async with somebody_else() as port:
        one = made(tmp_path, port)
        with pytest.raises(StartFailed) as failed:
            await one.run()
        assert failed.value.reason == f"port {port} is in use on its machine"


async def test_it_is_not_ready_by_what_another_answers_with_which_it_shares_its_port(tmp_path: Path) -> None:
    async with somebody_else() as port:
        one = made(tmp_path, port, shares_port=True)
        one.task = asyncio.create_task(one.run())
        async with asyncio.timeout(30):
            while "somebody else answers there" not in one.status.waiting_for:
                await asyncio.sleep(0.01)
            assert not one.was_ready.is_set()
            (tmp_path / "go").touch()
            await one.was_ready.wait()
        await one.stop(5.0)
