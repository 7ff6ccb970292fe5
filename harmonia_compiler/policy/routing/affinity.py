"""Calls that begin alike go to the same replica of a language model, which has what it computed for that still at hand.

Which one is a matter of hashing (the highest of random weights), so that several gateways agree without talking, and a
replica that comes or goes moves only the calls that were, or will be, its own. It is bounded: who has more than `BOUND`
times what is its part of the calls in flight is passed over for the next in the order, so that a beginning that
everybody shares does not fill one replica while others are idle.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from harmonia_compiler.contract.component import Component, Insert
from harmonia_compiler.policy.routing.choice import ReplicaLoad, mixed

#: A replica may have so many times its part of the calls in flight.
BOUND = 1.25
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


def nearest(free: Sequence[ReplicaLoad], beginning: int) -> ReplicaLoad:
    """Of some replicas with room the first in the order of this beginning that has not more than its part to do."""
    part = BOUND * (1 + sum(load.in_flight for load in free)) / sum(load.share.weight for load in free)
    open_ = [load for load in free if load.in_flight < math.ceil(part * load.share.weight)]
    return max(open_ or free, key=lambda load: _standing(load, beginning))


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
