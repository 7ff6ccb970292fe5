"""The actuator of target `slurm`: what `up`, `status`, `down` and `logs` do, on a machine that has Slurm's commands.

The jobs of a service bear a name of their own, so that Slurm itself says which there are; the folder says the rest.
So a service is found again wherever the folder is seen, also where the command that submitted it was killed on the
way.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from harmonia_compiler.contract.slurm import SCRIPT, SlurmFurther
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.shell import shell_word
from harmonia_compiler.runtime.actuators.actuator import NotStarted, ProcessStatus, Status, Watch
from harmonia_compiler.runtime.actuators.slurm.commands import (
    Queued,
    SlurmFailed,
    cancel,
    how_ended,
    last_of,
    outside,
    queue,
    submit,
)
from harmonia_compiler.runtime.actuators.slurm.folder import MORE, Owner, Run, SharedFolder, job_of
from harmonia_compiler.runtime.actuators.slurm.keeping import GATEWAY_GRACE_S, JOB_LOG, read_job
from harmonia_compiler.runtime.actuators.slurm.preflight import preflight
from harmonia_compiler.runtime.actuators.supervision.beside import last_words
from harmonia_compiler.runtime.actuators.supervision.ending import GRACE_S
from harmonia_compiler.runtime.actuators.supervision.preflight import models_of
from harmonia_compiler.runtime.actuators.supervision.refusing import (
    SHOWN_LINES,
    check_asked,
    given_up,
    not_started,
    not_stopped,
    unusable,
)
from harmonia_compiler.runtime.actuators.supervision.rundir import Asked, RunDirectory
from harmonia_compiler.runtime.actuators.supervision.scaling import want
from harmonia_compiler.runtime.actuators.supervision.tailing import lines_of, tail
from harmonia_compiler.runtime.bundle import CONTROLLER, GATEWAY

_LOOK_EVERY_S = 0.5
#: How often at least Slurm is asked about a job that waits in its queue, in seconds: so often a scheduler decides.
_ASK_EVERY_S = 5.0
#: How long a job has to stop everything, the gateway's grace, the replicas', and what Slurm takes for it.
_END_S = GATEWAY_GRACE_S + 2 * GRACE_S + 15.0
#: How often a job is told to end, in seconds: what Slurm sends it before its script has started is lost.
_TELL_EVERY_S = 2.0
#: How long the queue may not know of a job that it took, in seconds.
_UNKNOWN_S = 10.0


class Slurm:
    """See `Actuator`; each method is that one's."""

    def preflight(self, bundle: Path, *, port: int | None) -> list[Diagnostic]:  # noqa: ARG002 - a node's, not ours
        """See `Actuator.preflight`."""
        bundle = bundle.resolve()
        return [] if self._jobs(bundle) else preflight(bundle, os.environ)

    def models(self, bundle: Path) -> Sequence[str]:
        """See `Actuator.models`; they are the nodes' where the model store lies in a folder that all of them see."""
        documents, _ = read_job(bundle)
        return models_of(documents.processes.replicas)

    def start(self, bundle: Path, *, port: int | None, reembed: bool, timeout_s: float, watch: Watch) -> bool:
        """See `Actuator.start`."""
        bundle, asked = bundle.resolve(), Asked(port, reembed)
        ours = ""
        try:
            with _locked(bundle) as is_ours:
                if is_ours and not self._jobs(bundle):
                    ours = self._submit(bundle, asked)
            self._await_ready(bundle, ours, timeout_s, watch)
        except (NotStarted, KeyboardInterrupt) as problem:
            if ours:
                try:
                    self.stop(bundle)
                except Rejected as refused:
                    if isinstance(problem, NotStarted):
                        raise not_stopped(bundle, problem, refused) from problem
            raise
        if not ours:
            _check_asked(bundle, asked, SharedFolder(bundle).run())
        return bool(ours)

    def status(self, bundle: Path) -> Status:
        """See `Actuator.status`."""
        named, bundle = shell_word(bundle), bundle.resolve()
        folder = SharedFolder(bundle)
        run = folder.own_run()
        if run is None:
            return Status("down")
        owner = folder.owner()
        try:
            queued = queue(run.name)
            jobs = [one for one in queued if one.name == run.name]
            if not jobs:
                return _ended(bundle, folder, run, named)
        except SlurmFailed as failed:
            return _unseen(folder, owner, failed)
        served = "" if owner is None else job_of(owner.life)
        serving = max(jobs, key=lambda one: (*_is_up(one, folder), one.job == served))
        others = tuple(_about(one, folder) for one in jobs if one is not serving)
        before = folder.state(owner.life) if owner is not None and served not in {one.job for one in jobs} else None
        others += () if before is None else before.status.notes
        state = folder.state(folder.last_life(serving.job))
        # A job that was queued anew has not begun its next life then.
        if serving.is_pending or state is None or state.status.phase == "down":
            waiting = _waiting(JOB_LOG, serving)
            return Status("starting", (waiting,), notes=(f"job {serving.job}", *others))
        status = state.status
        is_stale = not serving.is_running
        halted = (f"job {serving.job} is {serving.state.lower()} for Slurm, and said this before",) if is_stale else ()
        reach = _reach(status.url, state.node) if status.url else ()
        beside = (*status.beside, *(_on_top(one, run, folder) for one in queued if one.name != run.name))
        notes = (f"job {serving.job}", *reach, *others, *status.notes, *halted)
        said = last_words(bundle / "run")
        return msgspec.structs.replace(status, said=said, notes=notes, beside=beside, is_stale=is_stale)

    def room(self, bundle: Path) -> Mapping[str, Sequence[str]]:
        """See `Actuator.room`."""
        documents, job = read_job(bundle)
        beside = {one.engine: one.names for one in job.further}
        engines = dict.fromkeys(one.engine for one in documents.processes.replicas)
        return {engine: beside.get(engine, ()) for engine in engines if _may_change(engine, job.further)}

    def scale(self, bundle: Path, replicas: Mapping[str, int]) -> None:
        """See `Actuator.scale`: the head of the job that serves sees to it."""
        want(RunDirectory(bundle.resolve()), replicas)

    def stop(self, bundle: Path) -> bool:
        """See `Actuator.stop`."""
        bundle = bundle.resolve()
        folder = SharedFolder(bundle)
        run = folder.own_run()
        if run is None:
            return False
        try:
            _end_all(run.name)
        except SlurmFailed as failed:
            raise _does_not_answer(failed) from failed
        # What serves on a node that Slurm has given up says where as long as its folder is there.
        folder.clear()
        RunDirectory(bundle).clear()
        return True

    def absent(self, bundle: Path) -> frozenset[str]:
        """See `Actuator.absent`; the store is a node's, and not reached from here."""
        return frozenset(name for process in self.status(bundle).processes for name in process.absent)

    def log_names(self, bundle: Path) -> list[str]:
        """See `Actuator.log_names`."""
        documents, job = read_job(bundle)
        run = RunDirectory(bundle)
        further = [name for one in job.further for name in one.names if run.log_of(name).is_file()]
        beside = [CONTROLLER] if run.log_of(CONTROLLER).is_file() else []
        return [*(one.replica for one in documents.processes.replicas), *further, GATEWAY, *beside, JOB_LOG]

    def log(self, bundle: Path, names: Sequence[str], *, lines: int, follow: bool) -> Iterator[tuple[str, str]]:
        """See `Actuator.log`."""
        logs = {name: _log_of(bundle, name) for name in names}
        return lines_of(logs, lines=lines, follow=follow, look_every_s=_LOOK_EVERY_S)

    def _jobs(self, bundle: Path) -> list[Queued]:
        """The jobs of the service that have not ended, without those of replicas on top, which are nothing alone."""
        run = SharedFolder(bundle).own_run()
        if run is None:
            return []
        try:
            return [one for one in queue(run.name) if one.name == run.name]
        except SlurmFailed as failed:
            raise _does_not_answer(failed) from failed

    def _end_left(self, bundle: Path) -> None:
        """End the jobs of replicas that came on top of a service whose own job has gone."""
        run = SharedFolder(bundle).own_run()
        if run is None:
            return
        try:
            for one in queue(run.name):
                cancel(one)
        except SlurmFailed as failed:
            raise _does_not_answer(failed) from failed

    def _submit(self, bundle: Path, asked: Asked) -> str:
        self._end_left(bundle)
        run = RunDirectory(bundle)
        documents, job = read_job(bundle)
        late = {
            name: os.environ[name]
            for launch in documents.processes.launches
            for name in launch.late.values()
            if name in os.environ
        }
        outer = {name: value for name, value in os.environ.items() if name not in late}
        try:
            run.clear_state()
            for log in run.logs.glob("*.log"):
                log.replace(log.with_suffix(".log.1"))
            named = SharedFolder(bundle).begin(asked, late)
            return submit(bundle, SCRIPT, named.name, (), outside(outer, job.site))
        except OSError as problem:
            raise unusable(run, problem) from problem
        except SlurmFailed as failed:
            SharedFolder(bundle).clear()
            step = f"`sbatch --test-only {SCRIPT}` in the bundle says the same; mend the site profile, or plan anew"
            raise Rejected([Diagnostic("E0936", f"Slurm refuses the job: {failed}", help=step)]) from failed

    def _await_ready(self, bundle: Path, ours: str, timeout_s: float, watch: Watch) -> None:
        """Return once the service is up; raises `NotStarted`."""
        began = there = time.monotonic()
        while not (status := self.status(bundle)).is_running:
            # What cleans up is no matter of a start, which does so itself.
            watch(status if status.phase != "down" else msgspec.structs.replace(status, notes=status.notes[:1]))
            now = time.monotonic()
            if status.is_stale or status.phase not in ("down", "failed"):
                there = now
            if status.failure is not None:
                raise _not_started(bundle, status.failure.process, status.failure.reason)
            if now - there > _UNKNOWN_S:
                raise _not_started(bundle, JOB_LOG, status.notes[0] if status.notes else "it ended")
            if now - began > timeout_s:
                raise _late(bundle, status, timeout_s, goes_on=not ours)
            is_queued = status.is_stale or any(one.name == JOB_LOG for one in status.processes)
            time.sleep(min(_ASK_EVERY_S, max(_LOOK_EVERY_S, (now - began) / 10)) if is_queued else _LOOK_EVERY_S)
        watch(status)


