"""Starts the controller: `python -m harmonia_compiler.runtime.controller DIR`, for a bundle that runs.

Exits 1 with one line where the bundle cannot be used; 0 when it is told to end.
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path

from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.policy.control.planned import planned
from harmonia_compiler.runtime.actuators.actuator import found_actuator
from harmonia_compiler.runtime.bundle import CONTENTS, read_plan_of, read_service
from harmonia_compiler.runtime.controller.asking import PATIENCE_S
from harmonia_compiler.runtime.controller.controller import EVERY_S, Controller, leave
from harmonia_compiler.runtime.controller.dividing import ByProgram
from harmonia_compiler.runtime.told import Told


def main() -> None:
    """Read the arguments and look after the service until told to end."""
    parser = argparse.ArgumentParser(prog="harmonia controller", description="Adapts a running bundle to its load.")
    parser.add_argument("bundle", type=Path, help="the folder of the bundle")
    parser.add_argument("--every", type=float, default=EVERY_S, help="seconds between two looks")
    parser.add_argument("--factor", type=float, default=1.0, help="by how much a rehearsal stretches all times")
    given = parser.parse_args()
    stop = Told()
    bundle = given.bundle.resolve()
    try:
        # A rehearsal has no target that could start or stop anything.
        actuator = found_actuator(bundle) if (bundle / CONTENTS).exists() else None
        room = {} if actuator is None else actuator.room(bundle)
        facts = planned(read_plan_of(bundle), read_service(bundle), room)
    except Rejected as rejected:
        sys.exit(f"controller: {rejected}")
    scale = leave if actuator is None else partial(actuator.scale, bundle)
    controller = Controller(facts, bundle / "run", ByProgram(), scale, PATIENCE_S * given.factor)
    until = time.monotonic()
    while not stop.is_set():
        now = time.monotonic() / given.factor
        controller.look(now, time.time() if given.factor == 1.0 else now)
        # One look that took long is not made up for by several at once.
        until = max(until + given.every * given.factor, time.monotonic())
        stop.wait(until - time.monotonic())


if __name__ == "__main__":
    main()
