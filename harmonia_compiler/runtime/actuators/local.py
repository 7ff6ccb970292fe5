"""Target `local`: processes on this machine, looked after by a supervisor of their own (`supervisor.py`)."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.runtime.actuators.actuator import Status, Watch
from harmonia_compiler.runtime.actuators.supervision import pids, rundir, scratch
from harmonia_compiler.runtime.actuators.supervision.ending import GRACE_S, ORPHAN_GRACE_S
from harmonia_compiler.runtime.actuators.supervision.installing import INSTALLING, complete
from harmonia_compiler.runtime.actuators.supervision.kept import Kept, is_kept
from harmonia_compiler.runtime.actuators.supervision.orphans import left_behind
from harmonia_compiler.runtime.actuators.supervision.preflight import models_of, preflight
from harmonia_compiler.runtime.actuators.supervision.refusing import unusable
from harmonia_compiler.runtime.actuators.supervision.replacing import Service
from harmonia_compiler.runtime.actuators.supervision.room import further_here
from harmonia_compiler.runtime.actuators.supervision.scaling import want
from harmonia_compiler.runtime.bundle import (
    CONTROLLER,
    GATEWAY,
    SUPERVISOR,
    read_local_bundle,
    read_local_processes,
)


class Local(Kept):
    """The actuator of target `local`."""

    keeper = "harmonia_compiler.runtime.actuators.supervisor"
    #: The gateway's grace, the replicas', and some.
    grace_s = 3 * GRACE_S
    left = "its supervisor ended without stopping it; `harmoniac down DIR` cleans up"

    def preflight(self, bundle: Path, *, port: int | None) -> list[Diagnostic]:
        """See `Actuator.preflight`."""
        bundle = bundle.resolve()
        run = rundir.RunDirectory(bundle)
        if is_kept(bundle, run):
            return []
        _complete(bundle, run)
        return preflight(bundle, port, os.environ)

    def models(self, bundle: Path) -> Sequence[str]:
        """See `Actuator.models`."""
        return models_of(read_local_processes(bundle).replicas)

    def end_left(self, bundle: Path, run: rundir.RunDirectory, *, known: bool) -> bool:  # noqa: ARG002 - marked ones
        """See `Kept.end_left`: processes that bear the bundle's mark, and what they wrote for themselves."""
        orphans = left_behind(bundle, run)
        pids.end(orphans, ORPHAN_GRACE_S)
        scratch.remove_left(bundle, os.environ)
        complete(bundle, run.path)
        return bool(orphans)

    def room(self, bundle: Path) -> Mapping[str, Sequence[str]]:
        """See `Actuator.room`."""
        found = further_here(read_local_bundle(bundle))
        return {engine: [one.replica for one in launches] for engine, launches in found.items()}

    def scale(self, bundle: Path, replicas: Mapping[str, int]) -> None:
        """See `Actuator.scale`."""
        want(rundir.RunDirectory(bundle.resolve()), replicas)

    def replace(
        self, bundle: Path, new: Path, *, share: float, make_room: bool, timeout_s: float, watch: Watch
    ) -> Status | None:
        """See `Replacing.replace`."""
        return Service(bundle).replace(new, share=share, make_room=make_room, timeout_s=timeout_s, watch=watch)

    def promote(self, bundle: Path, *, timeout_s: float, watch: Watch) -> Status:
        """See `Replacing.promote`."""
        return Service(bundle).promote(timeout_s=timeout_s, watch=watch)

    def roll_back(self, bundle: Path, *, timeout_s: float, watch: Watch) -> Status:
        """See `Replacing.roll_back`."""
        return Service(bundle).roll_back(timeout_s=timeout_s, watch=watch)

    def log_names(self, bundle: Path) -> list[str]:
        """See `Actuator.log_names`."""
        names = [replica.replica for replica in read_local_processes(bundle).replicas]
        beside = [CONTROLLER] if rundir.RunDirectory(bundle).log_of(CONTROLLER).is_file() else []
        status = self.status(bundle)
        others = [one.name for one in (*status.processes, *status.beside)]
        return [*dict.fromkeys([*names, GATEWAY, *beside, *others, SUPERVISOR])]


def _complete(bundle: Path, run: rundir.RunDirectory) -> None:
    """End what a supervisor began that was killed while it replaced the bundle's files."""
    if not (run.path / INSTALLING).exists() or (lock := run.try_lock()) is None:
        return
    try:
        complete(bundle, run.path)
    except OSError as problem:
        raise unusable(run, problem) from problem
    finally:
        os.close(lock)


ACTUATOR = Local()
