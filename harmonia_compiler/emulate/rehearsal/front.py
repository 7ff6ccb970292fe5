"""What takes the requests of a rehearsal in front of its emulated replicas, and divides their calls among these.

That is our gateway with its controller. A measurement beside other systems puts one of those there, over the same
replicas: whatever answers the gateway's native route.
"""

import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from harmonia_compiler.contract.bundle import Endpoint, Service
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.emulate.rehearsal.child import Child, child, wait_for
from harmonia_compiler.emulate.rehearsal.controlled import decided, idle, write_address, write_bundle
from harmonia_compiler.emulate.servers.listeners import HOST
from harmonia_compiler.policy.parts import ALL, Parts
from harmonia_compiler.report.document import Decision
from harmonia_compiler.runtime.actuators.supervision.ports import free_port
from harmonia_compiler.runtime.bundle import SERVICE

GATEWAY, CONTROLLER = "harmonia_compiler.runtime.gateway", "harmonia_compiler.runtime.controller"
#: The folder of what the controller takes for a bundle.
BUNDLE = "bundle"


@dataclass(frozen=True, slots=True)
class Behind:
    """What a front is given: where the replicas listen, and the service, each second of which takes `factor` seconds.

    `patience_s` is for how many seconds of a clock it may take until all is ready.
    """

    folder: Path
    replicas: tuple[Endpoint, ...]
    service: Service
    factor: float
    patience_s: float


@dataclass(frozen=True, slots=True)
class Fronted:
    """A front that takes requests: its address, its processes by their names, and what it did, asked at the end.

    `told` is given the second of the epoch at which the requests began.
    """

    address: str
    processes: Mapping[str, Child]
    told: Callable[[float], tuple[tuple[Decision, ...], str]]


Front = Callable[[Behind], AbstractContextManager[Fronted]]


def ours(plan: Plan, parts: Parts = ALL) -> Front:
    """Our gateway, with these parts of its scheduling, and our controller if it is one.

    Raises Rejected where one of them does not start.
    """

    @contextmanager
    def front(behind: Behind) -> Iterator[Fronted]:
        folder, factor = behind.folder, ("--factor", repr(behind.factor))
        bundle = folder / BUNDLE
        endpoints = write_bundle(bundle, plan, behind.service, behind.replicas)
        port = free_port(())
        files = ("--service", str(bundle / SERVICE), "--endpoints", str(endpoints))
        without = ("--without", ",".join(parts.off)) if parts.off else ()
        with child(folder, "gateway", GATEWAY, *files, "--port", str(port), *factor, *without) as gateway:
            address = f"http://{HOST}:{port}"
            wait_for(gateway, lambda: is_ready(address), behind.patience_s)
            write_address(bundle, HOST, port)
            if not parts.controller:
                yield Fronted(address, {"gateway": gateway}, lambda _: ((), ""))
                return
            with child(folder, "controller", CONTROLLER, str(bundle), *factor) as controller:
                yield Fronted(
                    address,
                    {"gateway": gateway, "controller": controller},
                    lambda began_s: (decided(bundle, began_s, behind.factor), idle(bundle)),
                )

    return front


def is_ready(address: str) -> bool:
    """Whether what listens there says that it takes requests."""
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=5.0) as answer:  # noqa: S310 - an address of ours
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False
