"""Finds what a supervisor that was killed left running."""

import contextlib
from pathlib import Path

from harmonia_compiler.runtime.actuators.supervision.pids import Ident, marked_with, session_of
from harmonia_compiler.runtime.actuators.supervision.rundir import Damaged, RunDirectory


def left_behind(bundle: Path, run: RunDirectory) -> list[Ident]:
    """Processes of this bundle that outlived their supervisor; to be asked by whoever holds the lock.

    Those that the state names, with what they started, and those that carry the bundle's mark:
    the state may be damaged, and an engine may overwrite its environment.
    """
    found = marked_with(bundle)
    with contextlib.suppress(Damaged):
        state = run.read_state()
        for process in () if state is None else (*state.status.processes, *state.status.beside):
            if process.pid is not None and process.birth is not None:
                found += session_of(Ident(process.pid, process.birth))
    return list(dict.fromkeys(found))
