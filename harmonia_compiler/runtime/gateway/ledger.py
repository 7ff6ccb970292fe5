"""The counts of requests in a file, so that they go on where a gateway was killed.

Whatever was accepted and had not ended when a gateway died was cut by its death: its successor counts it as failed.
The file has a row for each pipeline, of a fixed size: its name, then how many requests were accepted, completed,
failed, shed and cancelled. A row is written over in place as soon as something changes, which is one short call of the
system and needs no room on the disk once the row is there; what a process wrote stays when it is killed. A file that
cannot be written is said once, and requests are served and counted without it.
"""

import contextlib
import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path

from harmonia_compiler.runtime.gateway.logs import log

#: The file beside the endpoints.
LEDGER = "requests.ledger"

#: A pipeline's name, padded with zero bytes, and its five counts.
_ROW = struct.Struct("<64s5Q")
_NAME_BYTES, _MOST_ROWS = 64, 1024
_ACCEPTED = 0

#: What a row counts after the accepted ones, in this order.
ENDED = ("completed", "failed", "shed", "cancelled")


class Row:
    """The counts of one pipeline. `write` puts them in their place."""

    def __init__(self, counts: list[int], write: Callable[[list[int]], None]) -> None:
        self._counts, self._write = counts, write

    @property
    def accepted(self) -> int:
        """How many were let in since the service was started."""
        return self._counts[_ACCEPTED]

    def ended(self, outcome: str) -> int:
        """How many of them ended so."""
        return self._counts[1 + ENDED.index(outcome)]

    def add(self, outcome: str) -> None:
        """One more was `accepted`, or ended so."""
        self._counts[_ACCEPTED if outcome == "accepted" else 1 + ENDED.index(outcome)] += 1
        self._write(self._counts)


class Ledger:
    """The file of one gateway, which holds a lock on it; without a path nothing is kept."""

    def __init__(self, path: Path | None = None) -> None:
        self._descriptor: int | None = None
        self._rows: dict[str, Row] = {}
        if path is not None:
            try:
                self._descriptor = _locked(path)
                self._read(self._descriptor)
            except OSError as problem:
                self._give_up(problem)

    @property
    def pipelines(self) -> tuple[str, ...]:
        """Those that there are rows of."""
        return tuple(self._rows)

    def row(self, pipeline: str) -> Row:
        """The counts of a pipeline, from 0 where it is new."""
        found = self._rows.get(pipeline)
        if found is None:
            counts = [0, 0, 0, 0, 0]
            write = self._writer(pipeline, len(self._rows))
            found = self._rows[pipeline] = Row(counts, write)
            # It has its place before the disk is full.
            write(counts)
        return found

    def close(self) -> None:
        """Let another gateway have the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _read(self, descriptor: int) -> None:
        """Go on where the gateway before ended; what it had begun and not ended has failed."""
        held = os.pread(descriptor, _ROW.size * _MOST_ROWS, 0)
        whole = len(held) - len(held) % _ROW.size
        for at, (name, accepted, *ended) in enumerate(_ROW.iter_unpack(held[:whole])):
            pipeline = name.rstrip(b"\0").decode(errors="replace")
            # A machine that lost its power may have kept a row in which more ended than came.
            cut = max(0, accepted - sum(ended))
            ended[ENDED.index("failed")] += cut
            counts = [sum(ended), *ended]
            write = self._writer(pipeline, at)
            self._rows[pipeline] = Row(counts, write)
            if cut:
                write(counts)
                log("requests_cut", pipeline=pipeline, requests=cut, reason="the gateway before this one was killed")

    def _writer(self, pipeline: str, at: int) -> Callable[[list[int]], None]:
        """What puts the counts of a pipeline in their place, where it has one."""
        name = pipeline.encode()
        has_place = len(name) <= _NAME_BYTES and at < _MOST_ROWS

        def write(counts: list[int]) -> None:
            if self._descriptor is None or not has_place:
                return
            try:
                os.pwrite(self._descriptor, _ROW.pack(name, *counts), at * _ROW.size)
            except OSError as problem:
                self._give_up(problem)

        return write

    def _give_up(self, problem: OSError) -> None:
        """Keep no counts from here on; and none that a later gateway would take for those of requests it cut."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
        self.close()
        log("counts_not_kept", reason=problem.strerror)


def _locked(path: Path) -> int:
    """The open file, for this process alone; raises OSError, also where another gateway keeps its counts there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
