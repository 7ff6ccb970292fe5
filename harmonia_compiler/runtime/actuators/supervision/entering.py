"""How a keeper's process begins: its arguments, its log, and what it says where it cannot look after the service."""

import logging
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.supervision.pids import SUPERVISES
from harmonia_compiler.runtime.actuators.supervision.rundir import Asked
from harmonia_compiler.runtime.stderr import unbuffered


def enter(module: str, keep: Callable[[Path, Asked], int]) -> None:
    """Read the arguments and keep the bundle; exits with the code, or with 1 and one line that says the problem."""
    parser = ArgumentParser(prog=module)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--port", type=int, default=None)
    parser.add_argument("--reembed", action="store_true")
    arguments = parser.parse_args()
    # Others read it in what this process was started with; what it starts itself must not bear it too.
    os.environ.pop(SUPERVISES, None)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=unbuffered())
    try:
        sys.exit(keep(arguments.bundle.resolve(), Asked(arguments.port, arguments.reembed)))
    except (OSError, Rejected) as problem:
        sys.exit(f"the service cannot be looked after: {problem}")
