"""Whether the collections that pipelines search were built as the plan expects, as far as that is known.

Vectors of different embedders compare to nonsense, so a search is refused until its collection's
record has been read from the replica that takes it, and as long as the record differs.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.collection import CollectionRecord, NotOurs, differences
from harmonia_compiler.contract.component import Component
from harmonia_compiler.runtime.gateway.faults import problem_of
from harmonia_compiler.runtime.gateway.problem import UNAVAILABLE

#: For how long a collection that does not fit is taken not to before its record is read again, in seconds.
RECHECK_S = 1.0
#: When to ask again for what searches a collection that does not fit, in seconds.
RETRY_S = 5
#: For how long the record of a collection may take to be read, in seconds.
RECORD_TIMEOUT_S = 5.0

#: From a store's address and a collection's name: the record, or None where there is no such collection.
ReadRecord = Callable[[str, str], CollectionRecord | None]


class Fit(Enum):
    """What is known of a collection: `ABSENT` is one that nothing was ingested into."""

    FITS = "fits"
    ABSENT = "absent"
    DIFFERS = "differs"
    UNREAD = "unread"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at a collection found, when, and in words where it does not fit."""

    fit: Fit
    reason: str
    at: float


class Collections:
    """The collections of a service, by their names. `read_record` blocks and is given a thread."""

    def __init__(
        self, expected: Mapping[str, CollectionRecord], read_record: ReadRecord, clock: Callable[[], float]
    ) -> None:
        self._expected = expected
        self._read_record = read_record
        self._clock = clock
        self._known: dict[tuple[Endpoint, str], Finding] = {}
        self._reading = asyncio.Lock()

    def forget(self) -> None:
        """Know nothing: a replica may have come back with other data."""
        self._known = {}

    def searched_by(self, component: Component) -> str | None:
        """The collection that calls of a component read; None where it reads none that has a record."""
        name = component.settings.get("collection")
        return name if isinstance(name, str) and name in self._expected else None

    async def require(self, endpoint: Endpoint, component: Component) -> None:
        """Refuse to search a collection whose vectors are not known to be those of this plan's embedder."""
        name = self.searched_by(component)
        if name is None:
            return
        found = await self.known(endpoint, name)
        if found.fit is Fit.DIFFERS:
            code, why = "collection_differs", f"does not fit this service: {found.reason}"
        elif found.fit is Fit.UNREAD:
            code, why = "collection_unread", f"is not known to fit: {found.reason}"
        else:
            return
        status, reason = HTTPStatus.SERVICE_UNAVAILABLE, f"the collection `{name}` {why}"
        raise problem_of(component.name, status, UNAVAILABLE, code, reason, retry_after_s=RETRY_S)

    async def known(self, endpoint: Endpoint, name: str) -> Finding:
        """What is known of a collection there; looks only where nothing is, or where what did not fit may do now."""
        found = self._still_known(endpoint, name)
        if found is not None:
            return found
        async with self._reading:
            return self._still_known(endpoint, name) or await self.look(endpoint, name)

    async def look(self, endpoint: Endpoint, name: str) -> Finding:
        """What the collection's record says now, or, where it cannot be read, that it fitted when it was last."""
        known = self._known
        found = await self._read(endpoint, name)
        before = known.get((endpoint, name))
        # A store that is too busy to tell has not changed what was read from it.
        if found.fit is Fit.UNREAD and before is not None and before.fit is Fit.FITS:
            return before
        known[endpoint, name] = found
        return found

    def _still_known(self, endpoint: Endpoint, name: str) -> Finding | None:
        found = self._known.get((endpoint, name))
        if found is None or (found.fit is not Fit.FITS and self._clock() - found.at >= RECHECK_S):
            return None
        return found

    async def _read(self, endpoint: Endpoint, name: str) -> Finding:
        uri = f"http://{endpoint.host}:{endpoint.port}"
        fit = Fit.UNREAD
        try:
            async with asyncio.timeout(RECORD_TIMEOUT_S):
                record = await asyncio.to_thread(self._read_record, uri, name)
        except NotOurs:
            fit = Fit.DIFFERS
            reason = "it was not made by `harmoniac ingest`; give the component another collection name"
        except TimeoutError:
            reason = f"its record was not read within {RECORD_TIMEOUT_S:g} s"
        except Exception as problem:  # noqa: BLE001 - whatever hinders it, the collection is not known to fit
            reason = f"its record cannot be read ({type(problem).__name__})"
        else:
            if record is None:
                fit, reason = Fit.ABSENT, "nothing was ingested; `harmoniac ingest` does it"
            else:
                found = differences(record, self._expected[name])
                fit = Fit.DIFFERS if found else Fit.FITS
                reason = "; ".join([*found, "`harmoniac ingest … --reembed` builds it anew"]) if found else ""
        return Finding(fit, reason, self._clock())
