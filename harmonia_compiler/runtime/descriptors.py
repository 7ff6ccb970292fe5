"""How many files and connections a process may have open: as many as the machine allows it, not the few of a shell."""

import resource
import sys


def raise_open_files() -> int:
    """Let this process open as many as the machine allows it; how many those are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard
