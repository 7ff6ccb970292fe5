"""Where a component's documents go: its collection, and the store and embedder that run for it."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from harmonia_compiler.contract.bundle import Endpoint, Endpoints, Service
from harmonia_compiler.contract.card import is_added, load_cards
from harmonia_compiler.contract.collection import CollectionRecord
from harmonia_compiler.contract.component import Component, Engine
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.near import listed, suggestion
from harmonia_compiler.diagnostics.shell import shell_word
from harmonia_compiler.ingest.run import Wanted
from harmonia_compiler.kinds.kind import value_of
from harmonia_compiler.kinds.milvus import SETTINGS
from harmonia_compiler.runtime import weights
from harmonia_compiler.runtime.actuators.actuator import is_starting
from harmonia_compiler.runtime.bundle import read_contents, read_service
from harmonia_compiler.runtime.owning import check_readable


@dataclass(frozen=True, slots=True)
class Target:
    """A collection as it shall be, the Milvus that holds it, and the replicas of the engine that embeds for it."""

    wanted: Wanted
    uri: str
    engine: Engine
    embedders: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A collection as a compiled bundle wants it, running or not, and the components that search and embed for it."""

    bundle: Path
    service: Service
    wanted: Wanted
    store: Component
    embedder: Component

    def uri(self) -> str:
        """Where the Milvus of the running bundle answers; raises `Rejected` where it does not run."""
        return _uri(_replicas(self.bundle, _running(self.bundle), self.store, self.service))


def place(bundle: Path, name: str | None) -> Place:
    """Where the passages of a component go, or of the only one there is; raises `Rejected` where there is none."""
    check_readable(bundle)
    read_contents(bundle)
    service = read_service(bundle)
    components = {key: made for program in service.programs.values() for key, made in program.components.items()}
    component = _searching(components, name)
    collection = str(component.settings["collection"])
    record = service.collections.get(collection)
    if record is None:
        raise _rejected("E1013", f"the bundle does not say how `{collection}` is embedded", "compile the bundle again")
    wanted = Wanted(collection, record, str(value_of("index", component.settings, SETTINGS)))
    return Place(bundle, service, wanted, component, components[str(component.settings["embedder"])])


def locate(bundle: Path, name: str | None) -> Target:
    """The target of a component of a running bundle, or of the only one.

    Raises `Rejected` where there is none, and where the folder of an embedder that was added on this machine does not
    hold any more what the bundle was compiled for.
    """
    at = place(bundle, name)
    running = _running(bundle)
    found = Target(
        at.wanted,
        _uri(_replicas(bundle, running, at.store, at.service)),
        at.service.engines[at.embedder.engine],
        _replicas(bundle, running, at.embedder, at.service),
    )
    _check_model(at.wanted.record)
    return found


def _check_model(record: CollectionRecord) -> None:
    """What runs has read its model when it started; what starts next, and searches, would be another one."""
    if not is_added(record.revision):
        return
    # On a machine that does not start the embedder nobody need have added its model.
    if any(is_added(card.revision) for card in load_cards().named(record.embedder)):
        weights.locate(f"{record.embedder}@{record.revision}")


def _uri(replicas: tuple[Endpoint, ...]) -> str:
    return f"http://{replicas[0].host}:{replicas[0].port}"


def _searching(components: dict[str, Component], name: str | None) -> Component:
    stores = sorted(key for key, component in components.items() if component.kind == "milvus")
    if name is None and len(stores) == 1:
        return components[stores[0]]
    if name is None and stores:
        raise _rejected("E1006", f"documents could go into any of {listed(stores)}", "choose one with --component NAME")
    if name is None:
        raise _rejected(
            "E1006", "no pipeline of this bundle searches a collection", "add a component made from `milvus`"
        )
    if name in stores:
        return components[name]
    advice = suggestion(name, stores, f"there are {listed(stores)}")
    if name in components:
        message = f"`{name}` is made from `{components[name].kind}`; documents go into components made from `milvus`"
    else:
        message = f"no pipeline of this bundle searches a component `{name}`"
    raise _rejected("E1006", message, advice if stores else "its pipelines search no collection")


def _running(bundle: Path) -> Endpoints:
    try:
        return decode_document(read_regular(bundle / "run" / "endpoints.json", MOST_DOCUMENT_BYTES), Endpoints)
    except (OSError, msgspec.MsgspecError) as problem:
        raise _not_running(bundle, f"`{bundle}` is not running") from problem


def _replicas(bundle: Path, running: Endpoints, component: Component, service: Service) -> tuple[Endpoint, ...]:
    found = tuple(replica for replica in running.replicas if replica.engine == component.engine)
    if not found:
        kind = service.engines[component.engine].kind
        raise _not_running(bundle, f"no replica of `{component.name}` ({kind}) is ready in `{bundle}`")
    return found


def _not_running(bundle: Path, message: str) -> Rejected:
    named = shell_word(bundle)
    if is_starting(bundle):
        step = f"ingest again once it is; `harmoniac status {named}` tells what it waits for"
        return _rejected("E1007", f"{message}: the service is still starting", step)
    return _rejected("E1007", message, f"`harmoniac up {named}` starts it, `harmoniac status {named}` shows what runs")


def _rejected(code: str, message: str, advice: str) -> Rejected:
    return Rejected([Diagnostic(code, message, help=advice)])
