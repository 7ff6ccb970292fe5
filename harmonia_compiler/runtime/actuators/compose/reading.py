"""Reads a bundle of target `compose` whose documents agree with each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harmonia_compiler.contract.bundle import ReplicaLaunch, Service
from harmonia_compiler.contract.compose import SERVICES, ComposeReplica, ComposeServices
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.runtime.bundle import read_document, read_plan_of, read_service

#: The file of a plan on one host.
COMPOSE_FILE = "compose.yaml"


@dataclass(frozen=True, slots=True)
class ComposeBundle:
    """What is started: `launches` are by service, also of those that only scaling starts."""

    plan: Plan
    service: Service
    services: ComposeServices

    @property
    def planned(self) -> tuple[ComposeReplica, ...]:
        """The services of the plan's replicas, in its order."""
        return tuple(one for one in self.services.services if not one.further)

    @property
    def launches(self) -> Mapping[str, ReplicaLaunch]:
        """The process of each service; a further one's is that of the last replica of its engine."""
        last = {one.engine: one for one in self.services.replicas}
        own = {one.replica: one for one in self.services.replicas}
        return {one.replica: own.get(one.replica, last[one.engine]) for one in self.services.services}

    def by_engine(self) -> dict[str, list[ComposeReplica]]:
        """The services of each engine, in the order in which scaling starts them."""
        found: dict[str, list[ComposeReplica]] = {}
        for one in sorted(self.services.services, key=lambda one: one.further):
            found.setdefault(one.engine, []).append(one)
        return found


def read_compose_bundle(bundle: Path) -> ComposeBundle:
    """All documents of a bundle; raises `Rejected` where they do not say the same."""
    found = ComposeBundle(read_plan_of(bundle), read_service(bundle), read_document(bundle, SERVICES, ComposeServices))
    planned = [(one.id, one.engine, one.host, one.cores, one.devices) for one in found.plan.replicas]
    started = [(one.replica, one.engine, one.host, one.cores, one.devices) for one in found.services.replicas]
    served = [(one.replica, one.engine) for one in found.planned]
    names = [one.replica for one in found.services.services]
    agrees = started == planned and served == [(name, engine) for name, engine, *_ in planned]
    if (
        not agrees
        or len({*names}) < len(names)
        or {one.engine for one in found.services.services} - {*found.service.engines}
    ):
        message = f"`{bundle / SERVICES}` cannot be used: it starts other replicas than plan.json has"
        step = "compile the bundle again; `run/` and `data/` in it are kept"
        raise Rejected([Diagnostic("E0905", message, help=step)])
    return found
