"""One of several processes that are a gateway together, and which part of the plan is its own.

Each decides by itself, without asking the others: it has a part of every replica's places, its own queue before them,
its own part of the requests to learn from.
"""

import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from harmonia_compiler.contract.bundle import ReplicaShare


@dataclass(frozen=True, slots=True)
class Part:
    """The process `number`, counted from 0, `of` so many."""

    number: int = 0
    of: int = 1

    def share(self, replica: str, share: ReplicaShare) -> ReplicaShare:
        """What this process has of a replica's share: its places, and the weight, divided evenly.

        What does not divide goes to other processes for other replicas. Each has at least one place, or a replica that
        takes one call at a time would be none for all but one of them: the replica keeps the others waiting itself.
        """
        if self.of == 1:
            return share
        turn = (self.number + zlib.crc32(replica.encode())) % self.of
        places = share.batch // self.of + (turn < share.batch % self.of)
        return msgspec.structs.replace(
            share, batch=max(1, places), weight=max(share.weight / self.of, sys.float_info.min)
        )

    def shares(self, shares: Mapping[str, ReplicaShare]) -> Mapping[str, ReplicaShare]:
        """What this process has of each replica's share."""
        return {replica: self.share(replica, share) for replica, share in shares.items()}


#: A gateway that is one process.
WHOLE = Part()
