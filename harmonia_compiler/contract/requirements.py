"""The packages that the user's Python needs, as a lock: a file of pins that pip reads, of which nothing else is taken.

A line names a package and the one version of it, maybe with extras, a marker and hashes: what `uv export`,
`pip-compile` and `pip freeze` write. Options, addresses, folders and ranges are refused: they would let a bundle be
something else tomorrow, or on another machine.
"""

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
from packaging.version import InvalidVersion, Version

from harmonia_compiler.contract.regular import read_text

#: Where the lock lies in a bundle, beside the user's modules.
LOCK = "requires.txt"

#: A pin whose words are one space apart: of more, there would be very many ways to say which part they belong to.
_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?) ?(?:(?P<extras>\[[A-Za-z0-9,._ -]*\]) ?)?"
    r"== ?(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)"
    r"(?: ?; ?(?P<marker>[A-Za-z0-9_ .<>=!\"'()-]*?))?"
    r"(?P<hashes>(?: --hash=sha(?:256|384|512):[0-9a-f]{64,128})*)"
)
_COMMENT = re.compile(r"(?:^|\s)#.*")


class Pin(msgspec.Struct, frozen=True):
    """One version of a package, whose name is as packages are compared. `written` is the line for pip."""

    name: str
    version: str
    marker: str
    hashed: bool
    written: str


class NotPinned(Exception):
    """A line of a lock is no pin; `line` counts from 1."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"`{text[:80]}` is no pin such as `numpy==2.3.5`")
        self.line = line


def parse_pins(text: str) -> list[Pin]:
    """The pins of a lock, in its order; raises `NotPinned`."""
    found = []
    words: list[str] = []
    is_open, begun = False, 1
    for number, line in enumerate(text.split("\n"), 1):
        begun = begun if is_open else number
        part = _COMMENT.sub("", line).removesuffix("\r")
        is_open = part.endswith("\\")
        words += part.removesuffix("\\").split()
        if words and not is_open:
            found.append(_pin(" ".join(words), begun))
            words = []
    if words:
        raise NotPinned(begun, " ".join(words))
    return found


def _pin(text: str, line: int) -> Pin:
    """The pin that a text says, whose words are one space apart; raises `NotPinned`."""
    match = _PIN.fullmatch(text)
    if match is None:
        raise NotPinned(line, text)
    marker = (match["marker"] or "").strip()
    return Pin(
        re.sub(r"[-_.]+", "-", match["name"]).lower(),
        match["version"],
        marker,
        bool(match["hashes"]),
        text,
    )


def lacking(pins: Iterable[Pin]) -> list[str]:
    """What this interpreter does not have as it is pinned, a phrase each.

    A package with a marker may be meant for other machines: that it is not here says nothing.
    """
    found = []
    for pin in pins:
        try:
            here = version(pin.name)
        except PackageNotFoundError:
            if not pin.marker:
                found.append(f"{pin.name} {pin.version} is not installed")
            continue
        if not pin.marker and not is_version(here, pin.version):
            found.append(f"{pin.name} is {here} here and {pin.version} there")
    return found


def lacking_here(code: Path) -> list[str]:
    """The same of the lock in a bundle's folder of code; nothing where it has none.

    Raises OSError where it cannot be read, and `NotPinned`.
    """
    try:
        text = read_text(code / LOCK)
    except FileNotFoundError:
        return []
    return lacking(parse_pins(text))


def is_version(here: str, pinned: str) -> bool:
    """Whether a pin means this version: `1.0` also means `1.0.0`, and one that names no build takes any."""
    try:
        found, wanted = Version(here), Version(pinned)
    except InvalidVersion:
        return here == pinned
    return found == wanted or (wanted.local is None and Version(found.public) == wanted)
