"""Cuts a passage into sentences, for a reranker that scores a passage by its best one."""

import re

#: The end of a sentence, or of a line: list items and headings have no full stop.
_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\s*\n+\s*")
#: Shorter pieces say nothing alone and stay with the next.
_SHORTEST = 24


def sentences(text: str) -> list[str]:
    """The sentences in order; the text itself where it cannot be cut."""
    found: list[str] = []
    begun = ""
    for piece in _END.split(text):
        begun = f"{begun} {piece}".strip() if begun else piece.strip()
        if len(begun) >= _SHORTEST:
            found.append(begun)
            begun = ""
    if begun and found:
        found[-1] = f"{found[-1]} {begun}"
    elif begun:
        found.append(begun)
    return found or [text]
