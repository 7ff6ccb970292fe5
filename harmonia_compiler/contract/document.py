"""Reads JSON documents that somebody may have damaged: whatever is wrong with the bytes is one kind of error."""

from typing import TypeVar

import msgspec

T = TypeVar("T")


def decode_document(raw: bytes, of: type[T]) -> T:
    """The document of that type. Raises `msgspec.DecodeError`, also for what msgspec raises as something else."""
    try:
        return msgspec.json.decode(raw, type=of)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise msgspec.DecodeError("it is not UTF-8") from None
