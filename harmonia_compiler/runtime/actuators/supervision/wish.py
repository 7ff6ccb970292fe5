"""`run/rollout.json`: which generation somebody wants to serve, and for which part of new requests.

A wish is whole: it says what shall be, not what to do, and the last one counts. The supervisor says in its state how
far it is with the wish of which `id`.
"""

import contextlib
import secrets
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.generations import Number
from harmonia_compiler.contract.regular import MOST_TEXT_BYTES, read_regular

ROLLOUT = "rollout.json"


class Wish(msgspec.Struct, frozen=True):
    """Generation `to` shall have this share of new requests, and the one that serves the rest.

    With `make_room`, replicas that serve are ended where those that are to come have no place beside them.
    """

    id: str
    to: Number
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0
    make_room: bool = False


def wish(to: int, share: float = 1.0, *, make_room: bool = False) -> Wish:
    """A new one."""
    return Wish(secrets.token_hex(8), to, share, make_room)


def wish_in(run: Path) -> Wish | None:
    """What is wished for; None where nobody wished anything that can be read."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return decode_document(read_regular(run / ROLLOUT, MOST_TEXT_BYTES), Wish)
    return None
