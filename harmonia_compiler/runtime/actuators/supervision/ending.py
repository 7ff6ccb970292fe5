"""How a supervisor and its processes end: what the two sides of the lock agree on, and how an end is told."""

import signal

#: Exit codes: the service was stopped as asked; it did not come up; somebody else looks after the bundle.
STOPPED, FAILED, HELD_BY_ANOTHER = 0, 1, 75

#: How long a process has to end by itself, in seconds, before it is killed.
GRACE_S = 10.0

#: The same for what a killed supervisor left behind: nobody waits for its answers any more.
ORPHAN_GRACE_S = 3.0

#: What shells, containers and Slurm add to the number of the signal that ended what they ran.
_BY_SIGNAL = 128


def describe_exit(code: int, after: str = "") -> str:
    """How a process ended, in words, and which of its own processes had ended before."""
    if code < 0:
        return signal_name(-code) or f"signal {-code}"
    name = signal_name(code - _BY_SIGNAL)
    return f"exit code {code}" + (f" ({name})" if name else "") + (f", after its {after} had ended" if after else "")


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; empty where no signal has the number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""
