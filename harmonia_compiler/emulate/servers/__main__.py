"""Starts the emulated replicas of a rehearsal: `python -m harmonia_compiler.emulate.servers --folder DIR`.

Reads `rehearsal.json` in the folder and writes `started.json` there once all replicas listen. The
control port answers `GET /tally`; `POST /reset` lets it count from then on, and from `POST /begin` count the times of
faults. Ends on SIGTERM, and with the
process that started it.
"""

import argparse
import asyncio
import os
import signal
from pathlib import Path

import msgspec
import uvloop
from aiohttp import web

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.emulate.servers.document import Rehearsal, Started
from harmonia_compiler.emulate.servers.host import Host
from harmonia_compiler.emulate.servers.listeners import HOST
from harmonia_compiler.runtime.stretched import loop_of

#: How often to look whether whoever started this process is still there, in seconds.
_LOOK_S = 1.0


async def run(folder: Path, rehearsal: Rehearsal) -> None:
    """Serve until a signal to stop, or until nobody is there to send one."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    host = Host(rehearsal, load_cards())
    endpoints = await host.start()
    control = web.AppRunner(_control(host), access_log=None)
    await control.setup()
    await web.TCPSite(control, HOST, 0).start()
    started = msgspec.json.encode(Started(tuple(endpoints), control.addresses[0][1]))
    whole = folder / "started.json.part"
    whole.write_bytes(started)
    whole.replace(folder / "started.json")
    parent = os.getppid()
    while not stop.is_set() and os.getppid() == parent:
        try:
            async with asyncio.timeout(_LOOK_S):
                await stop.wait()
        except TimeoutError:
            continue
    await control.cleanup()
    await host.stop()


def _control(host: Host) -> web.Application:
    async def tally(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(host.tally()), content_type="application/json")

    async def reset(_: web.Request) -> web.Response:
        host.reset()
        return web.Response(status=204)

    async def begin(_: web.Request) -> web.Response:
        host.begin()
        return web.Response(status=204)

    app = web.Application()
    app.router.add_get("/tally", tally)
    app.router.add_post("/reset", reset)
    app.router.add_post("/begin", begin)
    return app


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="harmonia emulated", description="Serves emulated replicas.")
    parser.add_argument("--folder", type=Path, required=True, help="where rehearsal.json lies")
    folder = parser.parse_args().folder
    rehearsal = msgspec.json.decode((folder / "rehearsal.json").read_bytes(), type=Rehearsal)
    uvloop.run(run(folder, rehearsal), loop_factory=loop_of(rehearsal.factor))


if __name__ == "__main__":
    main()
