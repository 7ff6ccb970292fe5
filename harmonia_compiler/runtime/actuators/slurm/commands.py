"""Slurm's own commands, as argument lists; what they print is read here."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harmonia_compiler.contract.slurm import CHOSEN, SlurmSite
from harmonia_compiler.runtime.actuators.supervision.ending import describe_exit

#: How long a command may take, in seconds: a controller that is busy answers late.
PATIENCE_S = 60.0

#: States of jobs that have ended or are about to, and what came to pass.
_ENDED = {
    "CANCELLED": "somebody cancelled it",
    "COMPLETED": "its script ended",
    "FAILED": "its script failed",
    "TIMEOUT": "its wall time was over",
    "NODE_FAIL": "a node of it failed",
    "PREEMPTED": "a job of a higher priority took its place",
    "BOOT_FAIL": "a node of it did not start",
    "DEADLINE": "its deadline was over",
    "OUT_OF_MEMORY": "it took more memory than it had",
}

#: States of jobs that have no nodes yet, be it since they were queued anew.
_PENDING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
#: States of jobs whose script runs, so that it can be told something.
_RUNNING = ("RUNNING", "RESIZING", "SIGNALING")

#: Why a job waits, in words; of others Slurm's own word is shown.
_REASONS = {
    "Priority": "jobs of a higher priority go first",
    "Resources": "the nodes are not free yet",
    "None": "the scheduler has not looked at it yet",
    "Dependency": "a job before it has not ended",
    "PartitionConfig": "the partition has no nodes for it at present",
    "PartitionNodeLimit": "the partition does not have so many nodes",
    "PartitionTimeLimit": "the partition does not allow so long a time",
    "ReqNodeNotAvail": "a node that it names is down, drained or reserved",
    "QOSMaxJobsPerUserLimit": "you have as many jobs as the quality of service allows",
    "AssocGrpGRES": "the account uses as many GPUs as it may",
    "BeginTime": "its time has not come yet",
}


#: What Slurm says of a job for which there are no nodes, be it for good or only as long as some of them are away.
_NO_NODES = (
    "Requested node configuration is not available",
    "Required node not available",
    "Requested nodes are busy",
)
#: States of nodes on which jobs start, sooner or later, without what Slurm puts behind.
_SERVING = ("idle", "mixed", "allocated", "completing", "planned")


#: Variables by which users set what these commands show.
_FOR_EYES = ("SQUEUE_", "SINFO_")


class SlurmFailed(Exception):
    """A command that is not there, or failed; the message is a phrase."""


class SlurmSilent(SlurmFailed):
    """A command that has not answered in time, and may have been heard."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A job as the queue shows it; of a heterogeneous one the first component."""

    job: str
    state: str
    reason: str
    name: str

    @property
    def is_pending(self) -> bool:
        """Whether it has not started."""
        return self.state in _PENDING

    @property
    def is_running(self) -> bool:
        """Whether its script runs and can be told something, as one that is suspended or about to end cannot."""
        return self.state in _RUNNING

    @property
    def waits_for(self) -> str:
        """Why it has not started."""
        word = self.reason.split(",")[0].strip("()")
        known = _REASONS.get(word)
        return f"the queue: {known} ({word})" if known else f"the queue ({self.reason or 'no reason given'})"


@dataclass(frozen=True, slots=True)
class Node:
    """A node, what it has, and why no job starts on it at present; that is empty where jobs do."""

    name: str
    cpus: int
    memory_mib: int
    gres: str
    away: str

    def has(self, options: Mapping[str, str]) -> bool:
        """Whether it has what a job with these options takes of a node, were nothing else on it."""
        has_cpus = self.cpus >= int(options["cpus-per-task"])
        has_memory = self.memory_mib >= int(options["mem"].removesuffix("M"))
        return has_cpus and has_memory and all(map(self._has_gpus, filter(None, options.get("gres", "").split(","))))

    def _has_gpus(self, asked: str) -> bool:
        """Whether it has as many GPUs as are asked for, as `gpu:TYPE:COUNT` or `gpu:COUNT`."""
        kind, _, count = asked.rpartition(":")
        there = re.findall(r"(gpu(?::[^:,()]+)?):(\d+)", self.gres)
        return sum(int(number) for name, number in there if kind in ("gpu", name)) >= int(count)


def outside(environment: Mapping[str, str], site: SlurmSite) -> dict[str, str]:
    """What a job is submitted with: this Python first, and of Slurm's variables what a user may choose by them.

    Nothing of how the job was made from inside which it is submitted, and nothing that would go before what its script
    says: variables do, also before what the site profile says.
    """
    chosen = {"SLURM_CONF", *(variable for name, variable in CHOSEN.items() if name not in site.chosen)}
    made = ("SLURM_", "SBATCH_", "SRUN_")
    kept = {name: value for name, value in environment.items() if name in chosen or not name.startswith(made)}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{environment.get('PATH', '')}"}


def submit(bundle: Path, script: str, name: str, words: Sequence[str], environment: Mapping[str, str]) -> str:
    """Submit a script of a bundle under a name and give the job's number. Raises `SlurmFailed`."""
    command = ["sbatch", "--parsable", f"--job-name={name}", script, *words]
    said = call(command, cwd=bundle, environment=environment)
    number = said.strip().split(";")[0]
    if not number.isdigit():
        raise SlurmFailed(f"`sbatch` said `{said.strip()[:100]}`, which is no job")
    return number


