"""A bundle made by hand, whose processes are tiny HTTP servers, and a look at what it leaves behind."""

import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Contents, LocalProcesses, ReplicaLaunch, ReplicaShare, Service
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.decision import KEPT
from harmonia_compiler.contract.launch import Fill, Launch, Probe, Word
from harmonia_compiler.contract.plan import FORMAT_VERSION, Configuration, Plan, Replica, Solver
from harmonia_compiler.contract.program import Program
from harmonia_compiler.runtime.actuators.actuator import NotStarted, ProcessStatus, Status
from harmonia_compiler.runtime.actuators.local import ACTUATOR
from harmonia_compiler.runtime.actuators.supervision.keeper import keeper_of
from harmonia_compiler.runtime.actuators.supervision.pids import SUPERVISES, Ident, identify, marked_with
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory

SERVER = Path(__file__).with_name("server.py")


def launch(*words: Word, **settings: Any) -> Launch:
    """The launch of a tiny server."""
    probe = settings.pop("probe", Probe("http", "/health", 20.0))
    command: tuple[Word, ...] = (Fill("python"), str(SERVER), "--host", Fill("host"), "--port", Fill("port"), *words)
    return Launch(command, probe, **settings)


def plan_of(service: Service, launches: Iterable[ReplicaLaunch]) -> Plan:
    """The plan from which these launches could have come."""
    replicas = tuple(
        Replica(one.replica, one.engine, one.host, one.devices, one.cores, 0.0, Configuration(1.0, 0.0), ())
        for one in launches
    )
    solver = Solver("optimal", 0.0)
    return Plan(FORMAT_VERSION, "throughput", (), {}, service.engines, replicas, {}, (), solver, {})


@dataclass
class Hand:
    """A bundle in a folder of its own, with what a test asks of it."""

    path: Path
    seen: list[Status] = field(default_factory=list)

    def write(
        self,
        gateway: Launch | None = None,
        cores: float = 0.0,
        external: Mapping[str, Engine] | None = None,
        programs: Iterable[Program] = (),
        **replicas: Launch,
    ) -> "Hand":
        """Put the bundle's files there; a replica's engine bears the same name."""
        engines = {name: Engine(name, "python", {"function": "m:f"}) for name in replicas} | dict(external or {})
        launches = tuple(ReplicaLaunch(name, name, "here", cores, (), made) for name, made in replicas.items())
        service = Service(
            {one.pipeline: one for one in programs}, engines, {}, {name: ReplicaShare(8) for name in replicas}
        )
        documents: dict[str, msgspec.Struct] = {
            "service.json": service,
            "local/processes.json": LocalProcesses(launches, gateway or launch()),
            "plan.json": plan_of(service, launches),
            "bundle.json": Contents("local", ("plan.json", "service.json", "local/processes.json")),
        }
        for name, document in documents.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_bytes(msgspec.json.encode(document))
        return self

    def up(self, *, port: int | None = None, reembed: bool = False, timeout_s: float = 30.0) -> bool:
        return ACTUATOR.start(self.path, port=port, reembed=reembed, timeout_s=timeout_s, watch=self.seen.append)

    def fails(self, *, timeout_s: float = 30.0) -> NotStarted:
        with pytest.raises(NotStarted) as failure:
            self.up(timeout_s=timeout_s)
        return failure.value

    def down(self) -> bool:
        return ACTUATOR.stop(self.path)

    def status(self) -> Status:
        return ACTUATOR.status(self.path)

    def process(self, name: str) -> ProcessStatus:
        return next(process for process in self.status().processes if process.name == name)

    @contextmanager
    def halted(self) -> Iterator[Ident]:
        """The supervisor, which sees nothing and writes nothing meanwhile."""
        supervisor = keeper_of(self.path, RunDirectory(self.path))
        assert supervisor is not None
        os.kill(supervisor.pid, signal.SIGSTOP)
        try:
            yield supervisor
        finally:
            with suppress(ProcessLookupError):
                os.kill(supervisor.pid, signal.SIGCONT)

    def endpoints(self) -> dict[str, int]:
        """The ports of the ready replicas, as the gateway reads them."""
        said = json.loads((self.path / "run" / "endpoints.json").read_text())
        return {replica["replica"]: replica["port"] for replica in said["replicas"]}

    def environment(self, name: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.process(name).port}/environment", timeout=5) as answer:
            return json.loads(answer.read())

    def assert_nothing_left(self) -> None:
        """No process, no port, no lock, no state; logs may stay, and what was measured."""
        ports = {process.port for status in self.seen for process in status.processes if process.port}
        pids = {process.pid for status in self.seen for process in status.processes if process.pid}
        assert not [pid for pid in pids if identify(pid) is not None]
        assert not marked_with(self.path)
        assert not marked_with(self.path, SUPERVISES)
        assert not [port for port in ports if answers(port)]
        assert {found.name for found in (self.path / "run").iterdir()} <= {"logs", KEPT}


def answers(port: int) -> bool:
    """Whether anything listens on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(true: Callable[[], bool], limit_s: float = 20.0) -> None:
    """Wait for something that another process brings about."""
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[Hand]:
    """An empty place for a bundle; whatever a test leaves running there is ended."""
    made = Hand(tmp_path.resolve() / "bundle")
    made.path.mkdir()
    yield made
    if RunDirectory(made.path).path.is_dir():
        made.down()
