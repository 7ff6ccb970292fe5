"""What a command does that replaces a running service: look whether that can be, wish it, and wait until it is so."""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import psutil

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected, in_order
from harmonia_compiler.diagnostics.shell import shell_word
from harmonia_compiler.profile.detect import usable_cpus, usable_memory_gib
from harmonia_compiler.runtime.actuators.actuator import NotStarted, Status, Watch
from harmonia_compiler.runtime.actuators.supervision.culprit import state_by
from harmonia_compiler.runtime.actuators.supervision.fitting import lacking
from harmonia_compiler.runtime.actuators.supervision.generation import Generation, as_many, is_stateful, load
from harmonia_compiler.runtime.actuators.supervision.keeper import keeper_of
from harmonia_compiler.runtime.actuators.supervision.preflight import preflight
from harmonia_compiler.runtime.actuators.supervision.refusing import SHOWN_LINES, not_replaced
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory
from harmonia_compiler.runtime.actuators.supervision.snapshot import files_of, forget, keep
from harmonia_compiler.runtime.actuators.supervision.tailing import tail
from harmonia_compiler.runtime.actuators.supervision.wish import ROLLOUT, Wish, wish, wish_in
from harmonia_compiler.runtime.bundle import SUPERVISOR, read_contents
from harmonia_compiler.runtime.owning import of_another

#: How often the state is looked at, in seconds.
_LOOK_EVERY_S = 0.1


