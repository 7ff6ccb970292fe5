"""Server-sent events as bytes."""

import msgspec

DONE = b"data: [DONE]\n\n"


def event(document: object) -> bytes:
    """An event whose data is this document as JSON."""
    return b"data: " + msgspec.json.encode(document) + b"\n\n"
