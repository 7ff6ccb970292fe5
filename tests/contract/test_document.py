"""Damaged bytes are one kind of error, whatever is wrong with them."""

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoints
from harmonia_compiler.contract.document import decode_document


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
