"""What a vector collection was built with, kept inside the store beside it.

Vectors of different embedders look alike and compare to nonsense: ingestion, start-up and readiness
refuse a collection whose record differs from what the pipeline expects.
"""

import hashlib

import msgspec


class CollectionRecord(msgspec.Struct, frozen=True):
    """How the vectors of a collection came about."""

    embedder: str
    revision: str
    dimension: int
    metric: str
    chunker: str

    def fingerprint(self) -> str:
        """Eight hex digits that differ where the records differ; part of the physical name."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:8]


def differences(found: CollectionRecord, expected: CollectionRecord) -> list[str]:
    """One phrase for each fact on which the two records differ."""
    return [
        f"{name} is {getattr(found, name)!r} there and {getattr(expected, name)!r} here"
        for name in CollectionRecord.__struct_fields__
        if getattr(found, name) != getattr(expected, name)
    ]
