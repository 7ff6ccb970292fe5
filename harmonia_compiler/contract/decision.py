"""What the controller decides: `run/decision.json`, written whole by the controller and followed by the gateway.

A decision says everything that it wants, not what is to change, so that one that is lost or read twice does no harm.
Each has an `epoch` above that of the one before, the first one 1; a gateway refuses what is not newer. It is made for
one plan, known by a `fingerprint`, and of no use to another one's service.
"""

import hashlib
from typing import Annotated

import msgspec
from msgspec import Meta

from harmonia_compiler.contract.bundle import ReplicaShare, Service
from harmonia_compiler.contract.plan import ProcessName

FORMAT_VERSION = 1

#: The files below `run/` that the controller writes: what is followed, what is said of it, and what it remembers.
DECISION, SAID, REMEMBERED = "decision.json", "controller.json", "controller-state.json"
#: What the last service that was called measured, once it has ended.
KEPT = "controller-state.last.json"
#: Below `run/` of a service in containers: what the gateway and the controller see as their `run`.
INSIDE = "service"
#: And the one below `run/` that a target's actuator writes, for whoever starts and stops replicas.
WANTED = "wanted.json"

Epoch = Annotated[int, Meta(ge=0, le=2**53)]
ReplicaCount = Annotated[int, Meta(ge=1, le=65_536)]


class Reason(msgspec.Struct, frozen=True):
    """Why something was changed, or was not; `about` is an engine, or empty where it is about all of them."""

    about: str
    acted: bool
    why: str


class Decision(msgspec.Struct, frozen=True):
    """What each replica is to be given, how many replicas each engine is to have, and why.

    `shares` are by replica; one that is not named keeps the plan's. `replicas` are by engine.
    """

    epoch: Epoch
    plan: str
    shares: dict[ProcessName, ReplicaShare] = {}
    replicas: dict[str, ReplicaCount] = {}
    reasons: tuple[Reason, ...] = ()
    format_version: int = FORMAT_VERSION


class Wanted(msgspec.Struct, frozen=True):
    """`run/wanted.json`: how many replicas each engine is to have, by engine; others stay as they are."""

    replicas: dict[str, ReplicaCount]
    format_version: int = FORMAT_VERSION


class Said(msgspec.Struct, frozen=True):
    """`run/controller.json`: what the controller did in its last window, or why it did nothing, for whoever asks.

    `at` is in seconds of the epoch; `epoch` that of the decision that holds.
    """

    at: float
    epoch: Epoch
    reasons: tuple[Reason, ...]
    format_version: int = FORMAT_VERSION


def fingerprint(service: Service) -> str:
    """A name for the plan that a service document was made from, by what a decision may touch: never by a time."""
    named = (service.shares, sorted(service.engines), sorted(service.programs))
    return hashlib.sha256(msgspec.json.encode(named, order="deterministic")).hexdigest()[:16]
