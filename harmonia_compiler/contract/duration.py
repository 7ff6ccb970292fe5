"""Durations as people write them in a command: `800 ms`, `90s`, `2 min`, with the units of the language."""

import math
import re

#: How many milliseconds each unit has; `m` is what hands type for minutes in a shell.
UNITS_MS = {"ms": 1.0, "s": 1000.0, "m": 60_000.0, "min": 60_000.0, "h": 3_600_000.0, "d": 86_400_000.0}

#: No time at all, with a unit or without.
_NO_TIME = re.compile(rf"\s*0+(\.0*)?\s*(?:({'|'.join(UNITS_MS)})\s*)?")
#: Not `\d`, which is the digits of every script.
_WRITTEN = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-z]+)\s*")


def duration_ms(written: str, *, zero: bool = False) -> float:
    """The milliseconds of a duration above 0, or of none (`0`, `0s`) where `zero` may be said.

    Raises ValueError with a sentence for people.
    """
    if zero and _NO_TIME.fullmatch(written):
        return 0.0
    found = _WRITTEN.fullmatch(written)
    if found is None or found[2] not in UNITS_MS:
        raise ValueError(f"{written!r} is no duration; write it like 90s, 2m or 800ms")
    ms = float(found[1]) * UNITS_MS[found[2]]
    if not 0.0 < ms < math.inf:
        raise ValueError(f"{written!r} is not above 0 and within reason")
    return ms


def shown_ms(ms: float) -> str:
    """A duration for people, three digits of it: `412 ms`, `1.53 s`, `2 min`, `3.5 h`."""
    if ms < 999.5:
        return f"{ms:.3g} ms"
    if ms < 60_000.0:
        return f"{ms / 1000.0:.3g} s"
    if ms < 3_600_000.0:
        return f"{ms / 60_000.0:.3g} min"
    return f"{ms / 3_600_000.0:.4g} h"
