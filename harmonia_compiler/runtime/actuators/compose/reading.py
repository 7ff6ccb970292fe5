"""Reads a bundle of target `compose` whose documents agree with each other.

A plan over several hosts has a keeper on each, which looks after that host's part alone. Which host it is on,
`HARMONIA_HOST` says, or else the machine's own name, where the plan has a host of that name.
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harmonia_compiler.contract.bundle import ReplicaLaunch, Service
from harmonia_compiler.contract.compose import OVERLAY, SERVICES, ComposeReplica, ComposeServices
from harmonia_compiler.contract.launch import Launch
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.runtime.bundle import check_same, read_document, read_plan_of, read_service, unusable

#: The variable that says which host of a plan this machine is, where its name does not.
HOST = "HARMONIA_HOST"


@dataclass(frozen=True, slots=True)
class ComposeBundle:
    """What is started: `launches` are by service, also of those that only scaling starts.

    `host` is the one whose part is started here; empty where the plan has several, and this machine is none of them.
    """

    plan: Plan
    service: Service
    services: ComposeServices
    host: str = ""

    @property
    def here(self) -> tuple[ComposeReplica, ...]:
        """The services of this host."""
        return tuple(one for one in self.services.services if one.host == self.host)

    @property
    def elsewhere(self) -> tuple[ComposeReplica, ...]:
        """The services of the plan on other hosts."""
        return tuple(one for one in self.planned if one.host != self.host)

    @property
    def is_front(self) -> bool:
        """Whether the gateway and the controller are on this host."""
        return self.host == self.services.front

    @property
    def files(self) -> tuple[str, ...]:
        """The compose files of this host."""
        files = self.services.files
        return (files[self.host], *([OVERLAY] if len(files) > 1 else [])) if self.host in files else ()

    @property
    def weights(self) -> Mapping[str, str]:
        """The models that are mounted on this host, by variable."""
        mounted = {one.weights for one in self.here}
        return {variable: model for variable, model in self.services.weights.items() if variable in mounted}

    @property
    def launches_here(self) -> list[Launch]:
        """How each process of this host is started, the gateway last where it is one."""
        launches = self.launches
        mine = [launches[one.replica].launch for one in self.here]
        return [*mine, *([self.services.gateway] if self.is_front else [])]

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

    def scalable(self) -> dict[str, list[ComposeReplica]]:
        """Those of engines whose number the controller's host can change: all are there, and none keeps data."""
        front = self.services.front
        return {
            engine: these
            for engine, these in self.by_engine().items()
            if not any(one.data or one.host != front for one in these)
        }


def read_compose_bundle(bundle: Path, outer: Mapping[str, str] | None = None) -> ComposeBundle:
    """All documents of a bundle; raises `Rejected` where they do not say the same.

    `outer` is the environment that may say which host this is.
    """
    services = read_document(bundle, SERVICES, ComposeServices)
    host = host_among([*services.files], {} if outer is None else outer)
    found = ComposeBundle(read_plan_of(bundle), read_service(bundle), services, host)
    check_same(bundle, found.plan, found.service, found.services.replicas, SERVICES)
    names = [one.replica for one in found.services.services]
    known = {one.engine for one in found.services.services} <= {*found.service.engines}
    planned = [(one.id, one.engine) for one in found.plan.replicas]
    if [(one.replica, one.engine) for one in found.planned] != planned or len({*names}) < len(names) or not known:
        raise unusable(bundle, SERVICES, "its services are not those of its replicas")
    return found


def host_among(hosts: Sequence[str], outer: Mapping[str, str]) -> str:
    """Which of the plan's hosts this machine is; empty where it is none of several. One alone may bear any name."""
    if len(hosts) == 1:
        return hosts[0]
    if HOST in outer:
        return outer[HOST] if outer[HOST] in hosts else ""
    own = socket.gethostname()
    return next((name for name in (own, own.partition(".")[0]) if name in hosts), "")
