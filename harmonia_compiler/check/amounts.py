"""Units: a registry, and amounts in the one unit that later stages use for each quantity."""

import msgspec

from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.near import listed, nearest
from harmonia_compiler.diagnostics.numbers import about
from harmonia_compiler.syntax import tree


class Quantity(msgspec.Struct, frozen=True):
    """Something measured: its name in a sentence, an example, and how much each unit is of the first.

    Who writes many without a unit most likely means so many of `smaller`.
    """

    noun: str
    example: str
    units: dict[str, float]
    smaller: str = ""


DURATION = Quantity("a duration", "2 s", {"ms": 1.0, "s": 1000.0, "min": 60_000.0, "h": 3_600_000.0}, "ms")
RATE = Quantity("a rate", "20 rps", {"rps": 1.0})
MEMORY = Quantity("an amount of memory", "8 GiB", {"GiB": 1.0, "MiB": 2.0**-10, "KiB": 2.0**-20}, "MiB")
TOKENS = Quantity("a number of tokens", "40 tokens", {"": 1.0, "tokens": 1.0})
WHOLE = Quantity("a whole number", "8", {"": 1.0})
COUNT = Quantity("a plain number", "0.5", {"": 1.0})
ITEMS = Quantity("a number of items", "[text ~ 15 tokens] ~ 4", {"": 1.0})
SHARE = Quantity("a plain number", "~ 0.3", {"": 1.0})

#: From so many on, a number without a unit is most likely one of the smaller unit.
_MANY = 100

UNITS = frozenset(unit for quantity in (DURATION, RATE, MEMORY, TOKENS) for unit in quantity.units) - {""}


def amount(given: tree.Amount, wanted: Quantity, what: str, findings: Findings) -> float | None:
    """An amount in the quantity's own unit; None, and a finding, where its unit is another's or nobody's.

    `what` names in the message what takes the amount: `timeout`, a share.
    """
    if given.value is None:
        return None
    unit = given.unit.text if given.unit else ""
    if unit in wanted.units:
        return given.value * wanted.units[unit]
    if given.unit is None:
        findings.add(
            "E0504", f"{what} takes {wanted.noun}, with its unit", given.span, help=f"write `{_with(given, wanted)}`"
        )
    elif unit not in UNITS:
        findings.add("E0503", f"unknown unit `{unit}`", given.unit.span, help=_known(given.value, unit, wanted))
    else:
        help = f"write it like this: `{wanted.example}`"
        findings.add("E0504", f"{what} takes {wanted.noun}, not `{unit}`", given.span, help=help)
    return None


def _with(given: tree.Amount, wanted: Quantity) -> str:
    is_many = wanted.smaller and given.value is not None and given.value >= _MANY
    return f"{given.raw} {wanted.smaller if is_many else wanted.example.split()[-1]}"


#: What people write for a unit that is spelled otherwise here.
_SPELLINGS = {
    "sec": "s",
    "secs": "s",
    "second": "s",
    "seconds": "s",
    "msec": "ms",
    "millis": "ms",
    "millisecond": "ms",
    "milliseconds": "ms",
    "m": "min",
    "mins": "min",
    "minute": "min",
    "minutes": "min",
    "hr": "h",
    "hrs": "h",
    "hour": "h",
    "hours": "h",
    "qps": "rps",
    "req": "rps",
    "reqs": "rps",
    "request": "rps",
    "requests": "rps",
    "gb": "GiB",
    "gib": "GiB",
    "g": "GiB",
    "mb": "MiB",
    "mib": "MiB",
    "kb": "KiB",
    "kib": "KiB",
    "token": "tokens",
    "tok": "tokens",
}


#: What people measure in that has no unit here, as so many of one that there is, if only about.
_OF_OTHERS = {
    "rpm": (1 / 60, "rps"),
    "rph": (1 / 3600, "rps"),
    "us": (1 / 1000, "ms"),
    **dict.fromkeys(("word", "words"), (4 / 3, "tokens")),
    **dict.fromkeys(("char", "chars", "character", "characters"), (1 / 4, "tokens")),
    **dict.fromkeys(("d", "day", "days"), (24, "h")),
    **dict.fromkeys(("t", "tb", "tib"), (1024, "GiB")),
}


def _known(value: float, unit: str, wanted: Quantity) -> str:
    """What to write for so many of an unknown unit."""
    units = [known for known in wanted.units if known]
    if not units:
        return f"delete it: {wanted.noun} has no unit"
    times, of = _OF_OTHERS.get(unit.lower(), (0, ""))
    if of in units:
        return f"write `{max(1, round(value * times)) if wanted is TOKENS else about(value * times)} {of}`"
    spelled = _SPELLINGS.get(unit.lower())
    near = spelled if spelled in units else nearest(unit, units)
    return f"did you mean `{near}`?" if near else f"{wanted.noun} is in {listed(units)}: `{wanted.example}`"
