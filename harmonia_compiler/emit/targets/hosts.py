"""What the replicas of a plan take of its hosts, as every target that gives each its part sees it. Pure."""

import math
from collections.abc import Sequence

from harmonia_compiler.contract.plan import Replica


def by_host(replicas: Sequence[Replica]) -> dict[str, list[Replica]]:
    """The replicas of each host, hosts in the order of the plan."""
    hosts: dict[str, list[Replica]] = {}
    for one in replicas:
        hosts.setdefault(one.host, []).append(one)
    return hosts


def has_whole_cores(one: Replica) -> bool:
    """Whether its cores can be its own."""
    return one.cores >= 1 and one.cores == math.floor(one.cores)


def mebibytes(one: Replica) -> int:
    """Its memory as containers and jobs count it."""
    return math.ceil(one.memory_gib * 1024)
