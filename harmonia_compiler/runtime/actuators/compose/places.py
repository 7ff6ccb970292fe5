"""Where a service is found: the port that its gateway has on this host, and what is said of where everything is."""

import contextlib
import logging
from collections.abc import Mapping

import msgspec

from harmonia_compiler.contract.bundle import Address, Endpoint, Endpoints
from harmonia_compiler.contract.decision import INSIDE
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular
from harmonia_compiler.runtime.actuators.compose import preparing
from harmonia_compiler.runtime.actuators.compose.containers import Life
from harmonia_compiler.runtime.actuators.compose.reading import ComposeBundle
from harmonia_compiler.runtime.actuators.compose.watched import Watched
from harmonia_compiler.runtime.actuators.supervision import rundir
from harmonia_compiler.runtime.actuators.supervision.ports import LOOPBACK, free_port, is_free
from harmonia_compiler.runtime.bundle import GATEWAY

LOG = logging.getLogger(__name__)


class Places:
    """What is said of them in the folder of the run, and in the one that the gateway sees."""

    def __init__(self, documents: ComposeBundle, run: rundir.RunDirectory) -> None:
        self._documents, self._run, self._inside = documents, run, run.path / INSIDE
        self._endpoints = Endpoints((), 0)
        #: The gateway's on this host, which has no port before one is chosen.
        self.address = Address(LOOPBACK, 0)

    @property
    def address_inside(self) -> Address:
        """The gateway's for whoever is in a container: on a bridge it listens on another port than the host's."""
        site = self._documents.services.site
        return self.address if site.network == "host" else Address(GATEWAY, site.first_port)

    @property
    def called(self) -> set[str]:
        """The replicas of which the gateway was told last."""
        return {one.replica for one in self._endpoints.replicas}

    def recall(self) -> None:
        """Go on from what the gateway was told last."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            said = read_regular(self._inside / rundir.ENDPOINTS, MOST_DOCUMENT_BYTES)
            self._endpoints = decode_document(said, Endpoints)

    def choose(self, asked: int | None, running: Mapping[str, Life]) -> None:
        """Choose the gateway's port: what is asked for, what it has, or else the site's, or any other that is free."""
        first = self._documents.services.site.first_port
        port = asked or self._had(running) or (first if is_free(first) else None)
        self.address = Address(LOOPBACK, port or free_port([one.port for one in self._documents.here]))

    def _had(self, running: Mapping[str, Life]) -> int | None:
        """The port of a gateway that is taken over; where its container has ended, somebody else may have it by now."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            had = decode_document(read_regular(self._run.path / rundir.ADDRESS, MOST_DOCUMENT_BYTES), Address).port
            gateway = running.get(GATEWAY)
            is_there = gateway is not None and not gateway.has_ended
            return had if is_there or (running and is_free(had)) else None
        return None

    def write(self, watched: Mapping[str, Watched]) -> None:
        """Say where everything is: to whoever asks on this host, and to the gateway, which sees a folder of its own."""
        took = {name: one.status.started_in_s for name, one in watched.items()}
        serving = [one for one in self._documents.here if watched[one.replica].is_called]
        # Of replicas on other hosts the gateway itself finds out whether they answer.
        reached = [*serving, *self._documents.elsewhere]
        there = tuple(
            Endpoint(one.replica, one.engine, one.address, one.port, took.get(one.replica)) for one in reached
        )
        here = tuple(Endpoint(one.replica, one.engine, LOOPBACK, one.port, took[one.replica]) for one in serving)
        try:
            said = self._endpoints
            if there != said.replicas:
                said = Endpoints(there, said.epoch + 1)
            # What does not change is not said anew, unless somebody removed it: a gateway that starts again finds none.
            if said != self._endpoints or not (self._inside / rundir.ENDPOINTS).is_file():
                preparing.hand_over(self._inside, rundir.ENDPOINTS, msgspec.json.encode(said))
                self._endpoints = said
            self._run.write(rundir.ENDPOINTS, msgspec.json.encode(Endpoints(here, self._endpoints.epoch)))
            if self._documents.is_front and watched[GATEWAY].is_ready:
                self._run.write(rundir.ADDRESS, msgspec.json.encode(self.address))
                preparing.hand_over(self._inside, rundir.ADDRESS, msgspec.json.encode(self.address_inside))
        except OSError as problem:
            LOG.warning("where everything is cannot be written: %s", problem)
