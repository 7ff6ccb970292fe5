"""Damaged bytes are one kind of error, whatever is wrong with them."""

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoints
from harmonia_compiler.contract.document import OtherFormat, decode_document, decode_versioned


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"epoch": "\xff"}',
        b'{"replicas": ' + b"[" * 100_000,
        b'{"epoch": ' + b"9" * 400 + b"}",
    ],
)
def test_damage_is_a_decode_error(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_document(raw, Endpoints)


def test_a_document_is_read() -> None:
    assert decode_document(b'{"replicas": [], "epoch": 3}', Endpoints) == Endpoints((), 3)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b'{"replicas": [], "epo', "it ends in the middle"),
        (rb'{"replicas": [], "name": "\\ud800', "it ends in the middle"),
        (rb'{"\ud800": 3, "epoch": 3}', r"it holds `\ud800`, which is half of a character"),
        (rb'{"epoch": "\\\udc00"}', r"it holds `\udc00`, which is half of a character"),
        (rb'{"name": "\ud83d\ude00\ud83d"}', r"it holds `\ud83d`, which is half of a character"),
        (b"nope", "JSON is malformed: invalid character (byte 4)"),
    ],
)
def test_what_is_missing_is_said(raw: bytes, why: str) -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        decode_document(raw, Endpoints)
    assert str(caught.value) == why


@pytest.mark.parametrize(
    ("raw", "why"),
    [(b'{"a": ' + b"[" * 100_000, "it is nested too deeply"), (b'{"a": "\xff"}', "it is not UTF-8")],
)
def test_what_is_no_error_of_the_decoder_is_one_of_the_document(raw: bytes, why: str) -> None:
    """Where the document may hold any value: else its type is what is wrong, before anything else is."""
    with pytest.raises(msgspec.DecodeError) as caught:
        decode_document(raw, dict)
    assert str(caught.value) == why


class Kept(msgspec.Struct):
    """A document with a field that some formats of it may lack."""

    format_version: int
    name: str


@pytest.mark.parametrize(("version", "than"), [(1, "older"), (4, "newer")])
def test_a_format_outside_of_those_that_are_read_is_named_before_all_else(version: int, than: str) -> None:
    with pytest.raises(OtherFormat) as caught:
        decode_versioned(b'{"format_version": %d}' % version, Kept, 2, 3)
    assert str(caught.value) == f"its format {version} is {than} than this release of harmoniac reads"
    assert caught.value.version == version


@pytest.mark.parametrize("version", [2, 3])
def test_a_format_that_is_read_is_read(version: int) -> None:
    raw = b'{"format_version": %d, "name": "n"}' % version
    assert decode_versioned(raw, Kept, 2, 3) == Kept(version, "n")
