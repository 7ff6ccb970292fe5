"""How a module of ours is started as a process of its own."""

import sys


def module_command(module: str, *arguments: str) -> list[str]:
    """The words that run it with this interpreter.

    Nothing is imported from the folder in which it runs: that may be the user's, with a `queue.py` of their own.
    """
    return [sys.executable, "-P", "-m", module, *arguments]
