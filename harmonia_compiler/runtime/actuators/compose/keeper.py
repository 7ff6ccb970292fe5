"""The keeper of a `compose` bundle: a process of the host that starts the containers and sees how they stand.

    python -m harmonia_compiler.runtime.actuators.compose.keeper DIR [--port N] [--reembed]

It holds `DIR/run/lock` as long as it lives, and says in `DIR/run/state.json` how things stand. Docker itself starts a
container again that ends; the keeper readies it, tells the gateway where it is, and starts what somebody else stopped.
SIGTERM ends the service. Where the keeper is killed, the containers go on, and the next one finds them as they are.
Of a plan over several hosts it has one host's part, and a keeper on each of the others has theirs.

A replica that does not come up at the first start ends the start: everything is stopped again, and the state says which
one it was and why. What was up and is taken over is never stopped for that.
"""

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harmonia_compiler.contract.launch import FOR_GATEWAY, Probe
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.kinds.milvus import is_standalone
from harmonia_compiler.runtime import bundle as bundles
from harmonia_compiler.runtime.actuators.actuator import Failure, Phase, Status
from harmonia_compiler.runtime.actuators.compose import preparing
from harmonia_compiler.runtime.actuators.compose.containers import Life, life_of
from harmonia_compiler.runtime.actuators.compose.counts import Counts
from harmonia_compiler.runtime.actuators.compose.docker import ORDER_S, Docker, DockerFailed
from harmonia_compiler.runtime.actuators.compose.engine import is_another
from harmonia_compiler.runtime.actuators.compose.laid import Laid
from harmonia_compiler.runtime.actuators.compose.places import Places
from harmonia_compiler.runtime.actuators.compose.reading import ComposeBundle, read_compose_bundle
from harmonia_compiler.runtime.actuators.compose.watched import Watched
from harmonia_compiler.runtime.actuators.supervision import pids, rundir
from harmonia_compiler.runtime.actuators.supervision.ending import FAILED, GRACE_S, HELD_BY_ANOTHER, STOPPED
from harmonia_compiler.runtime.actuators.supervision.entering import enter
from harmonia_compiler.runtime.actuators.supervision.logs import Logs
from harmonia_compiler.runtime.actuators.supervision.placing import delay_s
from harmonia_compiler.runtime.actuators.supervision.store import expected_of
from harmonia_compiler.runtime.told import Told

LOG = logging.getLogger(__name__)

#: How often the containers are looked at, in seconds: each look is two commands.
_LOOK_EVERY_S = 1.0
#: For how many looks a container may be away before it is started: Docker does so itself, unless it was told not to.
_AWAY_LOOKS = 4
#: How long Docker may not answer at a first start, in seconds, and have the last words of what has ended.
_UNSEEN_S, _HEARD_OUT_S = 60.0, 5.0
#: Why nothing newer is known where not even that Docker does not answer is said.
_ASKED = "Docker has not said anything since, or whoever asks it is halted"


