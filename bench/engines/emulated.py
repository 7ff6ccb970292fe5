"""An emulated engine in a process of its own, which knows nothing but the profile that it is given."""

import asyncio
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web

from harmonia_compiler.emulate.behaviour import Behaviour
from harmonia_compiler.emulate.llm.engine import Engine
from harmonia_compiler.emulate.servers.chat import Chat
from harmonia_compiler.emulate.servers.speech import Speech
from harmonia_compiler.kinds.openai import CHAT
from harmonia_compiler.profile.record import MeasuredProfile, encode, read_profile
from harmonia_compiler.workload.draws import Draws


@contextlib.contextmanager
def emulated(profile: MeasuredProfile) -> Iterator[str]:
    """The URL of an engine that is emulated from a profile."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profile.json"
        path.write_bytes(encode(profile))
        with subprocess.Popen([sys.executable, __file__, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
            finally:
                process.terminate()


async def serve(path: Path) -> None:
    """The process: prints its port, and serves until it is ended."""
    profile = read_profile(path)
    engine = Engine(profile.limits, profile.steps)
    chat = Chat(profile.model, engine, Speech(Behaviour({}, {}, Draws(1)), {}), profile.limits.block_size)
    app = web.Application()
    app.router.add_post(CHAT, chat.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
