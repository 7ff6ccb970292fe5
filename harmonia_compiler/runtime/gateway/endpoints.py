"""Follows the file in which the target writes where replicas listen."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from harmonia_compiler.contract.bundle import Endpoints
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.runtime.gateway.logs import log
from harmonia_compiler.runtime.gateway.polling import Polled


class EndpointsFile:
    """The last good content of the file; a damaged or an older one (by its epoch) changes nothing."""

    def __init__(self, path: Path, changed: Callable[[Endpoints], None]) -> None:
        self._file = Polled(path)
        self._changed = changed
        self._epoch = -1

    def look(self) -> None:
        """Read the file again if it is another than last time, and hand on what it says."""
        try:
            raw = self._file.news()
            if raw is None:
                return
            endpoints = decode_document(raw, Endpoints)
        except (OSError, msgspec.MsgspecError) as problem:
            # It is the gateway's only way to the replicas: what cannot be read now may be in a moment.
            self._file.forget()
            log("endpoints_unreadable", reason=type(problem).__name__)
            return
        if endpoints.epoch < self._epoch:
            log("endpoints_stale", epoch=endpoints.epoch, current=self._epoch)
            return
        self._epoch = endpoints.epoch
        self._changed(endpoints)
        log("endpoints", epoch=endpoints.epoch, replicas=[endpoint.replica for endpoint in endpoints.replicas])
