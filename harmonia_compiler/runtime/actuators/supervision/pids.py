"""Which processes are ours: identified so that a number given to somebody else is never mistaken."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec
import psutil

#: Set in the environment of every supervised process to the bundle's folder.
MARK = "HARMONIA_BUNDLE"

#: The same in the environment of the supervisor itself, and of nothing that it starts.
SUPERVISES = "HARMONIA_SUPERVISES"

_PR_SET_CHILD_SUBREAPER = 36


class Ident(msgspec.Struct, frozen=True):
    """A process: its number and when it began (clock ticks since boot on Linux, else seconds of the epoch)."""

    pid: int
    birth: float


def identify(pid: int) -> Ident | None:
    """The live process of that number; None where there is none, or only what is left of one (a zombie)."""
    return _identify_on_linux(pid) if sys.platform == "linux" else _identify_elsewhere(pid)


def _identify_on_linux(pid: int) -> Ident | None:
    # Not psutil's create_time: that moves when the wall clock is set.
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else Ident(pid, float(fields[19]))


def _identify_elsewhere(pid: int) -> Ident | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else Ident(pid, process.create_time())
    except psutil.Error:
        return None


def is_alive(ident: Ident) -> bool:
    """Whether this very process still runs."""
    return identify(ident.pid) == ident


def session_of(leader: Ident) -> list[Ident]:
    """The leader of a session and what it started, also when it is gone itself.

    While a session has members its number is not given to another process, so that a process of
    that number with another birth means that none of the session is left.
    """
    now = identify(leader.pid)
    if now is not None and now != leader:
        return []
    return [ident for pid in psutil.pids() if _session(pid) == leader.pid and (ident := identify(pid)) is not None]


def marked_with(marked: Path | str, mark: str = MARK) -> list[Ident]:
    """The processes of this user that carry this mark of a bundle, or of what else it says, without this one."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, OSError):
            if pid != os.getpid() and psutil.Process(pid).environ().get(mark) == str(marked):
                ident = identify(pid)
                found += [ident] if ident is not None else []
    return found


def adopt_orphans() -> None:
    """Let what this process's children leave behind become its own children, to be waited for (Linux).

    They would go to process 1, which in many containers waits for nobody and keeps them as zombies.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


async def reap(leader: int, limit_s: float) -> None:
    """Wait for what a process left behind in its group and was adopted; the process itself was waited for.

    Nobody else waits for these, and no number of a group is given anew while it has members.
    """
    until = time.monotonic() + limit_s
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < until:
            pid, _ = os.waitpid(-leader, os.WNOHANG)  # noqa: ASYNC222 - it returns at once
            if pid == 0:
                await asyncio.sleep(0.02)


def end(those: Collection[Ident], grace_s: float) -> None:
    """SIGTERM, wait up to the grace, then SIGKILL what is left; returns when they are gone."""
    _send(those, signal.SIGTERM)
    _wait(those, grace_s)
    _send(those, signal.SIGKILL)
    _wait(those, 5.0)


def kill(those: Iterable[Ident]) -> None:
    """SIGKILL at once."""
    _send(those, signal.SIGKILL)


def _send(those: Iterable[Ident], number: signal.Signals) -> None:
    for ident in those:
        if is_alive(ident):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(ident.pid, number)


def _wait(those: Collection[Ident], limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while any(is_alive(ident) for ident in those) and time.monotonic() < until:
        time.sleep(0.05)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None