@contextlib.contextmanager
def _locked(bundle: Path) -> Iterator[bool]:
    """Whether this command alone may submit, for as long as it is asked; others wait for what it submits."""
    run = RunDirectory(bundle)
    run.prepare()
    lock = run.try_lock()
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)


def _check_asked(bundle: Path, asked: Asked, run: Run | None) -> None:
    """Raise `Rejected` where a service that runs was started with other options than these."""
    if run is not None:
        check_asked(bundle, asked, run.asked, run.asked.port)


def _late(bundle: Path, status: Status, timeout_s: float, *, goes_on: bool) -> NotStarted:
    """Which process a start still waits for, and for what, where its time is over."""
    after = f"after {timeout_s:g} s in all"
    if status.is_stale:
        return _not_started(bundle, JOB_LOG, f"{after} {status.notes[-1]}", goes_on=goes_on)
    late = next((one for one in status.processes if one.phase != "ready"), None)
    name, waits = (JOB_LOG, "Slurm") if late is None else (late.name, late.waiting_for)
    why = f"{after} it still waits for {waits}"
    if name != JOB_LOG or goes_on:
        return _not_started(bundle, name, why, goes_on=goes_on)
    # It has not begun, and has written nothing.
    return given_up(name, why, "wait longer, as with `--timeout 2h`; what was submitted is taken back", [])


