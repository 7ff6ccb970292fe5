"""Starts the gateway: `python -m harmonia_compiler.runtime.gateway --service FILE --endpoints FILE`.

Exits 1 with one line where the service document cannot be used, a variable is missing or cannot be what it is for, or
the port is taken.
"""

import argparse
import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
import uvloop

from harmonia_compiler.contract.bundle import Service
from harmonia_compiler.contract.launch import ALLOWED_HOSTS, GATEWAY_PROCESSES, MOST_PROCESSES
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.policy.parts import ALL, PARTS, Parts
from harmonia_compiler.runtime.bundle import read_service
from harmonia_compiler.runtime.descriptors import raise_open_files
from harmonia_compiler.runtime.gateway.again import again
from harmonia_compiler.runtime.gateway.app import App
from harmonia_compiler.runtime.gateway.common import Common
from harmonia_compiler.runtime.gateway.front import Front
from harmonia_compiler.runtime.gateway.generations import GenerationsFile
from harmonia_compiler.runtime.gateway.hosts import KnownHosts
from harmonia_compiler.runtime.gateway.late import UnusableVariables, resolve_late
from harmonia_compiler.runtime.gateway.ledger import LEDGER, Ledger
from harmonia_compiler.runtime.gateway.logs import log, start_logging
from harmonia_compiler.runtime.gateway.metrics import Metrics
from harmonia_compiler.runtime.gateway.part import WHOLE, Part
from harmonia_compiler.runtime.gateway.polling import POLL_S
from harmonia_compiler.runtime.gateway.processes import CUT, Processes, end_with
from harmonia_compiler.runtime.gateway.service import Gateway
from harmonia_compiler.runtime.gateway.siblings import ALONE, Siblings
from harmonia_compiler.runtime.gateway.transports import Transports, read_record
from harmonia_compiler.runtime.heads import within
from harmonia_compiler.runtime.stretched import loop_of

#: How long requests may go on after the signal to stop, in seconds, where nobody says it; so much before the server
#: gives up, they are ended by us.
DRAIN_S, BEFORE_S = 10, 1
#: How long who has connected before that may take to ask, in seconds, at most.
ASKS_S = 5.0
#: How much the system keeps of what a client has not read yet, in bytes; it takes twice as many. Left to itself it
#: takes 4 MB, for each client that asks for a long stream and reads nothing of it.
UNREAD = 32 * 2**10
#: One in so many descriptors is for a client's connection; the others are for calls, logs and files.
FOR_CLIENTS = 2
#: Requests leave hardly a cycle behind. Looked for every 700 objects, as Python does, they cost a tenth of all time.
_OBJECTS_UNTIL_COLLECTION = 20_000


class Server(uvicorn.Server):
    """uvicorn, which on the first signal to stop also tells the gateway."""

    def __init__(
        self, config: uvicorn.Config, front: Front, loop: asyncio.AbstractEventLoop, process: "Process"
    ) -> None:
        super().__init__(config)
        self._front = front
        self._loop = loop
        self._cut_s = process.drain_s - BEFORE_S
        self._cutting = signal.SIGTERM if process.alive is None else CUT
        if process.alive is not None:
            signal.signal(CUT, self.handle_exit)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a handler
        """Stop accepting; what runs goes on for a while. Another SIGTERM ends it, another Ctrl-C all at once.

        To one of several processes the one that started them says it as `CUT`. uvicorn's own would raise the signal
        again after the end and so hide that all went well.
        """
        # Of two signals that come together, the other may be told first.
        if self.should_exit or sig == CUT:
            self.force_exit = sig == signal.SIGINT
            if sig == self._cutting:
                self._loop.call_soon_threadsafe(self._front.cut)
            return
        self.should_exit = True
        self._front.stopping = True
        log("stopping", signal=signal.Signals(sig).name)
        self._loop.call_soon_threadsafe(self._loop.call_later, self._cut_s, self._front.cut)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections, and first let who has connected and not asked yet do so: uvicorn closes on those."""
        for server in self.servers:
            server.close()
        until = self._loop.time() + min(ASKS_S, self._cut_s / 10)
        while any(getattr(one, "cycle", None) is None for one in self.server_state.connections):
            if self.force_exit or self._loop.time() > until:
                break
            await asyncio.sleep(0.1)
        await super().shutdown(sockets)


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a gateway: its part of the plan, the sockets that it listens on, the first of them the gateway's.

    `alive` is a pipe that is closed when the process ends that all were started by; requests may go on for `drain_s`
    after the signal to stop.
    """

    part: Part
    listening: Sequence[socket.socket]
    siblings: Siblings = ALONE
    alive: int | None = None
    drain_s: int = DRAIN_S

    @property
    def ledger(self) -> str:
        """The file of its counts, which no other process writes into."""
        return f"{LEDGER}.{self.part.number}" if self.part.number else LEDGER


