"""Asks the gateway of a running bundle for its readings."""

import urllib.request
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harmonia_compiler.contract.bundle import Address
from harmonia_compiler.contract.document import decode_document, decode_versioned
from harmonia_compiler.contract.readings import FORMAT_VERSION, TOKEN, Readings
from harmonia_compiler.contract.regular import MOST_TEXT_BYTES, read_regular

#: How long the gateway may take to answer, in seconds, and how much it may say.
PATIENCE_S = 2.0
MOST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Heard:
    """What the gateway said, or why it said nothing, as a phrase."""

    readings: Readings | None
    why: str = ""


def ask(run: Path, patience_s: float = PATIENCE_S) -> Heard:
    """The readings of the gateway whose address stands in a run directory, which may take so long to say them."""
    try:
        where = decode_document(read_regular(run / "gateway.json", MOST_TEXT_BYTES), Address)
    except (OSError, msgspec.MsgspecError):
        return Heard(None, "nobody says where the gateway listens")
    host = f"[{where.host}]" if ":" in where.host else where.host
    try:
        # Without the proxies that the environment may name: this is another process on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        asked = urllib.request.Request(f"http://{host}:{where.port}/readings", headers=_proof(run))
        with opener.open(asked, timeout=patience_s) as answer:
            raw = answer.read(MOST_BYTES + 1)
    except (OSError, ValueError) as problem:
        return Heard(None, f"the gateway does not answer: {problem}")
    try:
        return Heard(decode_versioned(raw, Readings, 1, FORMAT_VERSION))
    except msgspec.MsgspecError as problem:
        return Heard(None, f"the gateway's readings cannot be read: {problem}")


def _proof(run: Path) -> dict[str, str]:
    """What shows a gateway that is not on this machine's loopback who asks, where the run has that."""
    try:
        return {"authorization": f"Bearer {read_regular(run / TOKEN, MOST_TEXT_BYTES).decode('ascii')}"}
    except (OSError, UnicodeDecodeError):
        return {}
