"""The processes of a rehearsal: emulated replicas, the real gateway and controller. They end with their context."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import msgspec
import psutil

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.emulate.rehearsal.controlled import write_address, write_bundle
from harmonia_compiler.emulate.rehearsal.stretch import stretched
from harmonia_compiler.emulate.servers.document import Rehearsal, Started
from harmonia_compiler.emulate.servers.listeners import HOST
from harmonia_compiler.policy.parts import ALL, Parts
from harmonia_compiler.runtime.actuators.supervision.probes import free_port
from harmonia_compiler.runtime.load.machine import process_seconds

#: How long processes may take to start, beside what replicas take to load, in seconds; and to stop.
START_S, STOP_S = 60.0, 10.0
_LOOK_S = 0.05
#: The modules that are started.
ENGINES, GATEWAY = "harmonia_compiler.emulate.servers", "harmonia_compiler.runtime.gateway"
CONTROLLER = "harmonia_compiler.runtime.controller"
#: The folder of what the controller takes for a bundle.
BUNDLE = "bundle"


@dataclass(frozen=True, slots=True)
class Running:
    """The gateway's address, the emulated replicas' control port, the processes, and how long it took to be ready."""

    gateway: str
    control: str
    ready_s: float
    processes: Mapping[str, psutil.Process]

    def cpu_s(self) -> dict[str, float]:
        """Processor time of each process so far, in seconds."""
        return {name: process_seconds(process) for name, process in self.processes.items()}


@contextmanager
def running(folder: Path, plan: Plan, rehearsal: Rehearsal, parts: Parts = ALL) -> Iterator[Running]:
    """Start all and stop them again; `parts` of the gateway's scheduling are on.

    Raises Rejected where one of them does not start.
    """
    (folder / "rehearsal.json").write_bytes(msgspec.json.encode(rehearsal))
    began = time.monotonic()
    with _process(folder, "engines", ENGINES, "--folder", str(folder)) as engines:
        _wait(folder, "engines", engines, (folder / "started.json").exists, START_S)
        started = msgspec.json.decode((folder / "started.json").read_bytes(), type=Started)
        external = {one.replica: _url(one) for one in started.replicas if one.replica == one.engine}
        service = stretched(rehearsal.service, rehearsal.factor, external)
        (folder / "service.json").write_bytes(msgspec.json.encode(service))
        inside = tuple(one for one in started.replicas if one.replica not in external)
        bundle = folder / BUNDLE
        endpoints = write_bundle(bundle, plan, rehearsal.service, inside)
        port = free_port(())
        files = ("--service", str(folder / "service.json"), "--endpoints", str(endpoints))
        without = ("--without", ",".join(parts.off)) if parts.off else ()
        with _process(folder, "gateway", GATEWAY, *files, "--port", str(port), *without) as gateway:
            address = f"http://{HOST}:{port}"
            loading_s = max(rehearsal.start_s.values(), default=0.0) * rehearsal.factor
            _wait(folder, "gateway", gateway, lambda: _is_ready(address), START_S + loading_s)
            ready_s = time.monotonic() - began
            write_address(bundle, HOST, port)
            with _process(folder, "controller", CONTROLLER, str(bundle), "--factor", repr(rehearsal.factor)) as control:
                found = {"engines": engines, "gateway": gateway, "controller": control}
                yield Running(
                    address,
                    f"http://{HOST}:{started.control}",
                    ready_s,
                    {name: psutil.Process(process.pid) for name, process in found.items()},
                )


def _is_ready(gateway: str) -> bool:
    try:
        with urllib.request.urlopen(f"{gateway}/readyz", timeout=5.0) as answer:  # noqa: S310 - an address of ours
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False


def _url(endpoint: Endpoint) -> str:
    return f"http://{endpoint.host}:{endpoint.port}/"


@contextmanager
def _process(folder: Path, name: str, module: str, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module, with paths and numbers of ours
            [sys.executable, "-m", module, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(
    folder: Path, name: str, process: "subprocess.Popen[bytes]", is_there: Callable[[], bool], most_s: float
) -> None:
    until = time.monotonic() + most_s
    while not is_there():
        if process.poll() is not None or time.monotonic() > until:
            lines = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
            said = f": {' / '.join(lines)}" if lines else ""
            message = f"the rehearsal's {name} did not start{said}"
            raise Rejected(
                [Diagnostic("E1341", message, help="give this machine more room, or rehearse a smaller plan")]
            )
        time.sleep(_LOOK_S)