async def run(service: Service, endpoints: Path, process: Process, parts: Parts = ALL) -> None:
    """Serve until a signal to stop; `parts` of the scheduling are on."""
    loop = asyncio.get_running_loop()
    if process.alive is not None:
        loop.add_reader(process.alive, end_with, process.alive)
    transports = Transports()
    common = Common()
    metrics = Metrics([], Ledger(endpoints.with_name(process.ledger)))

    def made(document: Service) -> Gateway:
        resolved = resolve_late(document, kinds(), os.environ)
        transports.open({kinds()[engine.kind].transport for engine in resolved.engines.values()})
        return Gateway(resolved, kinds(), transports, read_record, loop.time, parts, metrics, process.part, common)

    generations = GenerationsFile(endpoints.parent, made)
    front = generations.begin(service, endpoints)
    config = uvicorn.Config(
        KnownHosts(App(front, process.siblings, endpoints.parent), os.environ.get(ALLOWED_HOSTS, "").split(",")),
        http=within(raise_open_files() // FOR_CLIENTS),
        ws="none",
        lifespan="on",
        access_log=False,
        proxy_headers=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=process.drain_s,
    )
    following = [
        asyncio.create_task(again(name, look, POLL_S, metrics.bug(name)))
        for name, look in (
            ("generations", generations.look),
            ("endpoints", generations.look_at_endpoints),
            ("decisions", generations.look_at_decisions),
        )
    ]
    host, port = process.listening[0].getsockname()[:2]
    log("listening", host=host, port=port, pipelines=list(front.programs))
    try:
        await Server(config, front, loop, process).serve([*process.listening])
    finally:
        for task in following:
            task.cancel()
    log("stopped")


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="harmonia gateway", description="Serves the pipelines of a bundle.")
    parser.add_argument("--service", type=Path, required=True, help="service.json of the bundle")
    parser.add_argument("--endpoints", type=Path, required=True, help="where the target writes where replicas listen")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--share-port", action="store_true", help="let another gateway of this user that does so listen there as well"
    )
    parser.add_argument(
        "--processes",
        type=_count,
        metavar="N",
        default=os.environ.get(GATEWAY_PROCESSES, "1"),
        help="how many processes serve, a core for each; also by the variable " + GATEWAY_PROCESSES,
    )
    parser.add_argument(
        "--drain",
        type=int,
        metavar="SECONDS",
        default=DRAIN_S,
        help="how long requests may go on after the signal to stop; another one ends them",
    )
    parser.add_argument("--without", default="", help="parts of the scheduling to turn off, with commas between")
    parser.add_argument("--factor", type=float, default=1.0, help="by how much a rehearsal stretches all times")
    given = parser.parse_args()
    parts = ALL.without(tuple(name for name in PARTS if name in given.without.split(",")))
    try:
        document = read_service(given.service.parent, given.service.name)
        if absent := sorted({engine.kind for engine in document.engines.values()} - {*kinds()}):
            sys.exit(f"gateway: no distribution with the kind {', '.join(absent)} is installed here")
        resolve_late(document, kinds(), os.environ)
        listening = _listen(given.host, given.port, shared=given.share_port)
    except Rejected as rejected:
        sys.exit(f"gateway: {rejected}")
    except UnusableVariables as variables:
        sys.exit(f"gateway: {variables}")
    except OSError as problem:
        sys.exit(f"gateway: cannot listen on {given.host}:{given.port}: {problem.strerror}")
    start_logging()
    # What is there now stays until the end, and need not be looked through each time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_UNTIL_COLLECTION)
    if given.processes == 1:
        uvloop.run(
            run(document, given.endpoints, Process(WHOLE, [listening], drain_s=given.drain), parts),
            loop_factory=loop_of(given.factor),
        )
        return
    own = [_listen("127.0.0.1", 0) for _ in range(given.processes)]
    ports = [one.getsockname()[1] for one in own]

    def serve(number: int) -> None:
        siblings = Siblings(tuple(port for at, port in enumerate(ports) if at != number))
        part = Part(number, given.processes)
        process = Process(part, [listening, own[number]], siblings, processes.alive, given.drain)
        uvloop.run(run(document, given.endpoints, process, parts), loop_factory=loop_of(given.factor))

    processes = Processes(given.processes, serve, [listening, *own])
    sys.exit(processes.run())


def _count(text: str) -> int:
    """A number of processes."""
    if not text.isdecimal() or not 1 <= int(text) <= MOST_PROCESSES:
        raise argparse.ArgumentTypeError(f"`{text}` is no number of processes from 1 to {MOST_PROCESSES}")
    return int(text)


def _listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=2048, reuse_port=shared)
    # asyncio turns Nagle's algorithm off only on sockets that name their protocol; with it, every answer waits 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD)
    return listening


if __name__ == "__main__":
    main()
