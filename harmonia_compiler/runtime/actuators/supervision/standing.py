"""How a service stands by what its keeper said last, and that nobody knows where that is too long ago."""

import time

import msgspec

from harmonia_compiler.runtime.actuators.actuator import Status
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory, State

#: A keeper looks once a second. What it has not said anew for so long may be so no more, in seconds.
_STALE_S = 10.0


def standing(state: State, run: RunDirectory) -> Status:
    """What the keeper of a running service says, which a note says to be old where it is."""
    status = state.status
    is_kept_current = status.phase in ("starting", "running") and status.failure is None
    age_s = 0.0 if state.seen is None else time.monotonic() - state.seen
    if not is_kept_current or age_s < _STALE_S:
        return status
    why = _unwritable(run) or state.trouble or "whoever looks after it has said nothing since"
    # By steps, so that whoever waits is told as often as of everything else.
    note = f"what is shown is more than {age_s // _STALE_S * _STALE_S:.0f} s old: {why}"
    return msgspec.structs.replace(status, notes=(*status.notes, note), is_stale=True)


def _unwritable(run: RunDirectory) -> str:
    """Why nothing can be said in the folder of the run; empty where it can."""
    try:
        run.prepare()
    except OSError as problem:
        return f"`{run.path}` cannot be written ({problem.strerror})"
    return ""
