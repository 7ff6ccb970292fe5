"""Opens the transports that the kinds of a service name; adding one is adding a file `NAME_transport.py` here.

Each is loaded where it is first asked for: the client library of Milvus takes a second to load and memory for ever,
which a gateway without a store should not spend.
"""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from harmonia_compiler.contract.collection import CollectionRecord
from harmonia_compiler.runtime.gateway.transport import Transport


class Transports(dict[str, Transport]):
    """Every transport that was asked for so far, by its name; one of each."""

    def __missing__(self, name: str) -> Transport:
        transport: Transport = _module(name).TRANSPORT()
        self[name] = transport
        return transport

    def open(self, names: Iterable[str]) -> None:
        """Load these now, and not while the first request waits."""
        for name in names:
            self[name]


def read_record(uri: str, collection: str) -> CollectionRecord | None:
    """What the collection that a store serves was built with; None where there is none. Blocks; raises `NotOurs`."""
    record: CollectionRecord | None = _module("milvus").read_record(uri, collection)
    return record


def _module(name: str) -> Any:
    return import_module(f"{__package__}.{name}_transport")
