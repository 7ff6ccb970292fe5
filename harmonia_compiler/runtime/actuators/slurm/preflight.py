"""What speaks against submitting a bundle from here, found before anything is submitted.

Engines and weights are the nodes' matter: what lacks there, a step says when it starts. Weights that are not here are
told of before, for that may be hours later.
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from harmonia_compiler.contract.bundle import ReplicaLaunch
from harmonia_compiler.contract.launch import ALLOWED_HOSTS, GATEWAY_PROCESSES, MOST_PROCESSES
from harmonia_compiler.contract.slurm import CHOSEN, SCRIPT
from harmonia_compiler.contract.toml_document import shown
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected, in_order
from harmonia_compiler.emit.targets.slurm_script import options_of
from harmonia_compiler.runtime.actuators.slurm.commands import (
    SlurmFailed,
    may_be_for_now,
    nodes_in,
    outside,
    queue,
    test_only,
)
from harmonia_compiler.runtime.actuators.slurm.keeping import read_job
from harmonia_compiler.runtime.actuators.supervision.preflight import (
    check_weights,
    missing_variables,
    models_of,
    moving_embedders,
    wrong_variables,
)

#: How clients name a host, without its port.
_HOST = re.compile(r"[A-Za-z0-9._-]+|([0-9A-Fa-f]*:){2}[0-9A-Fa-f:.]*")
#: So many nodes at most are named that are away.
_MOST_NODES = 4
_COMMANDS = ("sbatch", "squeue", "scancel", "scontrol")


def preflight(bundle: Path, outer: Mapping[str, str]) -> list[Diagnostic]:
    """Every finding at once."""
    documents, job = read_job(bundle)
    found = moving_embedders(documents.service.engines, documents.processes.replicas)
    found += [*missing_variables(documents.processes.launches, outer), *wrong_variables(documents.service, outer)]
    found += [*_weights(documents.processes.replicas), *_venv(job.site.venv), *_of_gateway(outer)]
    if why := _unheard():
        found.append(Diagnostic("E0935", why, help="run this on a login node of the cluster"))
        return in_order(found)
    return in_order([*found, *refused(bundle, outer)])


def _of_gateway(outer: Mapping[str, str]) -> list[Diagnostic]:
    """Variables that the gateway could not start with once the job has come, or that would be of no use to it."""
    found = []
    processes = outer.get(GATEWAY_PROCESSES) or "1"
    if not processes.isdecimal() or not 1 <= int(processes) <= MOST_PROCESSES:
        step = f"set it to a number from 1 to {MOST_PROCESSES}, or not at all"
        found.append(Diagnostic("E0916", f"`{GATEWAY_PROCESSES}` is no number of processes", help=step))
    names = [name.strip() for name in outer.get(ALLOWED_HOSTS, "").split(",")]
    if wrong := [name for name in names if name and _HOST.fullmatch(name) is None]:
        step = "write the names by which clients reach the gateway, with commas between them: `rag.example.org,rag`"
        found.append(Diagnostic("E0916", f"`{ALLOWED_HOSTS}` names {shown(wrong[0])}, which is no host", help=step))
    return found


def _unheard() -> str:
    """Why Slurm cannot be asked anything from here; empty where it can."""
    if lacking := [name for name in _COMMANDS if shutil.which(name) is None]:
        return f"Slurm's commands are not here: there is no {', '.join(f'`{name}`' for name in lacking)}"
    try:
        queue("")
    except SlurmFailed as failed:
        return f"Slurm cannot be asked: {failed}"
    return ""


def _weights(replicas: Iterable[ReplicaLaunch]) -> list[Diagnostic]:
    """Models that nodes would look for in vain, or find changed, where they see what is seen here."""
    found: list[Diagnostic] = []
    for model in models_of(replicas):
        try:
            check_weights(model)
        except Rejected as rejected:
            found += [
                Diagnostic("W0937", f"{one.message}, nor on nodes that see the same folders", help=one.help)
                if one.code == "E0803"
                else one
                for one in rejected.found
            ]
    return found


def _venv(venv: str) -> list[Diagnostic]:
    """An environment of the site's in which nothing would start, where nodes see what is seen here."""
    if not venv or os.access(f"{venv}/bin/python3", os.X_OK):
        return []
    message = f"there is no `{venv}/bin/python3` on this machine, nor on nodes that see the same folders"
    step = "make the `venv` of the site profile with harmonia-compiler in it, or leave that key out and compile again"
    return [Diagnostic("W0942", message, help=step)]


def _away(written: bytes, partition: str) -> list[str]:
    """Of the nodes that could run a script, some that are away, in words; none where there are too few even so."""
    found: dict[str, str] = {}
    try:
        there = nodes_in(partition)
    except SlurmFailed:
        return []
    for asked in options_of(written):
        named = asked["nodelist"].split(",") if "nodelist" in asked else [one.name for one in there]
        able = [one for one in there if one.name in named and one.has(asked)]
        if len(able) < int(asked["nodes"]):
            return []
        found |= {one.name: f"`{one.name}` is away ({one.away})" for one in able if one.away}
    more = len(found) - _MOST_NODES
    return [*[*found.values()][:_MOST_NODES], *([f"so are {more} more"] if more > 0 else [])]


def refused(bundle: Path, outer: Mapping[str, str]) -> list[Diagnostic]:
    """What Slurm says against each script of a bundle; it submits none."""
    found = []
    _, job = read_job(bundle)
    environment = outside(outer, job.site)
    partition = job.site.partition or environment.get(CHOSEN["partition"], "")
    for path in sorted((bundle / "slurm").glob("*.sbatch")):
        name = path.relative_to(bundle).as_posix()
        try:
            test_only(bundle, name, environment)
        except SlurmFailed as failed:
            which = "the job" if name == SCRIPT else f"`{name}`"
            if away := _away(path.read_bytes(), partition) if may_be_for_now(failed) else []:
                message = f"Slurm could not start {which} at present: {failed}, and {', '.join(away)}"
                step = "it waits in the queue until they are back, or plan with other nodes"
                found.append(Diagnostic("W0941", message, help=step))
                continue
            step = "mend the site profile given with --site, or plan with the nodes that there are, and compile again"
            found.append(Diagnostic("E0936", f"Slurm refuses {which}: {failed}", help=step))
    return found
