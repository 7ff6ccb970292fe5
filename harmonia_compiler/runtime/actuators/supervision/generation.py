"""One generation of a service: its documents, the processes that they ask for, and those that serve it now."""

import hashlib
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from harmonia_compiler.contract.bundle import Endpoint, Endpoints, ReplicaLaunch
from harmonia_compiler.contract.generations import folder_of
from harmonia_compiler.contract.launch import Fill
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.policy.control.succession import taken_over
from harmonia_compiler.runtime.actuators.supervision import placing
from harmonia_compiler.runtime.actuators.supervision.command import launch_here
from harmonia_compiler.runtime.actuators.supervision.fitting import Need
from harmonia_compiler.runtime.actuators.supervision.managed import Managed
from harmonia_compiler.runtime.actuators.supervision.ports import LOOPBACK
from harmonia_compiler.runtime.actuators.supervision.room import further_here
from harmonia_compiler.runtime.actuators.supervision.snapshot import CODE, digest_of_code, files_of
from harmonia_compiler.runtime.actuators.supervision.spec import Spec
from harmonia_compiler.runtime.actuators.supervision.store import expected_of
from harmonia_compiler.runtime.bundle import LocalBundle, read_local_bundle


@dataclass(slots=True, eq=False)
class Generation:
    """`specs` are the plan's replicas, `further` those that there may be beside them.

    `members` are the processes that serve it, by the ids of replicas; one may serve several generations.
    """

    number: int
    documents: LocalBundle
    files: Mapping[str, bytes]
    specs: tuple[Spec, ...]
    further: tuple[Spec, ...]
    members: dict[str, Managed] = field(default_factory=dict)
    since: float = field(default_factory=time.time)
    _endpoints: Endpoints = field(default_factory=lambda: Endpoints((), 0))

    def endpoints(self) -> Endpoints:
        """Where those that are ready listen, under another epoch whenever that is not as before."""
        engines = {spec.name: spec.engine for spec in (*self.specs, *self.further)}
        ready = tuple(
            Endpoint(name, engines[name], LOOPBACK, member.status.port, member.status.started_in_s)
            for name, member in self.members.items()
            if member.status.phase == "ready" and member.status.port is not None
        )
        if ready != self._endpoints.replicas:
            self._endpoints = Endpoints(ready, self._endpoints.epoch + 1)
        return self._endpoints


def load(bundle: Path, run: Path, number: int, *, reembed: bool = False) -> Generation:
    """A generation from the files that were kept of it; raises `Rejected`."""
    folder = folder_of(run, number)
    documents, files = read_local_bundle(folder), files_of(folder)
    code = digest_of_code(files)
    needs = {
        one.id: Need(one.cores, one.memory_gib, one.devices, one.config.gpus / max(1, len(one.devices)))
        for one in documents.plan.replicas
    }

    def made(launch: ReplicaLaunch, need: Need) -> Spec:
        return _spec(bundle, folder / CODE, documents, launch, need, code, reembed=reembed)

    last = {one.engine: needs[one.replica] for one in documents.processes.replicas}
    return Generation(
        number,
        documents,
        files,
        tuple(made(one, needs[one.replica]) for one in documents.processes.replicas),
        tuple(made(one, last[one.engine]) for some in further_here(documents).values() for one in some),
    )


def pinned(specs: Sequence[Spec], taken: frozenset[int] = frozenset()) -> dict[str, tuple[int, ...]]:
    """The CPUs that each is held to, none of those that are `taken`; whoever is not named may run on any."""
    cpus = sorted(os.sched_getaffinity(0) - taken) if sys.platform == "linux" else []
    found = placing.pin_cores({spec.name: spec.need.cores for spec in specs}, cpus)
    return {name: tuple(sorted(these)) for name, these in found.items()}


def is_stateful(kind: str) -> bool:
    """Whether there is never more than one of it, since it keeps data."""
    made = kinds().get(kind)
    return made is not None and made.stateful


def as_many(generation: Generation, share: float, ran: Mapping[str, int] | None = None) -> list[Spec]:
    """Of each engine as many replicas as this share of the requests needs.

    `ran` is with how many each engine serves all of them now, where those are not the plan's.
    """
    by_engine: dict[str, list[Spec]] = {}
    for spec in (*generation.specs, *generation.further):
        by_engine.setdefault(spec.engine, []).append(spec)
    planned = Counter(spec.engine for spec in generation.specs)
    whole = {name: taken_over(count, (ran or {}).get(name, 0)) for name, count in planned.items()}
    return [spec for name, some in by_engine.items() for spec in some[: math.ceil(whole[name] * share)]]


def _spec(
    bundle: Path,
    code: Path,
    documents: LocalBundle,
    replica: ReplicaLaunch,
    need: Need,
    digest: str,
    *,
    reembed: bool,
) -> Spec:
    launch = launch_here(replica.launch)
    kind = documents.service.engines[replica.engine].kind
    reads_code = any(isinstance(word, Fill) and word.slot == "code" for word in launch.command)
    place = () if is_stateful(kind) else (replica.cores, replica.devices)
    alike = (launch, kind, place, digest if reads_code else "")
    return Spec(
        replica.replica,
        replica.engine,
        launch,
        bundle,
        data=kind,
        devices=replica.devices,
        collections=(
            expected_of(documents.service, replica.engine, may_differ=reembed)
            if launch.probe.transport == "milvus"
            else ()
        ),
        code=code,
        need=need,
        likeness=hashlib.sha256(msgspec.json.encode(alike, order="deterministic")).hexdigest(),
    )
