"""JSON documents: written for people too, and read as what somebody may have damaged.

Whatever is wrong with the bytes is one kind of error.
"""

import re
from typing import TypeVar

import msgspec

T = TypeVar("T")

#: Backslashes that stand for themselves, whole characters beyond U+FFFF, and halves of such without the other one.
_HALVES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
#: How msgspec says that bytes end before the document does, and now and then that a text holds such a half.
_CUT = "Input data was truncated"


class OtherFormat(msgspec.DecodeError):
    """The document is of a format that this release does not read."""

    def __init__(self, version: int, newest: int) -> None:
        than = "newer" if version > newest else "older"
        super().__init__(f"its format {version} is {than} than this release of harmoniac reads")
        self.version = version


class _Versioned(msgspec.Struct):
    format_version: int


def encode_document(document: object) -> bytes:
    """The document as a file of lines, the same bytes for the same values."""
    return msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=2) + b"\n"


def decode_document(raw: bytes, of: type[T]) -> T:
    """The document of that type. Raises `msgspec.DecodeError`, also for what msgspec raises as something else."""
    try:
        return msgspec.json.decode(raw, type=of)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise msgspec.DecodeError("it is not UTF-8") from None
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as problem:
        raise msgspec.DecodeError(_damage(raw, str(problem))) from None


def _damage(raw: bytes, said: str) -> str:
    """What is wrong with bytes that are no JSON, of which msgspec has said something."""
    if not raw.strip():
        return "it is empty"
    if said == _CUT or "surrogate" in said:
        half = next((found[1] for found in _HALVES.finditer(raw) if found[1]), None)
        return "it ends in the middle" if half is None else f"it holds `{half.decode()}`, which is half of a character"
    return said


def decode_versioned(raw: bytes, of: type[T], oldest: int, newest: int) -> T:
    """The same of a document with a `format_version`, which is looked at first; raises `OtherFormat` for others."""
    version = decode_document(raw, _Versioned).format_version
    if not oldest <= version <= newest:
        raise OtherFormat(version, newest)
    return decode_document(raw, of)
