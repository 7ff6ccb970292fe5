"""Whether replicas find place beside others on this machine: cores, memory, and parts of each GPU. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

#: What sums of fractions may be off by.
_NEAR = 1e-6


@dataclass(frozen=True, slots=True)
class Need:
    """What one replica takes; of each of its GPUs this part."""

    cores: float = 0.0
    memory_gib: float = 0.0
    devices: tuple[int, ...] = ()
    of_each: float = 0.0


#: What the gateway and the controller are reckoned to take.
NOTHING = Need()


def first_fitting(running: Iterable[Need], coming: Iterable[Need], cores: float, memory_gib: float) -> int:
    """How many of those to come, from the first on, find place beside those that run."""
    there, count = [*running], 0
    for one in coming:
        if lacking(there, [one], cores, memory_gib):
            break
        there.append(one)
        count += 1
    return count


def lacking(running: Iterable[Need], coming: Iterable[Need], cores: float, memory_gib: float) -> list[str]:
    """What those to come lack beside those that run, a phrase each; nothing where they fit."""
    there, new = [*running], [*coming]
    both = [*there, *new]
    found = []
    if any(one.cores for one in new) and sum(one.cores for one in both) > cores + _NEAR:
        used, wanted = sum(one.cores for one in there), sum(one.cores for one in new)
        found.append(f"{wanted:g} {'core' if wanted == 1 else 'cores'} beside the {used:g} in use, of {cores:g}")
    if any(one.memory_gib for one in new) and sum(one.memory_gib for one in both) > memory_gib + _NEAR:
        used, wanted = sum(one.memory_gib for one in there), sum(one.memory_gib for one in new)
        found.append(f"{wanted:.1f} GiB of memory beside the {used:.1f} in use, of {memory_gib:.1f}")
    for device in sorted({device for one in new for device in one.devices}):
        used, wanted = (sum(one.of_each for one in some if device in one.devices) for some in (there, new))
        if used + wanted > 1.0 + _NEAR:
            found.append(f"{wanted:.0%} of GPU {device} beside the {used:.0%} in use")
    return found
