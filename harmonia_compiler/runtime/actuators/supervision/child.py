"""What a supervised process is before it becomes the engine: run as a file, by `python -I -S`.

    child.py PARENT CPUS COMMAND...

Ties the process to its supervisor's life and to its cores, then replaces itself by the command.
Done here and not between fork and exec, where other threads' locks would be inherited in mid-use.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the command; a command that cannot be started is one line and exit code 127."""
    parent, cpus, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if sys.platform == "linux":
        # SIGTERM and not SIGKILL: an engine must get the chance to end processes of its own.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if cpus:
            os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})
    if os.getppid() != parent:
        sys.exit("the supervisor ended while this process was being started")
    try:
        os.execvp(command[0], command)
    except OSError as problem:
        sys.stderr.write(f"{command[0]} cannot be started: {problem.strerror}\n")
        sys.exit(127)


main()
