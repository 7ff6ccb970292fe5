"""Reading a bundle: every process that starts, watches or serves one comes through here.

A bundle may have been edited, cut short, or put together from two. A document that is no regular file, is damaged, or
says what none of ours would is refused here, before anything is made of it.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from harmonia_compiler.contract.bundle import FORMAT_VERSION, Contents, LocalProcesses, ReplicaLaunch, Service
from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.document import decode_versioned
from harmonia_compiler.contract.plan import Plan, decode_plan
from harmonia_compiler.contract.references import dangling
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected

CONTENTS, PLAN, SERVICE, PROCESSES = "bundle.json", "plan.json", "service.json", "local/processes.json"

#: Processes of a service that are no replicas, whose names none may have.
GATEWAY, SUPERVISOR, CONTROLLER = "gateway", "supervisor", "controller"

_Document = TypeVar("_Document")


@dataclass(frozen=True, slots=True)
class LocalBundle:
    """A bundle whose documents agree with each other, of a target that says of processes what target `local` says."""

    plan: Plan
    service: Service
    processes: LocalProcesses


def read_contents(bundle: Path) -> Contents:
    """What `bundle.json` says; raises `Rejected` where the folder is no bundle."""
    if not (bundle / CONTENTS).exists():
        step = "make one with `harmoniac compile FILE --inventory INV --target local --out DIR`"
        raise Rejected([Diagnostic("E0905", f"`{bundle}` is no bundle: it holds no {CONTENTS}", help=step)])
    return read_document(bundle, CONTENTS, Contents)


def read_service(bundle: Path, name: str = SERVICE) -> Service:
    """The Programs, engines and collections of a bundle."""
    service = read_document(bundle, name, Service)
    for wrong in _misfits(service):
        raise unusable(bundle, name, wrong)
    return service


def read_plan_of(bundle: Path) -> Plan:
    """The plan that a bundle was made from."""
    return _read(bundle, PLAN, decode_plan)


def read_local_processes(bundle: Path) -> LocalProcesses:
    """What target `local` starts."""
    return read_document(bundle, PROCESSES, LocalProcesses)


def read_local_bundle(bundle: Path, processes: str = PROCESSES) -> LocalBundle:
    """All documents of a bundle, the processes in that document; raises `Rejected` where they do not say the same."""
    found = LocalBundle(read_plan_of(bundle), read_service(bundle), read_document(bundle, processes, LocalProcesses))
    check_same(bundle, found.plan, found.service, found.processes.replicas, processes)
    return found


def read_document(bundle: Path, name: str, of: type[_Document]) -> _Document:
    """One JSON document of a bundle; raises `Rejected` where it is missing, damaged or of another format."""
    return _read(bundle, name, lambda raw: decode_versioned(raw, of, 1, FORMAT_VERSION))


def _read(bundle: Path, name: str, decode: Callable[[bytes], _Document]) -> _Document:
    try:
        return decode(read_regular(bundle / name, MOST_DOCUMENT_BYTES))
    except (OSError, msgspec.MsgspecError) as problem:
        # What a compilation that was cut off has not written yet is not there, or is of another bundle.
        if name != CONTENTS and is_cut_off(bundle):
            raise _not_whole(bundle) from problem
        why = (problem.strerror or "it cannot be read") if isinstance(problem, OSError) else str(problem)
        raise unusable(bundle, name, why) from problem


def is_cut_off(bundle: Path) -> bool:
    """Whether a compilation began to put a bundle there and did not end; not, where none says so."""
    try:
        return read_contents(bundle).being_written is True
    except Rejected:
        return False


def _not_whole(bundle: Path) -> Rejected:
    step = "compile the bundle again; `run/` and `data/` in it are kept"
    return Rejected([Diagnostic("E0905", f"`{bundle}` is no whole bundle: a compilation was cut off", help=step)])


def _misfits(service: Service) -> Iterator[str]:
    """Where the service names what it does not have."""
    known = {name for program in service.programs.values() for name in program.components}
    for pipeline, program in service.programs.items():
        yield from (f"`{pipeline}`: {wrong}" for wrong in dangling(program))
        for name, made in program.components.items():
            engine = service.engines.get(made.engine)
            if engine is None:
                yield f"`{name}` stands on the engine `{made.engine}`, which is not there"
            elif engine.kind != made.kind:
                yield f"`{name}` is made from `{made.kind}`, and its engine from `{engine.kind}`"
            if made.kind == "milvus":
                yield from _unsearchable(name, made, known)


def _unsearchable(name: str, search: Component, known: Container[str]) -> Iterator[str]:
    """Why a search cannot be made: it says no collection, or no embedder that there is."""
    if not isinstance(search.settings.get("collection"), str):
        yield f"`{name}` searches no collection"
    embedder = search.settings.get("embedder")
    if not isinstance(embedder, str) or embedder not in known:
        yield f"`{name}` has no embedder"


def check_same(bundle: Path, plan: Plan, service: Service, started: Iterable[ReplicaLaunch], name: str) -> None:
    """Raise `Rejected` where plan, service and the replicas that the document `name` starts do not say the same.

    Also where they may do so and other files not, since some are of a compilation that was cut off.
    """
    if read_contents(bundle).being_written is True:
        raise _not_whole(bundle)
    for differing, wrong in _differences(plan, service, started, name):
        raise unusable(bundle, differing, wrong)


def _differences(
    plan: Plan, service: Service, started: Iterable[ReplicaLaunch], name: str
) -> Iterator[tuple[str, str]]:
    """Where two documents differ: the one that is made from the other, and what is wrong with it."""
    planned = {one.id: (one.engine, one.host, one.cores, one.devices) for one in plan.replicas}
    for taken in planned.keys() & {GATEWAY, SUPERVISOR, CONTROLLER}:
        yield PLAN, f"`{taken}` is no id for a replica"
    for one in plan.replicas:
        engine, served = plan.engines[one.engine], service.engines.get(one.engine)
        if served is None or served.kind != engine.kind:
            yield SERVICE, f"the engine `{one.engine}` of {PLAN} is not there"
    started = tuple(started)
    yield from ((name, wrong) for wrong in _otherwise_embedded(service, started))
    if service.shares.keys() != planned.keys():
        yield SERVICE, f"it gives shares to other replicas than {PLAN} has"
    if [(one.replica, (one.engine, one.host, one.cores, one.devices)) for one in started] != list(planned.items()):
        yield name, f"it starts other replicas than {PLAN} has"


def _otherwise_embedded(service: Service, started: Iterable[ReplicaLaunch]) -> Iterator[str]:
    """Where an embedder that is started is another one than a collection's record says."""
    models = {one.engine: one.launch.model for one in started if "@" in (one.launch.model or "")}
    for program in service.programs.values():
        for made in program.components.values():
            record = service.collections.get(str(made.settings.get("collection"))) if made.kind == "milvus" else None
            if record is None:
                continue
            model = models.get(program.components[str(made.settings["embedder"])].engine)
            if model is not None and model != f"{record.embedder}@{record.revision}":
                collection = made.settings["collection"]
                yield f"it starts `{model}`, and `{collection}` holds vectors of {record.embedder}@{record.revision}"


def unusable(bundle: Path, name: str, why: str) -> Rejected:
    """A document of a bundle cannot be used, and why."""
    step = "compile the bundle again; `run/` and `data/` in it are kept"
    if name == CONTENTS:
        # What it does not list, no compilation overwrites.
        step = "compile into a new folder, and move `run/` and `data/` there"
    return Rejected([Diagnostic("E0905", f"`{bundle / name}` cannot be used: {why}", help=step)])
