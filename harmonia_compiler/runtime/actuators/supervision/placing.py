"""Decisions about processes that need nothing but the plan: cores, turns, delays. Pure."""

import math
from collections.abc import Mapping, Sequence

#: A delay between restarts starts here, doubles, and ends at the cap; all in seconds.
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 30.0

#: A process that was ready this long has a clean record again.
HEALTHY_S = 60.0


def failures_after(failures: int, ready_for_s: float) -> int:
    """How many failures in a row a process has when it ends again, having been ready for so long."""
    return 1 if ready_for_s >= HEALTHY_S else failures + 1


def delay_s(failures: int) -> float:
    """How long to wait before the start that follows so many failures in a row (from 1)."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures - 1, 16))


def pin_cores(planned: Mapping[str, float], available: Sequence[int]) -> dict[str, frozenset[int]]:
    """The CPUs that each process is held to; an absent name may run anywhere.

    Whole planned cores are given to one process each, in the order of `planned`; whoever planned for
    less than one shares what is left. Where the whole cores exceed those that there are, nobody is held to
    any: packing them onto too few would make some wait for others that the plan never saw together.
    """
    whole = {name: math.floor(cores) for name, cores in planned.items()}
    if sum(whole.values()) > len(available):
        return {}
    pinned: dict[str, frozenset[int]] = {}
    taken = 0
    for name, count in whole.items():
        if count and planned[name] == count:
            pinned[name] = frozenset(available[taken : taken + count])
        taken += count
    shared = frozenset(available) - frozenset().union(*pinned.values())
    if shared:
        pinned |= {name: shared for name in planned if name not in pinned}
    return pinned


def turns_of(devices: Sequence[int], weights_bytes: int) -> tuple[str, ...]:
    """What a process must have to itself while it loads.

    Engines that share a GPU measure its free memory as they start and fail each other; two large
    models read into RAM at once contend for disk and memory. Everything else may start at once.
    """
    if devices:
        return tuple(f"gpu {device}" for device in sorted(devices))
    return ("loading a model",) if weights_bytes >= 128 * 2**20 else ()
