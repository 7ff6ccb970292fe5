"""What lies between a container that answers and one that serves: first calls, and collections checked and loaded."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harmonia_compiler.contract.launch import Probe, Wire
from harmonia_compiler.runtime.actuators.compose.docker import Docker, DockerFailed
from harmonia_compiler.runtime.actuators.supervision.command import basics
from harmonia_compiler.runtime.actuators.supervision.store import Expected, Opened, open_on

#: How long the first calls may take, and opening collections, in seconds.
_WARM_UP_S, _OPENING_S = 300.0, 300.0

#: Makes calls from inside a container, with nothing but its Python: bridges need not be reachable from the host.
_CALLS = """\
import base64, http.client, json, sys
for path, method, headers, body in json.load(sys.stdin):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=120)
        connection.request(method, path, base64.b64decode(body), dict(headers))
        connection.getresponse().read()
    except OSError as problem:
        print(problem, file=sys.stderr)
"""


def warm_up(docker: Docker, container: str, probe: Probe, port: int) -> None:
    """Make the calls that an engine is slow at the first time; what becomes of them does not matter."""
    if probe.warm_up:
        calls = msgspec.json.encode([_plain(wire) for wire in probe.warm_up])
        docker.execute(container, ["python3", "-I", "-c", _CALLS, str(port)], calls, _WARM_UP_S)


def opened(docker: Docker, container: str, port: int, expected: Sequence[Expected]) -> Opened:
    """Check and load the collections of a store that has just started."""
    if not expected:
        return Opened()
    module = "harmonia_compiler.runtime.actuators.supervision.opening"
    command = ["python3", "-P", "-m", module, f"http://127.0.0.1:{port}"]
    try:
        return msgspec.json.decode(
            docker.execute(container, command, msgspec.json.encode(expected), _OPENING_S), type=Opened
        )
    except (DockerFailed, msgspec.MsgspecError) as problem:
        return Opened((f"its collections could not be checked: {problem}",))


def opened_from_here(port: int, expected: Sequence[Expected], log: Path) -> Opened:
    """The same for a store in whose image there is nothing of ours: over its port on 127.0.0.1 of this host."""
    if not expected:
        return Opened()
    opening = asyncio.wait_for(open_on(port, expected, basics(os.environ), log), _OPENING_S)
    try:
        return asyncio.run(opening)
    except TimeoutError:
        return Opened((f"its collections were not checked within {_OPENING_S:g} s",))
    except OSError as problem:
        return Opened((f"its collections could not be checked: {problem}",))


def _plain(wire: Wire) -> tuple[str, str, tuple[tuple[str, str], ...], bytes]:
    return wire.path, wire.method, wire.headers, wire.body
