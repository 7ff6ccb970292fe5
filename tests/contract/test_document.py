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
