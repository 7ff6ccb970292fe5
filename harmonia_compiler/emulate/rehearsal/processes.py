"""The processes of a rehearsal, which end with their context: emulated replicas, and what takes requests for them."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harmonia_compiler.contract.bundle import Endpoint, Service
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.emulate.rehearsal.child import Child, child, wait_for
from harmonia_compiler.emulate.rehearsal.front import Behind, Front, Fronted
from harmonia_compiler.emulate.servers.document import Rehearsal, Started
from harmonia_compiler.emulate.servers.listeners import HOST

#: How long processes may take to start, beside what replicas take to load, in seconds.
START_S = 60.0
ENGINES = "harmonia_compiler.emulate.servers"


@dataclass(frozen=True, slots=True)
class Running:
    """What takes requests, the emulated replicas' control port, their process, and how long all took to be ready."""

    front: Fronted
    control: str
    engines: Child
    ready_s: float

    def cpu_s(self) -> Mapping[str, float]:
        """Processor time of each process so far, in seconds."""
        found = {name: one.cpu_s() for name, one in self.front.processes.items()}
        return {"engines": self.engines.cpu_s(), **found}


@contextmanager
def running(folder: Path, rehearsal: Rehearsal, front: Front) -> Iterator[Running]:
    """Start all and stop them again. Raises Rejected where one of them does not start."""
    (folder / "rehearsal.json").write_bytes(msgspec.json.encode(rehearsal))
    began = time.monotonic()
    with child(folder, "engines", ENGINES, "--folder", str(folder)) as engines:
        wait_for(engines, (folder / "started.json").exists, START_S)
        started = msgspec.json.decode((folder / "started.json").read_bytes(), type=Started)
        external = {one.replica: _url(one) for one in started.replicas if one.replica == one.engine}
        behind = Behind(
            folder,
            tuple(one for one in started.replicas if one.replica not in external),
            redirected(rehearsal.service, external),
            rehearsal.factor,
            START_S + max(rehearsal.start_s.values(), default=0.0) * rehearsal.factor,
        )
        with front(behind) as fronted:
            ready_s = time.monotonic() - began
            yield Running(fronted, f"http://{HOST}:{started.control}", engines, ready_s)


def redirected(service: Service, urls: Mapping[str, str]) -> Service:
    """The service with these addresses of engines that are somebody else's, which need no variable and no key."""

    def engine(name: str, given: Engine) -> Engine:
        if name not in urls:
            return given
        settings = {key: value for key, value in given.settings.items() if key != "key"}
        return msgspec.structs.replace(given, settings={**settings, "url": urls[name]})

    return msgspec.structs.replace(service, engines={name: engine(name, one) for name, one in service.engines.items()})


def _url(endpoint: Endpoint) -> str:
    return f"http://{endpoint.host}:{endpoint.port}/"
