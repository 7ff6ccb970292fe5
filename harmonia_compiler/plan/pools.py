"""Hosts that are alike, and pools of them: what the integer program sees of an inventory.

Hosts that offer and cost the same to the same engines are one `Kind`. The program counts the replicas of a `Pool` of
kinds, of which it only knows the sum of what they have: a relaxation, whose answers `plan/unpack.py` puts onto hosts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from harmonia_compiler.plan.problem import Problem, admits, room

#: Variables that hosts counted one by one may add, all of them together.
MOST_APART = 3000

#: Pools at most, where hosts are not asked for one by one: beyond, kinds that are nearly alike share a pool.
MOST_POOLS = 32


@dataclass(frozen=True, slots=True)
class Kind:
    """Hosts that are the same to every engine, by position; `labels` are those of theirs that engines ask for.

    `running` are the replicas that each of them holds already, by engine and option.
    """

    hosts: tuple[int, ...]
    room: Mapping[str, float]
    price: float
    labels: tuple[str, ...]
    running: Mapping[tuple[int, int], int] = field(default_factory=dict)

    def admits(self, label: str | None) -> bool:
        """Whether replicas that ask for a label may stand here."""
        return label is None or label in self.labels


@dataclass(frozen=True, slots=True)
class Pool:
    """Kinds of hosts whose replicas are counted together; they admit the same engines and have the same types of GPU.

    An `enlarged` one, of a single host, is given more than it has. `reserve` is the part of cores and memory that is
    kept back, where the sum of what hosts have is more than can be used of it.
    """

    kinds: tuple[Kind, ...]
    enlarged: bool = False
    reserve: float = 0.0

    @property
    def hosts(self) -> tuple[int, ...]:
        """The positions of its hosts, in the order in which they are filled."""
        return tuple(host for kind in self.kinds for host in kind.hosts)

    def has(self, resource: str) -> float:
        """What all of its hosts have of a resource."""
        return sum(len(kind.hosts) * kind.room.get(resource, 0.0) for kind in self.kinds)


@dataclass(frozen=True, slots=True)
class Division:
    """The hosts as pools, and the units of resources by which their rows are also written rounded (`fit`, `cut`)."""

    pools: tuple[Pool, ...]
    units: frozenset[tuple[str, float]] = frozenset()


def divide(problem: Problem, *, anywhere: bool = False) -> Division:
    """The coarsest division: a pool for each kind, or for kinds that are nearly alike where there are too many.

    Hosts that hold replicas of a running plan are pools of their own, as far as they are few enough.
    With `anywhere`, one host of each pool is a pool of its own, to be enlarged: to enlarge others like it would be
    the same. Only where engines ask for several hosts there are as many.
    """
    pools = _pooled(_families(problem))
    if anywhere:
        count = max((need.min_hosts for need in problem.needs), default=1)
        pools = [part for pool in pools for part in _apart(pool, count)]
    elif len({h for _, _, h in problem.running}) * sum(len(need.options) for need in problem.needs) <= MOST_APART:
        # What stays on a host is known exactly only where the host is counted for itself.
        pools = [part for pool in pools for part in (split(pool) if _is_running(pool) else [pool])]
    return Division(tuple(sorted(pools, key=lambda pool: min(pool.hosts))))


def _is_running(pool: Pool) -> bool:
    return any(kind.running for kind in pool.kinds)


def _families(problem: Problem) -> list[list[Kind]]:
    """The kinds, together with those that they may share a pool with."""
    labels = sorted({need.hosts for need in problem.needs if need.hosts is not None})
    alike: dict[tuple[object, ...], list[int]] = {}
    rooms = [room(host) for host in problem.hosts]
    carried = [tuple(label for label in labels if admits(host, label)) for host in problem.hosts]
    running: list[dict[tuple[int, int], int]] = [{} for _ in problem.hosts]
    for (e, c, h), count in problem.running.items():
        running[h][e, c] = count
    for h, host in enumerate(problem.hosts):
        alike.setdefault(
            (carried[h], *(tuple(sorted(of.items())) for of in (rooms[h], running[h])), host.price_per_hour), []
        ).append(h)
    families: dict[tuple[object, ...], list[Kind]] = {}
    for hosts in alike.values():
        h = hosts[0]
        kind = Kind(tuple(hosts), rooms[h], problem.hosts[h].price_per_hour, carried[h], running[h])
        families.setdefault((carried[h], tuple(sorted(rooms[h])), bool(running[h])), []).append(kind)
    return list(families.values())


def _pooled(families: Sequence[list[Kind]]) -> list[Pool]:
    total = sum(map(len, families))
    if total <= MOST_POOLS:
        return [Pool((kind,)) for family in families for kind in family]
    pools = []
    for family in families:
        # As many of the pools as the family has of the kinds, each of kinds with about as much beside a GPU.
        parts = max(1, MOST_POOLS * len(family) // total)
        ordered = sorted(family, key=lambda kind: (_shape(kind), kind.hosts))
        size = math.ceil(len(ordered) / parts)
        pools += [Pool(tuple(ordered[at : at + size])) for at in range(0, len(ordered), size)]
    return pools


def _shape(kind: Kind) -> tuple[float, ...]:
    gpus = sum(amount for resource, amount in kind.room.items() if resource not in ("cores", "memory_gib"))
    return (kind.room["cores"] / max(gpus, 1.0), kind.room["memory_gib"] / max(gpus, 1.0), gpus)


def _apart(pool: Pool, count: int) -> list[Pool]:
    """The first hosts of a pool, each for itself and enlarged, and the rest of it."""
    apart = [replace(one, enlarged=True) for one in split(pool)[:count]]
    enlarged = {host for one in apart for host in one.hosts}
    rest = [replace(kind, hosts=tuple(host for host in kind.hosts if host not in enlarged)) for kind in pool.kinds]
    rest = [kind for kind in rest if kind.hosts]
    return [*apart, Pool(tuple(rest))] if rest else apart


def split(pool: Pool) -> list[Pool]:
    """The pool's hosts, each for itself."""
    return [Pool((replace(kind, hosts=(host,)),), pool.enlarged) for kind in pool.kinds for host in kind.hosts]
