"""The nodes of a Ray cluster, by its own list of them: the resources that each was started with."""

import msgspec

from harmonia_compiler.profile.clusters.nodes import Manager, Node

#: The resource by which Ray says which GPUs a node has.
_TYPE = "accelerator_type:"

#: How it writes amounts of memory, in bytes.
_UNITS = {"B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}

#: More nodes than any inventory may have: by itself the list ends after a hundred.
_MOST = "10000"


class _Node(msgspec.Struct, frozen=True):
    node_name: str
    state: str
    resources_total: dict[str, float | str] = {}


def read(listing: str) -> list[Node]:
    """The nodes of a list in Ray's JSON. Ray remembers the dead; those are no nodes."""
    return [_node(one) for one in msgspec.json.decode(listing, type=tuple[_Node, ...]) if one.state == "ALIVE"]


def _node(node: _Node) -> Node:
    gives = node.resources_total
    types = [name.removeprefix(_TYPE) for name in gives if name.startswith(_TYPE)]
    # How many there are of each of several types it does not say.
    name = types[0] if len(types) == 1 else "GPU"
    count = int(_amount(gives.get("GPU", 0.0)))
    memory_gib = _amount(gives.get("memory", 0.0)) / 2**30
    return Node(node.node_name, _amount(gives.get("CPU", 0.0)), memory_gib, ((name, count),) if count else ())


def _amount(given: float | str) -> float:
    """A resource as a number: a text is one of memory, such as `8.000 GiB`."""
    if isinstance(given, float):
        return given
    number, _, unit = given.partition(" ")
    if unit not in _UNITS:
        raise ValueError(f"{given[:40]!r} is no amount of memory")
    return float(number) * _UNITS[unit]


MANAGER = Manager("ray", ("ray", "list", "nodes", "--format", "json", "--limit", _MOST), read)
