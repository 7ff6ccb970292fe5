"""How many calls each replica works on, of all that route to it: the generations of one service may share replicas."""

from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from harmonia_compiler.contract.bundle import Endpoint


@dataclass(slots=True, eq=False, weakref_slot=True)
class Places:
    """The places of one replica: how many are taken."""

    taken: int = 0


@dataclass(slots=True, eq=False)
class Occupied:
    """The places of every replica that somebody routes to, by where it listens."""

    _places: "WeakValueDictionary[tuple[str, int, str], Places]" = field(default_factory=WeakValueDictionary)

    def at(self, endpoint: Endpoint) -> Places:
        """Those of a replica, from now on."""
        return self._places.setdefault(_address(endpoint), Places())

    def known(self, endpoint: Endpoint) -> Places | None:
        """Those of a replica that somebody routes to."""
        return self._places.get(_address(endpoint))


def _address(endpoint: Endpoint) -> tuple[str, int, str]:
    """Where a replica listens, however a plan calls it; what is somebody else's service is known by its name."""
    return endpoint.host, endpoint.port, "" if endpoint.port else endpoint.replica
