"""What a bundle of target `compose` says beside its compose files: the site, and what each service is for whom.

`compose/services.json`. It holds everything that `local/processes.json` holds, under the same names, so that one reader
checks both against the plan.
"""

from itertools import count
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from harmonia_compiler.contract.bundle import ReplicaLaunch
from harmonia_compiler.contract.further import ScaleOut
from harmonia_compiler.contract.launch import Launch
from harmonia_compiler.contract.plan import ProcessName

FORMAT_VERSION = 1

SERVICES = "compose/services.json"

#: The file of a plan on one host, which is found by its name, and what joins those of several.
COMPOSE, OVERLAY = "compose.yaml", "compose.overlay.yaml"

_IMAGE = (
    r"[a-z0-9][a-z0-9._-]*(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})"
)
#: An image with a tag, a digest or both: with none it is whichever was built last. One word, and never an option.
ImageName = Annotated[str, Meta(pattern=rf"\A{_IMAGE}\Z", max_length=255)]
#: The same and never one whose tag says that it changes, or nothing where the one that goes with this release is meant.
OtherImage = Annotated[str, Meta(pattern=rf"\A((?!.*:latest\Z){_IMAGE})?\Z", max_length=255)]
MOST_PORT = 65_535
Port = Annotated[int, Meta(ge=1, le=MOST_PORT)]
VariableName = Annotated[str, Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]{0,127}\Z")]


class ComposeSite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[compose]` table of a site profile.

    With the network `host` every process listens on 127.0.0.1 of the host itself, for hosts whose engine has no bridge.
    Ports are counted up from `first_port`, which is the gateway's where it is free at a first start. Empty images are
    the ones that go with this release.
    Without a `milvus_image` the vector store is milvus-lite's server in the worker's image.
    `scale_out` more replicas an engine may come on top of the plan's. Without `cpuset` cores are a limit and no place.
    """

    network: Literal["bridge", "host"] = "bridge"
    first_port: Annotated[int, Meta(ge=1024, le=60_000)] = 18_100
    worker_image: OtherImage = ""
    vllm_image: OtherImage = ""
    milvus_image: OtherImage = ""
    scale_out: ScaleOut = 0
    cpuset: bool = True


class ComposeReplica(msgspec.Struct, frozen=True):
    """The service of one replica.

    `address` is where the gateway finds it, `port` where it listens there and on 127.0.0.1 of its host. `weights` names
    the variable that says where the host keeps the model, `data` its folder below the bundle's own. A `further` one is
    not of the plan, and started by scaling.
    """

    replica: ProcessName
    engine: str
    host: ProcessName
    address: ProcessName
    port: Port
    image: ImageName
    weights: VariableName | None = None
    data: ProcessName | None = None
    further: bool = False


class ComposeServices(msgspec.Struct, frozen=True):
    """The document. `weights` are the models whose weights are mounted, by variable; `front` is the gateway's host."""

    replicas: tuple[ReplicaLaunch, ...]
    gateway: Launch
    site: ComposeSite
    services: tuple[ComposeReplica, ...]
    front: ProcessName
    gateway_image: ImageName
    weights: dict[VariableName, str] = {}
    format_version: int = FORMAT_VERSION

    @property
    def launches(self) -> list[Launch]:
        """How each process is started, the gateway last."""
        return [*(one.launch for one in self.replicas), self.gateway]

    @property
    def files(self) -> dict[str, str]:
        """The compose file of each host, the gateway's first.

        It bears the host's name, and a number where some file system would take that for another file's.
        """
        hosts = list(dict.fromkeys([self.front, *(one.host for one in self.replicas)]))
        if len(hosts) == 1:
            return {hosts[0]: COMPOSE}
        # An inventory tells `a` from `A`, and not every file system does.
        direct = {f"compose.{host}.yaml".lower() for host in hosts}
        taken, found = {OVERLAY}, dict[str, str]()
        for host in hosts:
            name = f"compose.{host}.yaml"
            if name.lower() in taken:
                numbered = (f"compose.{host}-{number}.yaml" for number in count(2))
                name = next(one for one in numbered if one.lower() not in taken | direct)
            taken.add(name.lower())
            found[host] = name
        return found
