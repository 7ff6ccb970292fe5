"""Nodes of a cluster as their manager describes them, and the hosts of an inventory that follow from them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from harmonia_compiler.contract.gpu import GPU_TYPES, gpu_type_of_product
from harmonia_compiler.contract.inventory import NAME, Gpu, Host
from harmonia_compiler.profile.detect import Detected

#: The least that an inventory may say of a host's memory; all figures are rounded down to a multiple of it.
_LEAST_GIB = 0.125


@dataclass(frozen=True, slots=True)
class Node:
    """A node, with what its manager gives to jobs. `gpus` are counts by whatever name the manager has for a type.

    `absent` says why nothing may be placed there now; it is empty where something may.
    """

    name: str
    cpus: float
    memory_gib: float
    gpus: tuple[tuple[str, int], ...] = ()
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Manager:
    """A cluster manager: the command that lists its nodes, and how that list is read.

    `read` raises ValueError, or msgspec's errors, where the text is no such list.
    """

    name: str
    command: tuple[str, ...]
    read: Callable[[str], Collection[Node]]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The hosts to plan for, in the order of their names, and the names of other nodes with what is wrong with them."""

    hosts: tuple[Detected, ...]
    left_out: tuple[tuple[str, str], ...]


def cluster(nodes: Collection[Node], types: Mapping[str, str]) -> Cluster:
    """The hosts that some nodes come to. `types` are the types of GPU whose names only their site knows."""
    found: dict[str, Detected] = {}
    left_out: list[tuple[str, str]] = []
    for node in sorted(nodes, key=lambda node: node.name):
        memory_gib = int(node.memory_gib / _LEAST_GIB) * _LEAST_GIB
        why = node.absent
        if not why and not NAME.fullmatch(node.name):
            why = "an inventory takes letters, digits, `.`, `_` and `-` in a name, 64 at most"
        if not why and node.name in found:
            why = "another node has this name"
        if not why and (node.cpus < 1 or memory_gib < _LEAST_GIB):
            why = "it gives no core, or no memory, to jobs"
        if why:
            left_out.append((node.name, why))
            continue
        gpus, unknown = _gpus(node, types)
        found[node.name] = Detected(Host(node.name, int(node.cpus), memory_gib, gpus), unknown)
    return Cluster(tuple(found.values()), tuple(left_out))


def _gpus(node: Node, types: Mapping[str, str]) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """The GPUs of a node by their types, and the names of those that nobody knows."""
    gpus: list[Gpu] = []
    unknown: list[str] = []
    for name, count in node.gpus:
        known = GPU_TYPES[types[name]] if name in types else gpu_type_of_product(name)
        if known is None:
            unknown.append(name)
        elif count > 0:
            gpus.append(Gpu(known.name, count))
    return tuple(gpus), tuple(unknown)