class Service:
    """A service that runs, as a command sees it. Raises `Rejected` where it does not run, or is another user's."""

    def __init__(self, bundle: Path) -> None:
        self.named, self.word = bundle, shell_word(bundle)
        self.bundle = bundle.resolve()
        self.run = RunDirectory(self.bundle)
        keeper = keeper_of(self.bundle, self.run)
        state = None if keeper is None else state_by(keeper, self.run)
        if keeper is None or state is None or state.status.phase != "running":
            raise _refused(f"`{bundle}` is not running", f"start it with `harmoniac up {shell_word(bundle)}`")
        # What is wished for lies in files of whoever wishes, which the supervisor of another user could not read.
        with contextlib.suppress(psutil.Error):
            if (owner := psutil.Process(keeper.pid).uids().effective) != os.geteuid():
                raise of_another(bundle, owner)
        self.keeper, self.status = keeper, state.status

    @property
    def base(self) -> int:
        """The generation that it is."""
        return self.status.history[-1]

    def replace(self, new: Path, *, share: float, make_room: bool, timeout_s: float, watch: Watch) -> Status | None:
        """Have another bundle serve this part of new requests; None where the service is that bundle already."""
        files = files_of(new)
        if files == files_of(self.run.path / "generations" / str(self.base)):
            return None
        number = keep(self.run.path, files)
        try:
            self._check(new, number, share, make_room=make_room)
            return self._wished(wish(number, share, make_room=make_room), timeout_s, watch)
        except (Rejected, KeyboardInterrupt):
            if number not in {one.number for one in self.status.generations}:
                forget(self.run.path, number)
            raise

    def promote(self, *, timeout_s: float, watch: Watch) -> Status:
        """Have the generation that serves a part of new requests serve all."""
        canary = [one.number for one in self.status.generations if one.share > 0.0 and not one.is_base]
        if not canary:
            step = f"`harmoniac up NEW --over {self.word} --canary 5%` has a new bundle serve a part"
            raise _refused(f"no other generation of `{self.named}` serves a part of the requests", step)
        return self._wished(wish(canary[0]), timeout_s, watch)

    def roll_back(self, *, timeout_s: float, watch: Watch) -> Status:
        """Go back to what served before: to the base where another one is on its way or serves a part."""
        rollout = self.status.rollout
        coming = rollout is not None and rollout.phase == "starting"
        if coming or any(one.share > 0.0 and not one.is_base for one in self.status.generations):
            return self._wished(wish(self.base), timeout_s, watch)
        if len(self.status.history) < 2:
            step = f"`harmoniac up OLD --over {self.word}` has the bundle serve that lies in OLD"
            raise _refused(f"`{self.named}` has no generation before the one that serves", step)
        return self._wished(wish(self.status.history[-2]), timeout_s, watch)

    def _check(self, new: Path, number: int, share: float, *, make_room: bool) -> None:
        """Raise `Rejected` with all that speaks against replacing the service by a bundle."""
        coming, base = load(self.bundle, self.run.path, number), load(self.bundle, self.run.path, self.base)
        given: Mapping[str, str] = {}
        with contextlib.suppress(psutil.Error):
            given = psutil.Process(self.keeper.pid).environ()
        found = [*self._unheard(new, coming, base, given), *self._unlike(new, coming, base)]
        if read_contents(new).target != read_contents(self.bundle).target:
            found.append(self._objection(f"`{new}` is of another target"))
        if found:
            raise Rejected(in_order(found))
        found = [finding for finding in preflight(new, None, given) if finding.is_error]
        kept = {spec.likeness for spec in base.specs}
        added = [spec for spec in as_many(coming, share) if spec.likeness not in kept]
        lacks = lacking(
            [spec.need for spec in base.specs], [spec.need for spec in added], usable_cpus(), usable_memory_gib()
        )
        if lacks and not make_room:
            engines = ", ".join(f"`{name}`" for name in dict.fromkeys(spec.engine for spec in added))
            step = (
                f"`harmoniac up {shell_word(new)} --over {self.word} --make-room` ends replicas that run first, engine "
                f"by engine; what needs {engines} is refused with 503 while there is none"
            )
            message = f"both do not fit on this machine at once: the new replicas lack {'; '.join(lacks)}"
            found.append(Diagnostic("E0919", message, help=step))
        if found:
            raise Rejected(in_order(found))

    def _unheard(self, new: Path, coming: Generation, base: Generation, given: Mapping[str, str]) -> list[Diagnostic]:
        """The variables that a bundle reads at its start, and that the processes that run were not given."""
        known = {*base.documents.processes.gateway.late.values()}
        wanted = {*coming.documents.processes.gateway.late.values()} - known
        for spec in coming.specs:
            wanted |= {*spec.launch.late.values()} - given.keys()
        return [
            self._objection(f"`{new}` reads the environment variable `{name}`, which the service was started without")
            for name in sorted(wanted)
        ]

    def _unlike(self, new: Path, coming: Generation, base: Generation) -> list[Diagnostic]:
        """The stores that are started otherwise: their data cannot be had by two processes at once."""
        known = {spec.data: spec.likeness for spec in base.specs}
        return [
            self._objection(f"`{spec.engine}` of `{new}` keeps its data where that of the service does, and differs")
            for spec in coming.specs
            if is_stateful(spec.data) and known.get(spec.data, spec.likeness) != spec.likeness
        ]

    def _objection(self, why: str) -> Diagnostic:
        step = f"`harmoniac down {self.word}`, then start the new one"
        return Diagnostic("E0918", f"`{self.named}` cannot be replaced while it runs: {why}", help=step)

    def _wished(self, wanted: Wish, timeout_s: float, watch: Watch) -> Status:
        """Say what is wished and wait until it is so; raises NotStarted where it comes to nothing."""
        try:
            self.run.write(ROLLOUT, msgspec.json.encode(wanted))
            return self._awaited(wanted, timeout_s, watch)
        except (NotStarted, KeyboardInterrupt):
            self._withdraw(wanted)
            raise

    def _withdraw(self, wanted: Wish) -> None:
        """Let the service be as it was, unless the wish has come true, to nothing, or been followed by another one."""
        self._look()
        rollout, last = self.status.rollout, wish_in(self.run.path)
        if rollout is not None and rollout.id == wanted.id:
            is_open = rollout.phase == "starting"
        else:
            # Nobody has said yet that it is seen.
            is_open = last is not None and last.id == wanted.id
        if is_open:
            self.run.write(ROLLOUT, msgspec.json.encode(wish(self.base)))

    def _look(self) -> bool:
        """Take in what the supervisor says now, if anything."""
        state = state_by(self.keeper, self.run)
        if state is not None:
            self.status = state.status
        return state is not None

    def _awaited(self, wanted: Wish, timeout_s: float, watch: Watch) -> Status:
        until = time.monotonic() + timeout_s
        while True:
            if self._look():
                watch(self.status)
                rollout = self.status.rollout
                if rollout is not None and rollout.id == wanted.id and rollout.phase == "done":
                    return self.status
                if rollout is not None and rollout.id == wanted.id and rollout.phase == "failed":
                    raise self._given_up(rollout.process or SUPERVISOR, rollout.why)
            if keeper_of(self.bundle, self.run) is None:
                raise self._given_up(SUPERVISOR, "it ended")
            if time.monotonic() > until:
                raise self._given_up(*self._late(timeout_s))
            time.sleep(_LOOK_EVERY_S)

    def _late(self, timeout_s: float) -> tuple[str, str]:
        for process in self.status.beside:
            if process.phase not in ("ready", "stopping") and process.waiting_for:
                return process.name, f"after {timeout_s:g} s in all it still waits for {process.waiting_for}"
        return SUPERVISOR, f"it did not get that far after {timeout_s:g} s in all"

    def _given_up(self, process: str, why: str) -> NotStarted:
        return not_replaced(self.named, process, why, tail(self.run.log_of(process), SHOWN_LINES))


def _refused(message: str, step: str) -> Rejected:
    return Rejected([Diagnostic("E0926", message, help=step)])
