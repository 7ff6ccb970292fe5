"""Asks a cluster manager for its nodes. What goes wrong there is told to whoever asked, with a next step."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_text
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.profile.clusters import kubernetes, ray, slurm
from harmonia_compiler.profile.clusters.nodes import Cluster, Manager, cluster

MANAGERS = {one.name: one for one in (slurm.MANAGER, kubernetes.MANAGER, ray.MANAGER)}

#: A manager that does not answer in so many seconds will not do so.
_LIMIT_S = 60


def ask(manager: Manager, listing: Path | None, types: Mapping[str, str]) -> Cluster:
    """The hosts of a manager's cluster, by its command or by a file with what that printed. Raises Rejected."""
    text = _asked(manager) if listing is None else _kept(manager, listing)
    try:
        found = cluster(manager.read(text), types)
    except (ValueError, msgspec.MsgspecError) as problem:
        step = f"give what `{' '.join(manager.command)}` prints"
        raise _rejected(f"what {manager.name} lists cannot be read: {problem}", step) from None
    if not found.hosts:
        why = f"`{found.left_out[0][0]}` is left out: {found.left_out[0][1]}" if found.left_out else "it lists none"
        raise _rejected(
            f"{manager.name} has no node to plan for; {why}", "bring one up, or write the inventory by hand"
        )
    return found


def _asked(manager: Manager) -> str:
    program = shutil.which(manager.command[0])
    elsewhere = f"run `{' '.join(manager.command)} > nodes` where it is, and give that with --listing nodes"
    if program is None:
        raise _rejected(f"{manager.name} cannot be asked: `{manager.command[0]}` is not on the path", elsewhere)
    try:
        ended = subprocess.run(  # noqa: S603 (no word of it is anybody's input)
            [program, *manager.command[1:]], capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except (OSError, UnicodeDecodeError, subprocess.SubprocessError) as problem:
        raise _rejected(f"{manager.name} cannot be asked: {problem}", elsewhere) from None
    if ended.returncode:
        said = (ended.stderr.strip().splitlines() or [f"it ended with {ended.returncode}"])[-1]
        raise _rejected(f"{manager.name} gives no list of its nodes: {said[:200]}", elsewhere)
    return ended.stdout


def _kept(manager: Manager, listing: Path) -> str:
    try:
        return read_text(listing, MOST_DOCUMENT_BYTES)
    except OSError as problem:
        step = f"write it with `{' '.join(manager.command)} > {listing}`"
        raise _rejected(f"the list of nodes `{listing}` cannot be read: {problem.strerror}", step) from None


def _rejected(message: str, step: str) -> Rejected:
    return Rejected([Diagnostic("E0708", message, help=step)])
