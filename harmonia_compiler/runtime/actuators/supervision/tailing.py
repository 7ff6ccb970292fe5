"""Reading logs that other processes write."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

#: How much of the end of a log is read to find its last lines, in bytes.
_NEAR_END = 65_536


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a log; none where there is no log."""
    return Tailed(log).last(lines)


def lines_of(
    logs: Mapping[str, Path], *, lines: int, follow: bool, look_every_s: float = 0.1
) -> Iterator[tuple[str, str]]:
    """The last lines of each log, by its name, and with `follow` those to come."""
    tailed = {name: Tailed(log) for name, log in logs.items()}
    for name, log in tailed.items():
        yield from ((name, line) for line in log.last(lines))
    while follow:
        for name, log in tailed.items():
            yield from ((name, line) for line in log.new())
        time.sleep(look_every_s)


class Tailed:
    """One log, and how far it was read."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._position = 0
        self._rest = b""

    def last(self, lines: int) -> list[str]:
        """The last lines that are there; what comes later is `new`."""
        content = self._read_from(max(0, self._size() - _NEAR_END))
        return content.decode(errors="replace").splitlines()[-lines:] if lines else []

    def new(self) -> list[str]:
        """The whole lines that came since; from the start where the log was begun anew."""
        if self._size() < self._position:
            self._position, self._rest = 0, b""
        *whole, self._rest = (self._rest + self._read_from(self._position)).split(b"\n")
        return [line.decode(errors="replace") for line in whole]

    def _read_from(self, position: int) -> bytes:
        try:
            with self._log.open("rb") as file:
                file.seek(position)
                content = file.read()
                self._position = file.tell()
        except FileNotFoundError:
            return b""
        return content

    def _size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0