class Keeper:
    """One service from start to stop."""

    def __init__(self, bundle: Path, run: rundir.RunDirectory, asked: rundir.Asked, me: pids.Ident) -> None:
        last = _last_said(run)
        #: Whether all was up before: it is taken over from an earlier keeper as it was started, or made anew.
        self._was_up = last is not None and last.is_up
        outer = dict(os.environ)
        if last is not None and self._was_up:
            asked = msgspec.structs.replace(asked, reembed=asked.reembed or last.asked.reembed)
        if last is not None and last.may_leave:
            outer = {**last.given, **outer}
        self._given = {name: outer[name] for name in FOR_GATEWAY if name in outer}
        self._bundle, self._run, self._asked, self._me = bundle, run, asked, me
        self._documents = read_compose_bundle(bundle.resolve(), os.environ)
        self._docker = Docker(bundle, outer, self._documents.files)
        self._counts = Counts(self._documents, run, self._docker)
        self._engine = "" if last is None else last.engine
        self._folder = run.identity
        #: Where the folder was when the containers were made, and when Docker was last told to make them.
        self._made_at = self._told_at = bundle.resolve()
        if last is not None and last.may_leave and last.place:
            self._made_at = Path(last.place)
        self._asked_for, self._ask_at = 0, 0.0
        self._phase: Phase = "starting"
        self._failure: Failure | None = None
        self._places = Places(self._documents, run)
        #: When Docker said last how things stand, by a clock that nobody sets; and why it has not done so since.
        self._seen, self._trouble = time.monotonic(), _ASKED
        #: What this machine refused at the last look, and what was warned of last.
        self._refused = self._warned = ""
        self._laid = Laid(bundle, self._documents, run, self._counts.answer)
        self._logs = Logs(run)
        self._logs.open(bundles.SUPERVISOR)
        self._away: dict[str, int] = {}
        self._tries: dict[str, int] = {}
        self._starting: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self._again_at: float | None = None
        #: Whether the containers stayed at the end, since Docker did not remove them.
        self.leaves_some = False
        self._further = {one.replica for one in self._documents.here if one.further}
        #: What this host has beside its replicas, in the order in which it starts.
        self._front = (bundles.GATEWAY, bundles.CONTROLLER) if self._documents.is_front else ()
        self._watched = {one.name: one for one in self._everyone(self._documents, reembed=asked.reembed)}

    def serve(self, stop: Told) -> int:
        """Start everything, keep it up until told to stop, and stop it; gives the exit code."""
        try:
            self._write()
            self._docker.end_orders()
            if (running := self._there(stop)) is not None:
                self._prepare(running)
                self._up()
            while not stop.is_set() and self._failure is None and self.has_folder():
                with self._enduring():
                    self._look()
                stop.wait(_LOOK_EVERY_S)
            if not self.has_folder():
                LOG.warning("the folder of the bundle has been removed")
        except Rejected as rejected:
            self._failure = Failure(bundles.SUPERVISOR, "; ".join(finding.message for finding in rejected.found))
        except OSError as problem:
            self._failure = Failure(bundles.SUPERVISOR, f"this machine refuses it: {problem}")
        finally:
            self._laid.close()
            if self._was_up and not stop.is_set() and self.has_folder():
                self._leave()
            else:
                self._stop(stop)
        return STOPPED if self._failure is None else FAILED

    def has_folder(self) -> bool:
        """Whether the folder of the run is still there: without it nobody could see or stop this service.

        What was put in its place is another's, of which nothing is written or removed.
        """
        with contextlib.suppress(OSError):
            return self._run.identity == self._folder
        return False

    @contextlib.contextmanager
    def _enduring(self) -> Iterator[None]:
        """What this machine refuses ends a first start. What has been up goes on, and it is told and tried again."""
        try:
            yield
        except (OSError, Rejected) as problem:
            if not self._has_been_up:
                raise
            self._refused = str(problem)
            self._warn(f"this machine refuses it: {problem}")
            self._write()

    @property
    def _has_been_up(self) -> bool:
        """Whether all of it was up, of this keeper or of an earlier one."""
        return self._was_up or self._phase == "running"

    def _there(self, stop: Told) -> dict[str, Life] | None:
        """Which containers there are already; None where it is told to end before Docker says so.

        Of a service that was up Docker is asked until it answers. Raises OSError where it does not of another,
        and where it is not the one that they are in.
        """
        self._docker.stay()
        while True:
            try:
                lives = self._lives()
                answers = self._docker.engine()
                if is_another(self._engine, answers, is_found=bool(lives)):
                    raise OSError("its containers are in another engine of Docker's than what answers here")
                # Where it does not say, it is the one of which it is known.
                self._engine = answers or self._engine
            except DockerFailed as problem:
                if stop.is_set():
                    return None
                if not self._was_up:
                    raise OSError(str(problem)) from problem
                self._is_unseen(problem)
            else:
                return lives
            stop.wait(_LOOK_EVERY_S)

    def _prepare(self, running: dict[str, Life]) -> None:
        """Put in place what the containers find on this host, and take over those that run already."""
        self._places.recall()
        if not running:
            # Of a service of which nothing is there, nothing is taken over.
            self._was_up, self._made_at = False, self._told_at
        else:
            self._adopt(running)
        if self._front:
            self._places.choose(self._asked.port, running)
            shown = self._watched[bundles.GATEWAY]
            shown.port = self._places.address_inside.port
            shown.status = msgspec.structs.replace(shown.status, port=self._places.address.port)
        self._laid.begin(self._places.address.port)

    def _adopt(self, running: dict[str, Life]) -> None:
        """Take over what has served: of a service that was up all, also what starts again, or is gone, just now."""
        served = self._places.called | {bundles.GATEWAY, bundles.CONTROLLER}
        for name, one in self._watched.items():
            life = running.get(name)
            if life is not None and (self._was_up or (name in served and life.is_well)):
                LOG.info("%s is there already", name)
                one.adopt(life)
            elif life is not None:
                one.begin_after(life)
            elif self._was_up and name not in self._further:
                one.adopt(None)

    def _look(self) -> None:
        self._refused = ""
        with self._enduring():
            self._logs.keep()
            self._laid.keep()
        # Before it is asked what there is: what is started at this moment is not gone, and what is ended is not there;
        # and where Docker could not start all, it is seen which one ended.
        if self._starting is not None:
            self._starting.poll()
        leaving = {name for name, one in self._watched.items() if one.leaving}
        sees_to_all = self._phase != "starting" or (self._was_up and self._has_started)
        try:
            lives = self._lives()
        except DockerFailed as problem:
            self._is_unseen(problem)
            if not self._has_been_up and time.monotonic() - self._seen > _UNSEEN_S:
                self._failure = Failure(bundles.SUPERVISOR, self._trouble)
            return
        self._ask_engine()
        wanted, anew = self._wanted, self._is_made_anew()
        for name, one in self._watched.items():
            life = lives.get(name)
            with self._enduring():
                one.look(life)
            if sees_to_all and not anew and name not in leaving:
                self._see_to(one, life, wanted=name in wanted)
        # What is made anew ends first: that is no failure.
        if self._phase == "starting" and not anew:
            # Those that the controller adds are started once the rest is up, or was when it was taken over.
            self._see_how_it_starts(wanted - self._further - {bundles.CONTROLLER})
        self._places.write(self._watched)
        self._write()
        if not self._refused:
            self._warned = ""

    def _is_unseen(self, problem: DockerFailed) -> None:
        """Say that how things stand is not known any more."""
        self._trouble = f"Docker does not answer: {problem}"
        self._warn(self._trouble)
        self._write()

    def _warn(self, of: str) -> None:
        """Say in the log what may be so from look to look for days, once."""
        if of != self._warned:
            LOG.warning("%s", of)
        self._warned = of

    def _ask_engine(self) -> None:
        """Ask in which engine the containers are as long as it does not say: soon at first, then ever later."""
        if not self._engine and time.monotonic() >= self._ask_at:
            self._asked_for += 1
            self._engine = self._docker.engine()
            self._ask_at = time.monotonic() + delay_s(self._asked_for)

    @property
    def _has_started(self) -> bool:
        """Whether Docker has started, at the beginning, all that did not run."""
        return self._starting is not None and self._starting.poll() == 0

    @property
    def _wanted(self) -> set[str]:
        """All that is to run on this host."""
        return {*self._counts.wanted(), *self._front}

    def _is_made_anew(self) -> bool:
        """Whether containers look for the folder where it was; where it was moved just now, have them made anew.

        Docker would start them with what lies there meanwhile, which may be another bundle's.
        """
        here = self._told_at
        with contextlib.suppress(OSError):
            here = self._bundle.resolve()
        if here != self._told_at:
            LOG.warning("the folder was moved from %s to %s: its containers are made anew", self._told_at, here)
            self._docker.end_orders()
            if self._starting is not None:
                self._starting.wait()
            self._told_at, self._again_at = here, None
            if self._phase == "running":
                # It goes on with what it was, as where it is taken over, until all of it answers again.
                self._phase, self._was_up = "starting", True
            self._up()
        if self._made_at != self._told_at and self._has_upped():
            LOG.info("the containers are made for %s", self._told_at)
            self._made_at = self._told_at
        return self._made_at != self._told_at

    def _up(self) -> None:
        """Have Docker start what does not run, and make anew what is not as the files say."""
        # One that the controller has added is not started with the others, but was made with them at another place.
        those = sorted(self._wanted) if self._made_at != self._told_at else []
        self._starting = self._docker.up(those, sys.stdout.buffer, alone=False)

    def _has_upped(self) -> bool:
        """Whether Docker has started all. Where it fails, it is told again, or this is the failure of a first start."""
        code = None if self._starting is None else self._starting.returncode
        if code and self._was_up:
            self._start_again(code)
        elif code:
            self._failure = Failure(bundles.SUPERVISOR, f"`docker compose up` exits {code}")
        return code == 0

    def _see_how_it_starts(self, wanted: set[str]) -> None:
        for name in sorted(wanted):
            if why := self._watched[name].failure():
                self._failure = Failure(name, why)
                LOG.warning("%s: %s", name, why)
                return
        if self._has_upped() and all(self._watched[name].is_ready for name in wanted):
            self._phase = "running"

    def _start_again(self, code: int) -> None:
        """Have Docker start what does not run, which exited with this code: soon at first, then ever later."""
        if self._again_at is None:
            self._failures += 1
            takes = delay_s(self._failures)
            self._again_at = time.monotonic() + takes
            LOG.warning("`docker compose up` exits %s, and is tried again in %g s", code, takes)
        elif time.monotonic() >= self._again_at:
            self._again_at = None
            self._up()

    def _see_to(self, one: Watched, life: Life | None, *, wanted: bool) -> None:
        """Start what should run and does not; let go what runs and should not."""
        if not wanted:
            if life is not None:
                LOG.info("%s is ended", one.name)
                self._counts.let_go(one)
            return
        if life is not None and life.state in ("running", "restarting", "paused"):
            self._away[one.name] = 0
            self._tries[one.name] = 0 if life.is_well else self._tries.get(one.name, 0)
            return
        looks = self._away[one.name] = self._away.get(one.name, _AWAY_LOOKS - 1) + 1
        tries = self._tries.get(one.name, 0)
        if looks >= max(_AWAY_LOOKS, delay_s(tries + 1) / _LOOK_EVERY_S):
            LOG.info("%s is started", one.name)
            self._away[one.name], self._tries[one.name] = 0, tries + 1
            self._docker.up([one.name], sys.stdout.buffer).wait()

    def _leave(self) -> None:
        """End alone: the containers of a service that was up go on as they are, and another may take them over."""
        # What it is about to put in the place of a container shall be there.
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._starting is not None:
                self._starting.wait(ORDER_S)
        for one in self._watched.values():
            one.close()
        self._phase = "failed"
        self._write()

    def _stop(self, stop: Told) -> None:
        """The gateway first, so that no request loses its engines, then everything.

        Where the folder is gone, nobody could end it later: Docker is told until it does so, or this process is to end.
        """
        self._was_up = False
        if self._failure is None:
            self._phase = "stopping"
            self._write()
        self._docker.end_orders()
        if self._starting is not None:
            self._starting.wait()
        with contextlib.suppress(DockerFailed):
            if self._front:
                self._docker.halt(GRACE_S, bundles.GATEWAY)
            self._docker.halt(GRACE_S)
            self._hear_out()
        while not self._removes():
            if self.has_folder() or stop.is_set():
                self.leaves_some = True
                break
            self._failures += 1
            stop.wait(delay_s(self._failures))
        for one in self._watched.values():
            one.close()
        if not self.leaves_some:
            self._engine = ""
            if self.has_folder():
                preparing.remove(self._bundle)
        if self._failure is not None:
            self._phase = "failed"
        if self._failure is not None or self.leaves_some:
            self._write()

    def _hear_out(self) -> None:
        """Have in the logs all that was said by what has ended, which Docker forgets with its containers."""
        until = time.monotonic() + _HEARD_OUT_S
        for name, life in self._lives().items():
            with contextlib.suppress(KeyError, OSError):
                self._watched[name].hear_out(life, max(0.0, until - time.monotonic()))

    def _removes(self) -> bool:
        """End and remove everything but data in the engine that it is in; whether Docker did."""
        try:
            if is_another(self._engine, self._docker.engine(), is_found=bool(self._docker.containers())):
                LOG.warning("another engine of Docker's answers than the one that the containers are in")
                return False
            self._docker.down(GRACE_S)
        except DockerFailed as problem:
            LOG.warning("the containers could not be removed: %s", problem)
            return False
        return True

    def _lives(self) -> dict[str, Life]:
        found = self._docker.containers()
        self._seen, self._trouble = time.monotonic(), _ASKED
        return {name: life_of(one) for name, one in found.items()}

    def _write(self) -> None:
        """Say how things stand."""
        if not self.has_folder():
            return
        try:
            state = rundir.State(
                self._me,
                self._status(),
                self._asked,
                self._folder,
                self._was_up,
                self._given,
                self._engine,
                self.leaves_some,
                self._docker.project,
                str(self._made_at),
                self._seen,
                self._trouble,
            )
            self._run.write(rundir.STATE, msgspec.json.encode(state))
        except OSError as problem:
            LOG.warning("the state cannot be written: %s", problem)
            if self._phase == "starting" and self._failure is None and not self._was_up:
                raise

    def _status(self) -> Status:
        wanted, services = {*self._counts.wanted()}, self._documents.here
        # One that the controller adds is no part of the service before it has served: all is well without it.
        joined = {one.replica for one in services if not one.further or self._watched[one.replica].was_ready} & wanted
        replicas = [self._watched[one.replica].status for one in services]
        front = [self._watched[name].status for name in self._front]
        served = tuple(one for one in replicas if one.name in joined)
        others = tuple(one for one in replicas if one.name not in joined and one.phase != "waiting")
        address = self._places.address
        url = f"http://{address.host}:{address.port}" if address.port else ""
        is_moved = self._made_at != self._told_at and self._phase == "starting"
        notes = [f"the folder was moved from `{self._made_at}`: its containers are made anew"] if is_moved else []
        if self._refused:
            notes.append(f"its keeper cannot do all that it should: {self._refused}")
        everyone, beside = (*served, *front[:1]), (*others, *front[1:])
        return Status(self._phase, everyone, self._failure, url, tuple(notes), beside=beside)

    def _everyone(self, documents: ComposeBundle, *, reembed: bool) -> list[Watched]:
        launches = documents.launches
        found = []
        for one in documents.here:
            launch = launches[one.replica].launch
            probe, ours = launch.probe, not is_standalone(launch)
            stored = probe.transport == "milvus"
            expected = expected_of(documents.service, one.engine, may_differ=reembed) if stored else []
            found.append(
                Watched(one.replica, one.engine, probe, one.port, tuple(expected), self._docker, self._run, ours)
            )
        if not documents.is_front:
            return found
        probe = documents.services.gateway.probe
        gateway = Watched(bundles.GATEWAY, "", probe, 0, (), self._docker, self._run)
        controller = Watched(bundles.CONTROLLER, "", Probe("none"), 0, (), self._docker, self._run)
        return [*found, gateway, controller]


def _last_said(run: rundir.RunDirectory) -> rundir.State | None:
    """What was said last of a service that nobody has cleaned up after."""
    with contextlib.suppress(rundir.Damaged):
        return run.read_state()
    return None


def keep(bundle: Path, asked: rundir.Asked) -> int:
    """Look after a bundle until told to stop; gives the exit code."""
    # This process's own folder stays the bundle's where that is moved: from here on everything is found from there.
    os.chdir(bundle)
    bundle = Path()
    run = rundir.RunDirectory(bundle)
    run.prepare()
    lock = run.lock()
    if lock is None:
        return HELD_BY_ANOTHER
    me = pids.identify(os.getpid())
    assert me is not None
    run.sign(lock, me)
    keeper = Keeper(bundle, run, asked, me)
    code = keeper.serve(Told())
    if code == STOPPED and not keeper.leaves_some and keeper.has_folder():
        run.clear()
    return code


if __name__ == "__main__":
    enter("harmonia_compiler.runtime.actuators.compose.keeper", keep)
