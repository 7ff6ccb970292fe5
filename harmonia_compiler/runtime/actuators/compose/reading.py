"""Reads a bundle of target `compose` whose documents agree with each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harmonia_compiler.contract.bundle import ReplicaLaunch, Service
from harmonia_compiler.contract.compose import SERVICES, ComposeReplica, ComposeServices
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.runtime.bundle import check_same, read_document, read_plan_of, read_service, unusable


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
    check_same(bundle, found.plan, found.service, found.services.replicas, SERVICES)
    names = [one.replica for one in found.services.services]
    known = {one.engine for one in found.services.services} <= {*found.service.engines}
    planned = [(one.id, one.engine) for one in found.plan.replicas]
    if [(one.replica, one.engine) for one in found.planned] != planned or len({*names}) < len(names) or not known:
        raise unusable(bundle, SERVICES, "its services are not those of its replicas")
    return found
