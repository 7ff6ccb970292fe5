"""`run/logs/controller.jsonl`: what the controller did and why, a line for each; of bounded size.

Whoever wants to know why nothing happened finds a line a minute of that, too.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harmonia_compiler.contract.decision import Said

#: A journal of this size becomes the one before, whose like is forgotten; in bytes.
MOST_BYTES = 1 << 20
#: How often it is written that nothing was done, in seconds.
STILL_EVERY_S = 60.0


def read(path: Path) -> Iterator[Said]:
    """What a journal says, from what is left of the one before on."""
    for each in (_before(path), path):
        if each.is_file():
            for line in each.read_bytes().splitlines():
                yield msgspec.json.decode(line, type=Said)


def _before(path: Path) -> Path:
    """Where the journal before this one lies."""
    return path.with_name(f"{path.name}.1")


class Journal:
    """Appends to one file."""

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._still_s: float | None = None

    def write(self, said: Said, now: float) -> None:
        """Add what was done, or from time to time that nothing was. Raises OSError."""
        is_still = not any(one.acted for one in said.reasons)
        if is_still and self._still_s is not None and now - self._still_s < STILL_EVERY_S:
            return
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        line = msgspec.json.encode(said) + b"\n"
        if self._size() + len(line) > self._most_bytes:
            self._path.replace(_before(self._path))
        with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as file:
            file.write(line)
        if is_still:
            self._still_s = now

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0
