"""What literals mean: escapes, the indentation of long texts, numbers."""

import math
import re
from decimal import Decimal

ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
#: Beyond this a whole number is no longer exact as a float, which is what JSON makes of it.
LARGEST = 2**53

_ESCAPE = re.compile(r"\\(.)")
_CHARACTER = re.compile(r'\\[nt"\\]|.')
#: A newline with the carriage returns before it: were one left of several, it would go when the text is read again.
_NEWLINE = re.compile(r"(?<!\r)\r*\n")


def short_text(raw: str) -> tuple[str, list[int]]:
    """The meaning of `"…"`, and the offsets in `raw` of escapes that have none."""
    unknown = [found.start() for found in _ESCAPE.finditer(raw) if found[1] not in ESCAPES]
    return _ESCAPE.sub(lambda found: ESCAPES.get(found[1], found[0]), raw[1:-1]), unknown


def place(raw: str, value: str, start: int, end: int) -> tuple[int, int]:
    """Where the characters [start, end) of a text's meaning stand in what was written, or all of that."""
    if raw == value:
        return start, end
    if raw.startswith('"""'):
        at = raw.find(value)
        return (at + start, at + end) if at > 0 else (0, len(raw))
    begins = places(raw)
    return begins[start], begins[min(end, len(begins) - 1)]


def places(raw: str) -> list[int]:
    """Where each character of the meaning of `"…"` begins in what was written; then its last quote, and its end."""
    return [*(found.start() + 1 for found in _CHARACTER.finditer(raw[1:-1])), len(raw) - 1, len(raw)]


def long_text(raw: str) -> str:
    """The meaning of three quotes: as it stands, without outer newlines and common indentation.

    The first line counts for the indentation only where it is not on the line of the quotes.
    """
    lines = _NEWLINE.split(raw[3:-3])
    first, rest = lines[0], lines[1:]
    common = _common_indent(rest)
    rest = [line[common:] if line.strip() else "" for line in rest]
    if rest and not rest[-1]:
        rest.pop()
    return "\n".join(rest if not first.strip() and len(lines) > 1 else [first, *rest])


def reindented(raw: str, indent: int) -> str:
    """Three quotes with their lines indented anew, or as they were where that would change their meaning."""
    pad = " " * indent
    whole = _NEWLINE.sub("\n", raw)
    first, *rest = whole[3:-3].split("\n")
    common = _common_indent(rest)
    lines = [pad + line[common:] if line.strip() else "" for line in rest]
    if rest and not rest[-1].strip():
        lines[-1] = pad
    moved = '"""' + "\n".join([first if first.strip() else "", *lines]) + '"""'
    return moved if long_text(moved) == long_text(raw) else whole


def _common_indent(lines: list[str]) -> int:
    indents = [len(line) - len(line.lstrip(" \t")) for line in lines if line.strip()]
    return min(indents, default=0)


def number(raw: str) -> int | float | None:
    """The value of a number, or None where it is too large to be exact."""
    value = float(raw)
    # What is just beyond the largest becomes the largest as a float, so that what was written decides.
    if not math.isfinite(value) or abs(value) > LARGEST or (abs(value) == LARGEST and abs(Decimal(raw)) > LARGEST):
        return None
    return int(value) if value.is_integer() else value
