"""The checks of `preflight.py`: what this machine has of what Harmonia's environment needs.

Uses the standard library alone and runs on Python 3.7 or newer, so that a Python too old for us is named beside
whatever else is missing.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CPUINFO = Path("/proc/cpuinfo")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
GIB = 1024**3
INSTALLED_GIB = 5  # the environment takes 3.6, the converted model 0.3, Milvus' data and logs the rest
SLACK_GIB = 1  # what pip unpacks while it installs
MEMORY_GIB = 7  # vLLM 4.3 with its cache of 1, embedder and reranker 1.4, Milvus 0.5, gateway 0.1


class Finding(NamedTuple):
    """What one check saw, and what to do about it; `remedy` is empty where all is well."""

    found: str
    remedy: str = ""


def check_system() -> Finding:
    """Linux or macOS."""
    found = f"{platform.system()} on {platform.machine()}"
    if platform.system() not in ("Linux", "Darwin"):
        return Finding(found, "use Linux or macOS; on Windows, run this inside WSL 2")
    return Finding(found)


def check_python() -> Finding:
    """Python 3.11 or newer."""
    found = f"Python {platform.python_version()}"
    if sys.version_info < (3, 11):  # noqa: UP036  (the very question here)
        return Finding(found, "install Python 3.11 or newer and run `make PYTHON=python3.11 ...`")
    return Finding(found)


def check_venv() -> Finding:
    """The modules that build a virtual environment; Debian ships them apart."""
    absent = [name for name in ("venv", "ensurepip") if find_spec(name) is None]
    if absent:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        return Finding(f"no module {absent[0]}", f"install it (on Debian and Ubuntu: sudo apt install {package})")
    return Finding("venv and pip can be set up")


def cpu_flags() -> frozenset[str]:
    """Instruction sets of the first core as Linux names them; empty where there is no /proc/cpuinfo."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def check_cpu() -> Finding:
    """AVX2 for vLLM's CPU build; elsewhere our own torch worker serves the language model."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return Finding("vLLM has no CPU build here: the torch worker serves the language model instead")
    flags = cpu_flags()
    if "avx2" not in flags:
        return Finding("no AVX2", "vLLM's CPU build needs it: use a machine of 2013 or later, or let the VM show AVX2")
    return Finding("AVX-512" if "avx512f" in flags else "AVX2 (AVX-512 would be faster)")


def check_disk() -> Finding:
    """Room for what is not installed yet."""
    needed = SLACK_GIB if (ROOT / ".venv" / "stamps" / "project").exists() else INSTALLED_GIB + SLACK_GIB
    free = shutil.disk_usage(ROOT).free / GIB
    found = f"{free:.0f} GiB free"
    if free < needed:
        return Finding(found, f"free {needed - free:.1f} GiB more on the disk that holds {ROOT}")
    return Finding(found)


def own_cgroups() -> list[Path]:
    """Folders whose limits on memory hold for this process, of both versions of control groups.

    As `profile/detect.py` finds them, which needs packages that are not installed yet.
    """
    folders = [CGROUPS]
    try:
        lines = os.fsdecode(OWN_CGROUP.read_bytes()).split("\n")
    except OSError:
        return [*folders, CGROUPS / "memory"]
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") > 1):
        base = CGROUPS / "memory" if controllers else CGROUPS
        folder = base / path.lstrip("/")
        folders += [each for each in (folder, *folder.parents) if each == base or base in each.parents]
    return folders


def memory_limit_gib() -> float:
    """Memory this process may use: the machine's, or less where one of its control groups says so."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for folder in own_cgroups():
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                limits.append(int((folder / name).read_text(encoding="ascii")))
            except (OSError, ValueError):  # no such group, or "max"
                continue
    return min(limits) / GIB


def check_memory() -> Finding:
    """Memory for a language model, an embedder and Milvus side by side."""
    memory = memory_limit_gib()
    if memory < MEMORY_GIB:
        return Finding(f"{memory:.1f} GiB", f"the demo's engines need {MEMORY_GIB} GiB side by side: raise the limit")
    return Finding(f"{memory:.0f} GiB")


CHECKS = (
    ("system", check_system),
    ("python", check_python),
    ("venv", check_venv),
    ("cpu", check_cpu),
    ("disk", check_disk),
    ("memory", check_memory),
)


def main() -> int:
    """Runs every check, prints one line each, and returns the exit status."""
    failures = 0
    for name, check in CHECKS:
        finding = check()
        print(f"  {'missing' if finding.remedy else 'ok     '}  {name:<7}  {finding.found}")
        if finding.remedy:
            failures += 1
            print(f"           -> {finding.remedy}")
    if failures:
        print(f"preflight: {failures} of {len(CHECKS)} checks failed; mend them and run the same command again")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