def _unseen(folder: SharedFolder, owner: Owner | None, failed: SlurmFailed) -> Status:
    """Of a service of whose jobs Slurm does not say whether they are there: what the one says that serves."""
    lives = folder.lives()
    serving = owner.life if owner is not None else lives[-1] if lives else ""
    state = folder.state(serving) if serving else None
    status = Status("starting") if state is None else state.status
    notes = (*status.notes, f"Slurm does not say which jobs there are: {failed}")
    return msgspec.structs.replace(status, notes=notes, is_stale=True)


def _ended(bundle: Path, folder: SharedFolder, run: Run, named: str) -> Status:
    """Of a service none of whose jobs is there any more: why, as far as anybody says; `named` is its bundle.

    Raises `SlurmFailed`.
    """
    lives = folder.lives()
    state = folder.state(lives[-1]) if lives else None
    if state is not None and state.status.failure is not None:
        return Status("down", failure=state.status.failure, notes=("the last start failed",))
    last = last_of(run.name)
    if state is not None and state.status.phase == "down" and state.status.notes:
        ended = "; ".join(state.status.notes)
    elif last is None:
        ended = "its job ended, and Slurm does not remember how"
    else:
        ended = f"job {last.job} ended: {how_ended(last)}"
        if last.state == "FAILED" and not RunDirectory(bundle).log_of(f"{JOB_LOG}-{last.job}").is_file():
            ended += f", and it wrote nothing: its nodes have to see `{bundle}` where it is here"
    return Status("down", notes=(ended, f"`harmoniac up {named}` starts it again, `harmoniac down {named}` cleans up"))


