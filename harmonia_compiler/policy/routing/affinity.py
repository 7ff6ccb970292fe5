"""Calls that begin alike go to the same replica of a language model, which has what it computed for that still at hand.

Only where there is something to gain: where a replica was given that beginning lately, as far as this gateway knows
(`Given`). Of several that were, it is the one with the least to do. It is bounded: who has more than `BOUND` times what
is its part of the calls in flight, and not just a few, is passed over, and whoever gets the call in its stead has the
beginning at hand from then on as well. So a beginning that everybody shares is soon wherever it is needed, and fills no
replica while others are idle.

A beginning that is new may never come again, and then whatever is taken into account beside the load makes the load
uneven for nothing. So it goes to the sooner of two replicas, as calls without one do. These two are not drawn by lot
but found by hashing (the highest of random weights), the first of them where both are equal: as good a lot where
beginnings do not come again, and where they do, several gateways ask the same two without talking, and a replica that
comes or goes moves only the calls that were, or will be, its own.
"""

import math
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harmonia_compiler.contract.component import Component, Insert
from harmonia_compiler.policy.routing.choice import ReplicaLoad, mixed

#: A replica may have so many times its part of the calls in flight, or such a part of those that it takes at once: so
#: few hardly slow each other down, whereas what is not at hand is computed in any case.
BOUND, FEW = 1.25, 1.0 / 16.0
#: A replica is taken to have a beginning at hand until it was given so many other calls, and so many beginnings are
#: known at once: about as many prompts as caches hold.
AT_HAND, MOST_KNOWN = 1000, 8192
#: How much of a text is looked at, in characters: about as much as makes computing it again worth avoiding.
BEGINNING = 512


def beginning_of(component: Component, inputs: Mapping[str, Any]) -> int:
    """A number for how a call's prompt begins; 0 where it has none.

    What stands before the first port is the same in all calls. So it is the port that comes first which tells them
    apart: of a conversation its first turn, of passages the first one.
    """
    if component.prompt is None:
        return 0
    first = next((part.port for part in component.prompt if isinstance(part, Insert) and inputs.get(part.port)), None)
    if first is None:
        return 0
    return zlib.crc32(_text(inputs[first])[:BEGINNING].encode(), zlib.crc32(component.name.encode())) or 1


@dataclass(slots=True)
class Given:
    """Which replicas were given which beginnings lately, some 300 bytes for each of at most `MOST_KNOWN`."""

    _by_beginning: OrderedDict[int, dict[int, int]] = field(default_factory=OrderedDict)

    def __contains__(self, beginning: int) -> bool:
        return beginning in self._by_beginning

    def add(self, beginning: int, load: ReplicaLoad) -> None:
        """A replica has just been given a call that begins so."""
        known = self._by_beginning
        known.setdefault(beginning, {})[load.mark] = load.calls
        known.move_to_end(beginning)
        if len(known) > MOST_KNOWN:
            known.popitem(last=False)

    def nearest(self, free: Sequence[ReplicaLoad], beginning: int) -> ReplicaLoad | None:
        """Of some replicas with room the one with the least to do that was given this beginning lately.

        None where nobody was, or only who has more than its part to do.
        """
        replicas = self._by_beginning.get(beginning)
        if replicas is None:
            return None
        part = BOUND * (1 + sum(load.in_flight for load in free)) / sum(load.share.weight for load in free)
        found = [
            load
            for load in free
            if load.in_flight < max(math.ceil(part * load.share.weight), FEW * load.share.batch)
            # One that began anew has had fewer calls than it had then.
            and 0 <= load.calls - replicas.get(load.mark, math.inf) <= AT_HAND
        ]
        return min(found, key=lambda load: (load.in_flight / load.share.weight, -replicas[load.mark]), default=None)


def first_two(free: Sequence[ReplicaLoad], beginning: int) -> tuple[ReplicaLoad, ReplicaLoad]:
    """Of two or more replicas the first two in the order of this beginning."""
    one, other, *_ = sorted(free, key=lambda load: _standing(load, beginning), reverse=True)
    return one, other


def _standing(load: ReplicaLoad, beginning: int) -> float:
    """Replicas come first as often as their weights say."""
    number = mixed(beginning << 32 | load.mark)
    return -load.share.weight / math.log((number + 1) / (2**64 + 2))


def _text(value: Any) -> str:
    """The beginning of a value as a prompt shows it."""
    while not isinstance(value, str):
        # Plain ones are told by their type, since whether something is like them takes long to say.
        of = type(value)
        if of is dict or (of is not list and isinstance(value, Mapping)):
            value = value.get("content") or value.get("text") or ""
        elif value and (of is list or isinstance(value, Sequence)):
            value = value[0]
        else:
            return str(value)
    return value
