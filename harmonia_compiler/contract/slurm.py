"""What a bundle of target `slurm` says beside the processes: the site, the job's components, a step for each replica.

`slurm/job.json`. It holds everything that `local/processes.json` holds, under the same names, so that one reader checks
both against the plan.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from harmonia_compiler.contract.bundle import ReplicaLaunch
from harmonia_compiler.contract.further import ScaleOut
from harmonia_compiler.contract.launch import Launch
from harmonia_compiler.contract.plan import Device, ProcessName

FORMAT_VERSION = 1

JOB, SCRIPT = "slurm/job.json", "slurm/job.sbatch"

#: What a site profile says of where a job runs and for whom, by its own key, which is `sbatch`'s; and the variable by
#: which a user says it where the profile does not.
CHOSEN = {name: f"SBATCH_{name.upper()}" for name in ("partition", "account", "qos", "constraint")}

#: What a site calls its partitions, accounts and the like; never more than a word of a script, never an option.
SiteName = Annotated[str, Meta(pattern=r"\A([A-Za-z0-9_][A-Za-z0-9._-]{0,63})?\Z")]
#: Partitions among which Slurm chooses.
SiteNames = Annotated[
    str, Meta(pattern=r"\A([A-Za-z0-9_][A-Za-z0-9._-]{0,63}(,[A-Za-z0-9_][A-Za-z0-9._-]{0,63}){0,15})?\Z")
]
#: Features of nodes, and how they are combined: `ib&(rome|milan)`, `[rack1*2|rack2*2]`.
SiteFeatures = Annotated[str, Meta(pattern=r"\A([A-Za-z0-9_(\[][A-Za-z0-9._:=*&|,()\[\]-]{0,255})?\Z")]
#: A name that is never nothing.
GpuName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\Z")]
#: GPUs as Slurm is asked for them, by type: `gpu:a100:2,gpu:l40s:1`.
Gres = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._:,-]*\Z")]
#: A module of the site, as `module load` takes it.
ModuleName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9._+/-]{0,127}\Z")]
#: An absolute path of plain names; none of them begins with a dot.
SitePath = Annotated[str, Meta(pattern=r"\A((/[A-Za-z0-9_+@-][A-Za-z0-9._+@-]*)+)?\Z", max_length=512)]
Seconds = Annotated[int, Meta(ge=0, le=31_536_000)]
#: So long before a job's end at most Slurm sends it a signal.
MOST_NOTICE_S = 65_535
Mebibytes = Annotated[int, Meta(ge=1, le=2**31)]
Cpus = Annotated[int, Meta(ge=1, le=4096)]


class SlurmSite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[slurm]` table of a site profile.

    `gres` is how GPUs are asked for: with their type, without, or not at all; `gpu_types` is what the site calls ours.
    `nodes` says whether the job runs on the nodes that bear the names of the plan's hosts, or on `any` with as much.
    `drain_s` before the wall time the service stops by itself; so long before that, `handover_s`, a successor is
    submitted (0: none). `stage` is a folder on each node's own disk, onto which weights are copied before they are
    loaded. `scale_out` replicas of an engine may come on top of the plan's, each as a job of its own.
    """

    partition: SiteNames = ""
    account: SiteName = ""
    qos: SiteName = ""
    constraint: SiteFeatures = ""
    gres: Literal["typed", "untyped", "none"] = "typed"
    gpu_types: dict[GpuName, GpuName] = {}
    modules: tuple[ModuleName, ...] = ()
    venv: SitePath = ""
    image: SitePath = ""
    stage: SitePath = ""
    wall_time_s: Seconds = 0
    drain_s: Seconds = 60
    handover_s: Seconds = 0
    submit_from_nodes: bool = False
    scale_out: ScaleOut = 0
    nodes: Literal["named", "any"] = "named"
    exclusive: bool = True

    @property
    def chosen(self) -> dict[str, str]:
        """What it says of where a job runs and for whom, by its keys."""
        return {name: value for name in CHOSEN if (value := getattr(self, name))}

    @property
    def has_planned_gpus(self) -> bool:
        """Whether the job has the very GPUs of the plan: its nodes are those that were planned for, and its alone."""
        return self.nodes == "named" and self.exclusive


class SlurmComponent(msgspec.Struct, frozen=True):
    """Hosts of which the job takes equally much: one component of a heterogeneous job. `gres` is empty without GPUs."""

    hosts: Annotated[tuple[ProcessName, ...], Meta(min_length=1)]
    cpus: Cpus
    memory_mib: Mebibytes
    gres: Gres = ""


class SlurmStep(msgspec.Struct, frozen=True):
    """What one replica's step takes of its host.

    With `overlap` it shares what it takes with other steps: it is shown all of the job's GPUs of its type, of which it
    keeps `devices`, and replicas of less than a core share cores. Those are numbers of the node where the job
    `has_planned_gpus`, and else they count the GPUs that it is shown.
    """

    replica: ProcessName
    component: Annotated[int, Meta(ge=0)]
    host: ProcessName
    cpus: Cpus
    memory_mib: Mebibytes
    devices: tuple[Device, ...]
    gres: Gres
    overlap: bool


class SlurmFurther(msgspec.Struct, frozen=True):
    """Replicas of an engine that may come on top of the plan's, each as a job of its own with one script for all."""

    engine: str
    names: tuple[ProcessName, ...]
    script: Annotated[str, Meta(pattern=r"\Aslurm/more-[A-Za-z0-9._-]{1,64}\.sbatch\Z")]
    like: ProcessName


class SlurmJob(msgspec.Struct, frozen=True):
    """The document. The gateway and the controller run on the first host of the first component."""

    replicas: tuple[ReplicaLaunch, ...]
    gateway: Launch
    site: SlurmSite
    components: tuple[SlurmComponent, ...]
    steps: tuple[SlurmStep, ...]
    further: tuple[SlurmFurther, ...] = ()
    format_version: int = FORMAT_VERSION
