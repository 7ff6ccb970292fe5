"""A process of a rehearsal: started with a log of its own, waited for, and ended with its context."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.runtime.actuators.supervision.command import supervised
from harmonia_compiler.runtime.load.machine import process_seconds
from harmonia_compiler.runtime.modules import module_command

#: How long a process may take to stop before it is killed, in seconds.
STOP_S = 10.0
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Child:
    """A process that runs, what it is called, and where it writes what it says."""

    name: str
    log: Path
    process: "subprocess.Popen[bytes]"

    def cpu_s(self) -> dict[int, float]:
        """Processor time so far, in seconds, by process: its own, and those that it has started and that run."""
        own = psutil.Process(self.process.pid)
        spent_s = {own.pid: process_seconds(own)}
        for other in own.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                spent_s[other.pid] = process_seconds(other)
        return spent_s


@contextmanager
def child(folder: Path, name: str, module: str, *arguments: str) -> Iterator[Child]:
    """A module of ours as a process; its log lies in the folder, under its name."""
    with command(folder, name, module_command(module, *arguments)) as started:
        yield started


@contextmanager
def command(folder: Path, name: str, words: list[str], environment: dict[str, str] | None = None) -> Iterator[Child]:
    """A command as a process, which ends with this one whatever ends that; None is this process's own environment."""
    path = folder / f"{name}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - a list of words, with paths and numbers of ours
            supervised(words, ()), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )
    try:
        yield Child(name, path, process)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(started: Child, is_there: Callable[[], bool], most_s: float) -> None:
    """Until it is there. Raises Rejected, with what the process said, where it ends before or takes longer."""
    until = time.monotonic() + most_s
    while not is_there():
        if started.process.poll() is not None or time.monotonic() > until:
            lines = started.log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
            said = f": {' / '.join(lines)}" if lines else ""
            message = f"the rehearsal's {started.name} did not start{said}"
            raise Rejected(
                [Diagnostic("E1341", message, help="give this machine more room, or rehearse a smaller plan")]
            )
        time.sleep(_LOOK_S)
