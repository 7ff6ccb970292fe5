"""Reads JSON documents that somebody may have damaged: whatever is wrong with the bytes is one kind of error."""

from typing import TypeVar

import msgspec

T = TypeVar("T")


class OtherFormat(msgspec.DecodeError):
    """The document is of a format that this release does not read."""

    def __init__(self, version: int, newest: int) -> None:
        than = "newer" if version > newest else "older"
        super().__init__(f"its format {version} is {than} than this release of harmoniac reads")
        self.version = version


class _Versioned(msgspec.Struct):
    format_version: int


def decode_document(raw: bytes, of: type[T]) -> T:
    """The document of that type. Raises `msgspec.DecodeError`, also for what msgspec raises as something else."""
    try:
        return msgspec.json.decode(raw, type=of)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise msgspec.DecodeError("it is not UTF-8") from None


def decode_versioned(raw: bytes, of: type[T], oldest: int, newest: int) -> T:
    """The same of a document with a `format_version`, which is looked at first; raises `OtherFormat` for others."""
    version = decode_document(raw, _Versioned).format_version
    if not oldest <= version <= newest:
        raise OtherFormat(version, newest)
    return decode_document(raw, of)