def _waiting(name: str, job: Queued) -> ProcessStatus:
    """A process of a job that has not begun."""
    waits = job.waits_for if job.is_pending else "its script to start"
    return ProcessStatus(name, "", "waiting", time.time(), waiting_for=waits)


def _on_top(job: Queued, run: Run, folder: SharedFolder) -> ProcessStatus:
    """A replica that came on top, in a job of its own."""
    name = job.name.removeprefix(f"{run.name}.")
    said = None if job.is_pending else folder.of(folder.last_life(f"{MORE}{job.job}"), name).status()
    return _waiting(name, job) if said is None else said


def _is_up(job: Queued, folder: SharedFolder) -> tuple[bool, bool]:
    """Whether a job has said that it is up, and whether it is there at all.

    Who has the service since a moment ago is up only once clients find it; until then they find the one before.
    """
    state = None if job.is_pending else folder.state(folder.last_life(job.job))
    phase = "down" if state is None else state.status.phase
    return phase == "running", phase != "down"


def _about(job: Queued, folder: SharedFolder) -> str:
    """A sentence about a job beside the one that serves."""
    if job.is_pending:
        return f"job {job.job} is to take over, and waits for {job.waits_for}"
    if not job.is_running:
        return f"job {job.job} is {job.state.lower()} for Slurm"
    state = folder.state(folder.last_life(job.job))
    if state is not None and state.status.phase in ("running", "stopping", "down"):
        return f"job {job.job} has handed over, and ends what it has begun"
    return f"job {job.job} is to take over, and starts beside it"


def _reach(url: str, node: str) -> tuple[str, ...]:
    """How the gateway, which listens on its node's loopback, is reached from elsewhere."""
    port = url.rpartition(":")[2]
    return (f"from another machine: ssh -N -L {port}:127.0.0.1:{port} {node}",)


def _may_change(engine: str, further: Sequence[SlurmFurther]) -> bool:
    return any(one.engine == engine for one in further)


def _log_of(bundle: Path, name: str) -> Path:
    """The log of a process; of the job that of the last one."""
    run = RunDirectory(bundle)
    if name != JOB_LOG:
        return run.log_of(name)
    logs = [path for path in run.logs.glob("job-*.log") if path.stem.removeprefix("job-").isdigit()]
    return max(logs, key=lambda path: int(path.stem.removeprefix("job-")), default=run.log_of(JOB_LOG))


def _end_all(name: str) -> None:
    """Have every job end what it has begun; what has not ended in time is ended. Raises `SlurmFailed`."""
    began, told = time.monotonic(), dict[str, float]()
    while jobs := queue(name):
        for one in jobs:
            now = time.monotonic()
            if now - told.get(one.job, float("-inf")) > _TELL_EVERY_S:
                told[one.job] = now
                cancel(one, drain=one.name == name and now - began <= _END_S)
        if time.monotonic() - began > 2 * _END_S:
            raise SlurmFailed(f"job {jobs[0].job} does not end")
        time.sleep(_LOOK_EVERY_S)


def _not_started(bundle: Path, name: str, reason: str, *, goes_on: bool = False) -> NotStarted:
    """What failed, with the last lines that it wrote; where another command's start `goes_on`, nothing is stopped."""
    # A launcher that fails before its process runs has said so in the job's log.
    said = tail(_log_of(bundle, name), SHOWN_LINES) or tail(_log_of(bundle, JOB_LOG), SHOWN_LINES)
    return not_started(bundle, name, reason, said, goes_on=goes_on)


def _does_not_answer(failed: SlurmFailed) -> Rejected:
    step = "try `squeue --me` here: it must answer on the machine that runs this command"
    return Rejected([Diagnostic("E0935", f"Slurm cannot be asked: {failed}", help=step)])