def test_only(bundle: Path, script: str, environment: Mapping[str, str]) -> None:
    """Have Slurm look at a script that it is not to run. Raises `SlurmFailed` where it would refuse it."""
    call(["sbatch", "--test-only", script], cwd=bundle, environment=environment)


def may_be_for_now(failed: SlurmFailed) -> bool:
    """Whether a job was refused for want of nodes, which may be so only because some are away."""
    return any(words in str(failed) for words in _NO_NODES)


def nodes_in(partition: str) -> list[Node]:
    """The nodes of partitions, or of the one that is taken where none is named. Raises `SlurmFailed`."""
    found: dict[str, Node] = {}
    chosen = [f"--partition={partition}"] if partition else []
    for line in call(["sinfo", "--noheader", "--Node", "--format=%P|%N|%T|%c|%m|%G|%E", *chosen]).splitlines():
        part, name, state, cpus, memory, gres, reason = (*line.strip().split("|", 6), *[""] * 6)[:7]
        if not (partition or part.endswith("*")):
            continue
        why = ""
        if "*" in state or state.rstrip("*~#!%$@^-+") not in _SERVING:
            why = "does not answer" if state.rstrip("*") in _SERVING else state.rstrip("*")
            why += "" if reason in ("", "none") else f": {reason}"
        found[name] = Node(name, int(cpus), int(memory), gres, why)
    return [*found.values()]


def queue(name: str) -> list[Queued]:
    """The jobs of a service that have not ended, in the order of their numbers. Raises `SlurmFailed`."""
    return [one for one in _listed(name) if one.state not in _ENDED]


def last_of(name: str) -> Queued | None:
    """The last job of a service, be it that it has ended, as long as Slurm remembers it. Raises `SlurmFailed`."""
    return next((one for one in reversed(_listed(name, "--states=all")) if one.name == name), None)


def how_ended(job: Queued) -> str:
    """What came to pass with a job that has ended, in words. Raises `SlurmFailed`."""
    code = ""
    if job.state == "FAILED":
        found = re.search(r"\bExitCode=(\d+):(\d+)", call(["scontrol", "--oneliner", "show", "job", job.job]))
        code = "" if found is None else f" with {describe_exit(-int(found[2]) or int(found[1]))}"
    reason = "" if job.reason in ("", "None", "NonZeroExitCode") else f" ({job.reason})"
    return f"{_ENDED.get(job.state, job.state)}{code}{reason}"


def _listed(name: str, *words: str) -> list[Queued]:
    """The jobs of a service that Slurm lists, in the order of their numbers; by itself those that have not ended."""
    said = call(["squeue", "--me", "--noheader", "--format=%i|%T|%r|%j", *words])
    found: dict[int, Queued] = {}
    for line in said.splitlines():
        job, state, reason, called = (*line.strip().split("|", 3), "", "", "")[:4]
        number, _, part = job.partition("+")
        if number.isdigit() and part in ("", "0") and called.split(".")[0] == name:
            found[int(number)] = Queued(number, state, reason, called)
    return [found[number] for number in sorted(found)]


def cancel(job: Queued, *, drain: bool = False) -> None:
    """End a job: by telling its script to where that runs and is to `drain`, or at once. Raises `SlurmFailed`.

    One that has ended is no failure, nor is a command that does not answer: to a job that is suspended or waits since
    it was listed, it tries for a minute to tell something.
    """
    words = ["--batch", "--signal=TERM"] if drain and job.is_running else []
    try:
        done = _run(["scancel", *words, job.job], None, None)
    except SlurmSilent:
        return
    if done.returncode and "Invalid job id" not in done.stderr and "already completing" not in done.stderr:
        raise SlurmFailed(_said(done))


def nodes_of(expression: str) -> list[str]:
    """The nodes that a list such as `gpu[01-04]` stands for, in order. Raises `SlurmFailed`."""
    return call(["scontrol", "show", "hostnames", expression]).split()


def address_of(node: str) -> str:
    """Where other nodes reach one. Raises `SlurmFailed`."""
    found = re.search(r"\bNodeAddr=(\S+)", call(["scontrol", "--oneliner", "show", "node", node]))
    return found[1] if found else node


def call(command: Sequence[str], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints. Raises `SlurmFailed`."""
    done = _run(command, cwd, environment)
    if done.returncode:
        raise SlurmFailed(_said(done))
    return done.stdout


def _run(
    command: Sequence[str], cwd: Path | None, environment: Mapping[str, str] | None
) -> "subprocess.CompletedProcess[str]":
    outer = os.environ if environment is None else environment
    if shutil.which(command[0]) is None:
        raise SlurmFailed(f"`{command[0]}` is not installed here")
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            # What a user has set for the eyes says which jobs and nodes are shown, and how.
            env={name: value for name, value in outer.items() if not name.startswith(_FOR_EYES)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SlurmSilent(f"`{command[0]}` has not answered within {PATIENCE_S:g} s") from None


def _said(done: "subprocess.CompletedProcess[str]") -> str:
    """The last thing that a command complained of, without its own name in front."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else f"exit code {done.returncode}"
    return re.sub(r"^\w+: (?:error|fatal): ", "", last)
