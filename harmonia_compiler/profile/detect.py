"""Finds what this machine has for an inventory: what a process here may really use, not what is built in."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from harmonia_compiler.contract.gpu import gpu_type_of_product
from harmonia_compiler.contract.inventory import MOST_PROCESSOR, Gpu, Host
from harmonia_compiler.profile.record import this_machine

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")

_GIB = 2**30
#: Kernels write "no limit" as a number near 2^63.
_NO_LIMIT = 1 << 60


#: As the kernel names what multiplies 16-bit numbers, on x86-64 and on Arm.
_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


@dataclass(frozen=True, slots=True)
class Detected:
    """A host, and the names of GPUs on it whose type is not known."""

    host: Host
    unknown_gpus: tuple[str, ...]


def detect() -> Detected:
    """The machine that runs this, as a host of an inventory."""
    gpus, unknown = count_gpus(_nvidia_smi())
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname().split(".")[0])[:64] or "here"
    memory_gib = max(0.125, int(usable_memory_gib() * 8) / 8)
    processor = this_machine().processor[:MOST_PROCESSOR]
    host = Host(name, max(1, int(usable_cpus())), memory_gib, gpus, processor=processor, bf16=has_bf16())
    return Detected(host, unknown)


def has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the cores here multiply 16-bit numbers by themselves; so it is taken to be where the kernel is silent.

    Without AVX512-BF16 or AMX, vLLM's prefill takes three times as long in bf16 as in fp32.
    """
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        return True
    said = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), None)
    return said is None or not _BF16.isdisjoint(said)


def usable_cpus() -> float:
    """The CPUs that a process here may really use."""
    return min([float(_scheduled_cpus()), *cpu_limits()])


def usable_memory_gib() -> float:
    """The memory that a process here may really use."""
    return min([psutil.virtual_memory().total, *memory_limits()]) / _GIB


def _scheduled_cpus() -> int:
    """CPUs that the scheduler lets this process run on; not every system says."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _own_cgroups(root: Path, own: Path) -> Iterator[Path]:
    """The folders whose limits hold for this process, of both versions of cgroups."""
    yield root
    try:
        # A group's name is any bytes, and may even have a line's end.
        lines = os.fsdecode(own.read_bytes()).split("\n")
    except OSError:
        return
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") > 1):
        for base in (root / controllers, root / "cpu", root / "memory") if controllers else (root,):
            folder = base / path.lstrip("/")
            yield from (each for each in (folder, *folder.parents) if each.is_relative_to(base))


def _limits(files: Callable[[Path], float | None], root: Path, own: Path) -> list[float]:
    found = {limit for folder in _own_cgroups(root, own) if (limit := files(folder)) is not None}
    return sorted(found)


def cpu_limits(root: Path = CGROUPS, own: Path = OWN_CGROUP) -> list[float]:
    """The limits on CPU time of this process's control groups, in CPUs."""

    def limit(folder: Path) -> float | None:
        words = _words(folder / "cpu.max")
        if len(words) != 2:
            words = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        numbers = [int(word) for word in words if word.isdigit()]
        return numbers[0] / numbers[1] if len(numbers) == 2 and numbers[0] and numbers[1] else None

    return _limits(limit, root, own)


def memory_limits(root: Path = CGROUPS, own: Path = OWN_CGROUP) -> list[float]:
    """The limits on memory of this process's control groups, in bytes."""

    def limit(folder: Path) -> float | None:
        words = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
        return float(words[0]) if words and words[0].isdigit() and int(words[0]) < _NO_LIMIT else None

    return _limits(limit, root, own)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _nvidia_smi() -> str:
    """What `nvidia-smi` lists, a product name a line; nothing where it is absent or fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        listed = subprocess.run(  # noqa: S603 (no word of it is anybody's input)
            [program, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return listed.stdout


def count_gpus(listing: str) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """GPUs by type, in the order in which they are listed, and the products whose type is not known."""
    gpus: list[Gpu] = []
    unknown: list[str] = []
    for product in filter(None, map(str.strip, listing.splitlines())):
        found = gpu_type_of_product(product)
        if found is None:
            unknown.append(product)
        elif gpus and gpus[-1].type == found.name:
            gpus[-1] = Gpu(found.name, gpus[-1].count + 1)
        else:
            gpus.append(Gpu(found.name))
    return tuple(gpus), tuple(unknown)
