"""What each service is given of its host, and after whom it starts. Pure."""

import math
from collections.abc import Sequence

from harmonia_compiler.contract.bundle import ReplicaLaunch
from harmonia_compiler.contract.plan import Replica
from harmonia_compiler.emit.targets.hosts import has_whole_cores, mebibytes

_LEAST_MIB = 64


def cpu_sets(there: Sequence[Replica]) -> dict[str, str]:
    """The CPUs of each replica of one host, as Docker writes them.

    Whole cores are given to one replica each, in the order of the plan; those of less than one share what comes after.
    """
    found: dict[str, str] = {}
    taken = 0
    for one in there:
        if has_whole_cores(one):
            found[one.id] = _range(taken, math.floor(one.cores))
            taken += math.floor(one.cores)
    shared = [one for one in there if one.id not in found]
    if shared:
        together = _range(taken, max(1, math.ceil(sum(one.cores for one in shared))))
        found |= {one.id: together for one in shared}
    return found


def memory_limit(one: Replica) -> str:
    """The memory of a replica as Docker writes it; with less than the least no interpreter starts."""
    return f"{max(_LEAST_MIB, mebibytes(one))}m"


def predecessors(there: Sequence[ReplicaLaunch]) -> dict[str, tuple[str, ...]]:
    """By replica, those that must answer before it starts: engines that share a GPU measure what it has free."""
    last: dict[int, str] = {}
    found: dict[str, tuple[str, ...]] = {}
    for one in there:
        found[one.replica] = tuple(dict.fromkeys(last[device] for device in one.devices if device in last))
        last |= dict.fromkeys(one.devices, one.replica)
    return found


def _range(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"
