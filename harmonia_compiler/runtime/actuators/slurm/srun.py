"""The argument lists that start steps in a job, and which of the job's nodes stands for which of the plan's hosts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harmonia_compiler.contract.slurm import SlurmComponent, SlurmJob, SlurmStep
from harmonia_compiler.runtime.actuators.slurm.commands import SlurmFailed, address_of, nodes_of
from harmonia_compiler.runtime.actuators.slurm.image import python_in
from harmonia_compiler.runtime.modules import module_command

#: What the step of the gateway asks for, of what the job has on its node beside the replicas'.
FRONT_MIB = 1024


@dataclass(frozen=True, slots=True)
class Nodes:
    """By host of the plan: the node that stands for it, and where others reach that one."""

    names: Mapping[str, str]
    addresses: Mapping[str, str]
    is_het: bool


def find_nodes(job: SlurmJob, environment: Mapping[str, str]) -> Nodes:
    """The nodes of the job that this process is in. Raises `SlurmFailed`."""
    is_het = "SLURM_HET_SIZE" in environment
    names: dict[str, str] = {}
    for at, component in enumerate(job.components):
        variable = f"SLURM_JOB_NODELIST_HET_GROUP_{at}" if is_het else "SLURM_JOB_NODELIST"
        nodes = nodes_of(environment.get(variable, ""))
        if len(nodes) != len(component.hosts):
            raise SlurmFailed(f"component {at} of the job has {len(nodes)} nodes and needs {len(component.hosts)}")
        names |= matched(component, nodes)
    return Nodes(names, {host: address_of(node) for host, node in names.items()}, is_het)


def matched(component: SlurmComponent, nodes: Sequence[str]) -> dict[str, str]:
    """Hosts by their own names where the nodes bear them; all others in order, since all are alike."""
    others = [node for node in nodes if node not in component.hosts]
    return {host: host if host in nodes else others.pop(0) for host in component.hosts}


def step_words(
    job: SlurmJob, step: SlurmStep, nodes: Nodes, bundle: str, life: str, model: str | None = None
) -> list[str]:
    """The command that starts the launcher of a replica, which loads that model, in a step of its own."""
    words = [
        *_srun(nodes, step.component, step.host, step.replica),
        *("--exact", *(["--overlap"] if step.overlap else [])),
        f"--cpus-per-task={step.cpus}",
        f"--mem={step.memory_mib}M",
        f"--gres={step.gres or 'none'}",
    ]
    address = nodes.addresses[step.host]
    program = ("harmonia_compiler.runtime.actuators.slurm.step", bundle, life, step.replica, address)
    if job.site.image:
        return [*words, *python_in(job.site, bundle, step.devices, model), *program]
    return [*words, *module_command(*program)]


def front_words(job: SlurmJob, nodes: Nodes, bundle: str, life: str, processes: int = 1) -> list[str]:
    """The command that starts the launcher of the gateway and the controller, beside what runs on their node.

    Each of the gateway's `processes` has a core, as far as the job has so many there.
    """
    first = job.components[0]
    words = [
        *_srun(nodes, 0, first.hosts[0], "gateway"),
        *(
            "--exact",
            "--overlap",
            f"--cpus-per-task={min(processes, first.cpus)}",
            f"--mem={FRONT_MIB}M",
            "--gres=none",
        ),
    ]
    return [*words, *module_command("harmonia_compiler.runtime.actuators.slurm.front", bundle, life)]


def step_environment(outer: Mapping[str, str]) -> dict[str, str]:
    """What `srun` sees: not the GPUs of this script's own node, which a step on another would take for its own."""
    hidden = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK")
    return {name: value for name, value in outer.items() if name not in hidden} | {"SLURM_EXPORT_ENV": "ALL"}


def _srun(nodes: Nodes, component: int, host: str, name: str) -> list[str]:
    words = ["srun", "--nodes=1", "--ntasks=1", f"--nodelist={nodes.names[host]}", f"--job-name={name}"]
    # Without this a step ends with the node of another component.
    words += ["--no-kill", "--kill-on-bad-exit=0", "--input=none", "--unbuffered"]
    return [*words, f"--het-group={component}"] if nodes.is_het else words
