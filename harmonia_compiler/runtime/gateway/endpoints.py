"""Follows the file in which the target writes where replicas listen."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from harmonia_compiler.contract.bundle import Endpoints
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular
from harmonia_compiler.runtime.gateway.logs import log

#: How often the file is looked at, in seconds.
POLL_S = 0.5

_Stamp = tuple[int, int, int]


class EndpointsFile:
    """The last good content of the file; a damaged or an older one (by its epoch) changes nothing."""

    def __init__(self, path: Path, changed: Callable[[Endpoints], None]) -> None:
        self._path = path
        self._changed = changed
        self._stamp: _Stamp | None = None
        self._epoch = -1

    def look(self) -> None:
        """Read the file again if it is another than last time, and hand on what it says."""
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if stamp == self._stamp:
                return
            endpoints = decode_document(read_regular(self._path, MOST_DOCUMENT_BYTES), Endpoints)
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as problem:
            log("endpoints_unreadable", reason=type(problem).__name__)
            return
        self._stamp = stamp
        if endpoints.epoch < self._epoch:
            log("endpoints_stale", epoch=endpoints.epoch, current=self._epoch)
            return
        self._epoch = endpoints.epoch
        self._changed(endpoints)
        log("endpoints", epoch=endpoints.epoch, replicas=[endpoint.replica for endpoint in endpoints.replicas])

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            self.look()
