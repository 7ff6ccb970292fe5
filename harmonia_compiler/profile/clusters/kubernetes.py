"""The nodes of a Kubernetes cluster, by `kubectl`: what is allocatable to pods on each."""

import re

import msgspec

from harmonia_compiler.profile.clusters.nodes import Manager, Node

#: What NVIDIA's device plugin calls a whole GPU. Parts of one bear other names.
_GPU = "nvidia.com/gpu"

#: Labels that say which GPUs a node has: by NVIDIA's feature discovery, by Google's, Amazon's and Karpenter's clouds.
_PRODUCT = (
    "nvidia.com/gpu.product",
    "cloud.google.com/gke-accelerator",
    "k8s.amazonaws.com/accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
)

#: Taints of nodes that are kept for something else, as for the control plane. Those of GPU nodes are tolerated.
_ROLE = "node-role.kubernetes.io/"

_QUANTITY = re.compile(r"([0-9.]+(?:[eE][0-9]+)?)([a-zA-Z]*)")
_UNITS = {"": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3}
_UNITS |= {unit: 1000.0**power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)}
_UNITS |= {unit: 1024.0**power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}


class _Metadata(msgspec.Struct, frozen=True):
    name: str
    labels: dict[str, str] = {}


class _Taint(msgspec.Struct, frozen=True):
    key: str
    effect: str


class _Spec(msgspec.Struct, frozen=True):
    unschedulable: bool = False
    taints: tuple[_Taint, ...] = ()


class _Condition(msgspec.Struct, frozen=True):
    type: str
    status: str


class _Status(msgspec.Struct, frozen=True):
    allocatable: dict[str, str] = {}
    conditions: tuple[_Condition, ...] = ()


class _Node(msgspec.Struct, frozen=True):
    metadata: _Metadata
    spec: _Spec = _Spec()
    status: _Status = _Status()


class _List(msgspec.Struct, frozen=True):
    items: tuple[_Node, ...]


def read(listing: str) -> list[Node]:
    """The nodes of a list of the Kubernetes API."""
    return [_node(one) for one in msgspec.json.decode(listing, type=_List).items]


def _node(node: _Node) -> Node:
    gives = node.status.allocatable
    count = int(quantity(gives.get(_GPU, "0")))
    product = next((node.metadata.labels[label] for label in _PRODUCT if label in node.metadata.labels), _GPU)
    memory_gib = quantity(gives.get("memory", "0")) / 2**30
    gpus = ((product, count),) if count else ()
    return Node(node.metadata.name, quantity(gives.get("cpu", "0")), memory_gib, gpus, _absent(node))


def _absent(node: _Node) -> str:
    if node.spec.unschedulable:
        return "it is cordoned"
    if not any(one.type == "Ready" and one.status == "True" for one in node.status.conditions):
        return "it is not ready"
    kept = [one.key for one in node.spec.taints if one.key.startswith(_ROLE) and one.effect != "PreferNoSchedule"]
    return f"it is kept for the role {kept[0].removeprefix(_ROLE)}" if kept else ""


def quantity(text: str) -> float:
    """The number that Kubernetes writes as `3920m`, `16Gi` or `1e3`; raises ValueError for anything else."""
    match = _QUANTITY.fullmatch(text)
    if match is None or match.group(2) not in _UNITS:
        raise ValueError(f"{text[:40]!r} is no quantity")
    return float(match.group(1)) * _UNITS[match.group(2)]


MANAGER = Manager("kubernetes", ("kubectl", "get", "nodes", "--output", "json"), read)
