"""The service document of a bundle: the Programs and how each component is reached.

`service.json` is all that the gateway reads beside the endpoints that a target writes when it starts.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from harmonia_compiler.contract.collection import CollectionRecord
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.launch import Launch
from harmonia_compiler.contract.plan import MOST, Batch, Cores, Device, Milliseconds, ProcessName, Visits
from harmonia_compiler.contract.program import Program

FORMAT_VERSION = 1


class ReplicaLaunch(msgspec.Struct, frozen=True):
    """A replica of the plan with the process that realises it."""

    replica: ProcessName
    engine: str
    host: ProcessName
    cores: Cores
    devices: tuple[Device, ...]
    launch: Launch


class ReplicaShare(msgspec.Struct, frozen=True):
    """What a replica is to be given: up to `batch` calls at once, and of all calls a part in proportion to `weight`.

    By a plan that is the calls a second that it completes where it is as busy as plans let it be.
    """

    batch: Batch
    weight: Annotated[float, Meta(gt=0, le=1e300)] = 1.0


class ExpectedCalls(msgspec.Struct, frozen=True):
    """What the plan expects of a component: how often a request calls it, and how long a call takes, in ms."""

    visits: Visits
    service_ms: Milliseconds


class ExpectedRequest(msgspec.Struct, frozen=True):
    """What the plan expects of a request: how long its calls take, those after others that wait for them, in ms.

    With how many calls each engine gets for each such request, those of other pipelines among them as often as these
    are asked meanwhile; of engines of which the plan says how long a call takes.
    """

    works_ms: Milliseconds
    calls: dict[str, Annotated[float, Meta(gt=0, le=MOST)]]


class Service(msgspec.Struct, frozen=True):
    """What the gateway serves. `shares` are by the ids of the plan's replicas, `expected` by pipeline and component.

    `requests` are by pipeline.
    """

    programs: dict[str, Program]
    engines: dict[str, Engine]
    collections: dict[str, CollectionRecord]
    shares: dict[str, ReplicaShare]
    expected: dict[str, dict[str, ExpectedCalls]] = {}
    requests: dict[str, ExpectedRequest] = {}
    format_version: int = FORMAT_VERSION


class Endpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a ready replica listens; `started_in_s` is how long it took until it was, where somebody saw that."""

    replica: str
    engine: str
    host: str
    port: int
    started_in_s: float | None = None


class Endpoints(msgspec.Struct, frozen=True):
    """Written by the target, read by the gateway again whenever it changes."""

    replicas: tuple[Endpoint, ...]
    epoch: int


class Address(msgspec.Struct, frozen=True):
    """`run/gateway.json` of a running bundle: where its gateway listens."""

    host: str
    port: int


class LocalProcesses(msgspec.Struct, frozen=True):
    """`local/processes.json`: what target `local` starts, in this order; the gateway comes last.

    Every process runs in the bundle's folder, so that the words of a command may name its files.
    """

    replicas: tuple[ReplicaLaunch, ...]
    gateway: Launch
    format_version: int = FORMAT_VERSION

    @property
    def launches(self) -> list[Launch]:
        """How each process is started, the gateway last."""
        return [*(replica.launch for replica in self.replicas), self.gateway]


class Contents(msgspec.Struct, frozen=True):
    """`bundle.json`: what makes a folder a bundle. `files` are the emitted ones, relative to it.

    `being_written` stands there while they take the places of others, whose names `files` has as well.
    """

    target: str
    files: tuple[str, ...]
    format_version: int = FORMAT_VERSION
    being_written: bool | msgspec.UnsetType = msgspec.UNSET
