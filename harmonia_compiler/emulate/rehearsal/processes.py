"""The processes of a rehearsal, which end with their context: emulated replicas, and what takes requests for them."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import msgspec

from harmonia_compiler.contract.bundle import Endpoint, Service
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.emulate.rehearsal.child import Child, child, wait_for
from harmonia_compiler.emulate.rehearsal.front import Behind, Front, Fronted
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.document import Rehearsal, Started
from harmonia_compiler.emulate.servers.faults import Fault
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

    def cpu_s(self) -> Mapping[str, Mapping[int, float]]:
        """Processor time so far, in seconds, of each part's processes by their numbers."""
        found = {name: one.cpu_s() for name, one in self.front.processes.items()}
        return {"engines": self.engines.cpu_s(), **found}


@dataclass(frozen=True, slots=True)
class Emulated:
    """The process of the emulated replicas, where each of them listens, and its control port."""

    process: Child
    replicas: tuple[Endpoint, ...]
    control: str


def rehearsal_of(
    scenario: Scenario,
    factor: float,
    start_s: Mapping[str, float],
    faults: tuple[Fault, ...],
    lengths: Mapping[str, int] = MappingProxyType({}),
) -> Rehearsal:
    """What the replicas of a scenario's plan are to be; `lengths` are the tokens of single requests' answers."""
    behaviour = scenario.behaviour
    return Rehearsal(
        scenario.service,
        scenario.plan.replicas,
        dict(behaviour.outcomes),
        behaviour.draws.seed,
        factor,
        dict(start_s),
        faults,
        dict(lengths),
        behaviour.answers,
    )


@contextmanager
def emulated(folder: Path, rehearsal: Rehearsal) -> Iterator[Emulated]:
    """The emulated replicas until the end of the context. Raises Rejected where they do not start."""
    (folder / "rehearsal.json").write_bytes(msgspec.json.encode(rehearsal))
    with child(folder, "engines", ENGINES, "--folder", str(folder)) as process:
        wait_for(process, (folder / "started.json").exists, START_S)
        started = msgspec.json.decode((folder / "started.json").read_bytes(), type=Started)
        yield Emulated(process, started.replicas, f"http://{HOST}:{started.control}")


@contextmanager
def running(folder: Path, rehearsal: Rehearsal, front: Front) -> Iterator[Running]:
    """Start all and stop them again. Raises Rejected where one of them does not start."""
    began = time.monotonic()
    with emulated(folder, rehearsal) as engines:
        external = {one.replica: url_of(one) for one in engines.replicas if one.replica == one.engine}
        behind = Behind(
            folder,
            tuple(one for one in engines.replicas if one.replica not in external),
            redirected(rehearsal.service, external),
            rehearsal.factor,
            START_S + max(rehearsal.start_s.values(), default=0.0) * rehearsal.factor,
        )
        with front(behind) as fronted:
            ready_s = time.monotonic() - began
            yield Running(fronted, engines.control, engines.process, ready_s)


def redirected(service: Service, urls: Mapping[str, str]) -> Service:
    """The service with these addresses of engines that are somebody else's, which need no variable and no key."""

    def engine(name: str, given: Engine) -> Engine:
        if name not in urls:
            return given
        settings = {key: value for key, value in given.settings.items() if key != "key"}
        return msgspec.structs.replace(given, settings={**settings, "url": urls[name]})

    return msgspec.structs.replace(service, engines={name: engine(name, one) for name, one in service.engines.items()})


def url_of(endpoint: Endpoint) -> str:
    """Where a replica that speaks HTTP is asked."""
    return f"http://{endpoint.host}:{endpoint.port}/"
