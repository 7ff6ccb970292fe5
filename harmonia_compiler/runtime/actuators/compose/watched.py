"""One container of a service over all its lives: its log, what readies it, how it stands."""

import contextlib
import logging
import os
import subprocess
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import msgspec

from harmonia_compiler.contract.launch import Probe
from harmonia_compiler.runtime.actuators.actuator import ProcessStatus
from harmonia_compiler.runtime.actuators.compose.containers import Life, failed, phase_of, waits_for
from harmonia_compiler.runtime.actuators.compose.docker import Docker, DockerFailed
from harmonia_compiler.runtime.actuators.compose.readying import opened, opened_from_here, warm_up
from harmonia_compiler.runtime.actuators.supervision.logs import Logs
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory
from harmonia_compiler.runtime.actuators.supervision.store import Expected

LOG = logging.getLogger(__name__)

#: How long after a failed try one that served before is readied again, and its log followed, in seconds.
_AGAIN_AFTER_S = 5.0
#: When nothing had been said yet, in seconds of the epoch.
_EVER = "0"
#: A file's times may lie so much before what they are of, in nanoseconds.
_TICK_NS = 10_000_000


@dataclass
class Watched:
    """A service of the compose file, as it is seen from look to look.

    `engine` is empty for what is no replica. `is_ours` is whether its image has what opens the collections of a store.
    """

    name: str
    engine: str
    probe: Probe
    port: int
    expected: tuple[Expected, ...]
    docker: Docker
    run: RunDirectory
    is_ours: bool = True
    life: Life | None = None
    was_ready: bool = False
    leaving: bool = False
    status: ProcessStatus = field(init=False)
    _logs: Logs = field(init=False)
    _over: tuple[str, str] | None = None
    _is_taken_over: bool = False
    _adopted: tuple[str, str] | None = None
    _prepared: tuple[str, str] | None = None
    _preparing: tuple[str, str] | None = None
    _began: float = 0.0
    _problem: str = ""
    _failed_at: float | None = None
    _absent: tuple[str, ...] = ()
    _ended: Life | None = None
    _followed: tuple[str, str] | None = None
    _follower: "subprocess.Popen[bytes] | None" = None
    _cut_off_at: float | None = None

    def __post_init__(self) -> None:
        self.status = ProcessStatus(self.name, self.engine, "waiting", time.time(), port=self.port or None)
        self._logs = Logs(self.run)

    def look(self, life: Life | None) -> None:
        """Take in what the engine says, and see to what is to be done about it.

        Raises OSError where its log cannot be written, once all else is done.
        """
        before, self.life = self.life, None if life is None else self._with_ending(life)
        life = self.life
        if life is not None and (before is None or before.key != life.key):
            self._began = time.monotonic()
        is_new = life is not None and life.is_well and life.key != self._prepared
        if life is not None and is_new and (life.key != self._preparing or self._is_due()):
            if life.key != self._preparing:
                self._problem = ""
            self._preparing, self._failed_at = life.key, None
            threading.Thread(target=self._prepare, args=(life,), name=f"readying {self.name}", daemon=True).start()
        self._show()
        self._logs.keep()
        if life is not None and life.is_told and life.key != self._over:
            self._follow(life)

    def begin_after(self, life: Life) -> None:
        """What had ended before this process began says nothing of what is started now."""
        self._over = life.key if life.has_ended else None

    def adopt(self, life: Life | None) -> None:
        """What has served before this process began goes on to be called if it is well, while it is readied anew.

        It may have started again while nobody looked, and to ready what was ready changes nothing.
        """
        self._adopted = life.key if life is not None and life.is_well else None
        self.was_ready = self._is_taken_over = True

    @property
    def is_ready(self) -> bool:
        """Whether it is well, and was readied since it started or was adopted."""
        return self.status.phase == "ready"

    @property
    def is_called(self) -> bool:
        """Whether calls may be given to it."""
        return self.is_ready or (self._is_adopted and not self._problem and not self.leaving)

    @property
    def _is_adopted(self) -> bool:
        return self.life is not None and self.life.is_well and self.life.key == self._adopted

    def failure(self) -> str | None:
        """Why it will never be ready; None where it was, or still may be."""
        if self.was_ready or self.life is None or self.life.key == self._over:
            return None
        return self._problem or failed(self.life, self.probe, self.port)

    def hear_out(self, life: Life, limit_s: float) -> None:
        """Have in its log all that a container said which has ended, and is about to be removed; raises OSError."""
        self._await_follower(limit_s)
        if life.is_told and life.key not in (self._followed, self._over):
            self._follow(life)
            self._await_follower(limit_s)

    def close(self) -> None:
        """Follow its log no more."""
        if self._follower is not None:
            self._follower.terminate()
            self._await_follower(5.0)

    def _await_follower(self, limit_s: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._follower is not None:
                self._follower.wait(limit_s)

    def _with_ending(self, life: Life) -> Life:
        """How it ended last: seen while it was between two lives, or what the engine tells of those that were short."""
        last = self._ended
        if life.has_ended:
            self._ended = last = life
        elif life.restarts and (last is None or (last.container, last.restarts) != (life.container, life.restarts)):
            code = self.docker.ended_with(life.container, life.finished)
            self._ended = last = replace(life, exit_code=code)
        if last is None or last.container != life.container:
            return life
        return replace(life, exit_code=last.exit_code, out_of_memory=last.out_of_memory)

    def _is_due(self) -> bool:
        """Whether readying failed and is to be tried again; at the first start, its failure is the service's."""
        failed_at = self._failed_at
        return self.was_ready and failed_at is not None and time.monotonic() - failed_at >= _AGAIN_AFTER_S

    def _prepare(self, life: Life) -> None:
        problem = ""
        try:
            warm_up(self.docker, life.container, self.probe, self.port)
        except DockerFailed as failure:
            # It was only to be quicker; one that does not work at all, the check finds.
            problem = f"its first answers: {failure}" if not self.was_ready else ""
        if self.is_ours:
            found = opened(self.docker, life.container, self.port, self.expected)
        else:
            found = opened_from_here(self.port, self.expected, self.run.log_of(self.name))
        problem = "; ".join(found.problems) or problem
        if self.life is not None and self.life.key != life.key:
            return  # Its next life is readied by another.
        self._absent, self._problem = found.absent, problem
        if not problem:
            self._prepared = life.key
            return
        if self.was_ready:
            LOG.warning("%s is not ready, and is tried again in %g s: %s", self.name, _AGAIN_AFTER_S, problem)
        self._failed_at = time.monotonic()

    def _follow(self, life: Life) -> None:
        again = self._followed == life.key
        if self._is_followed(life) or (again and not self._is_cut_off(life)):
            return
        self.close()
        begins = self._followed is None and not self._is_taken_over
        written = "" if begins else _written_until(self.run.log_of(self.name))
        if begins:
            # Nobody has seen how it ended before.
            since = _EVER if life.restarts else life.started
        elif again or self._followed is None:
            since = written or life.started
        else:
            # There may have been lives between that nobody saw; the end of the last one may be written late.
            since = written if written and _is_before(written, life.started) else life.started
        log = self._logs.open(self.name)
        if begins:
            os.ftruncate(log, 0)
        self._follower = self.docker.follow(life.container, since, log)
        self._followed, self._cut_off_at = life.key, None

    def _is_followed(self, life: Life) -> bool:
        """Whether who follows its log has not ended, as he does by himself with the life that he follows."""
        is_its = self._followed is not None and self._followed[0] == life.container
        return is_its and self._follower is not None and self._follower.poll() is None

    def _is_cut_off(self, life: Life) -> bool:
        """Whether who follows its log has ended for so long that its life is not over as well, or about to be."""
        if life.has_ended:
            return False
        if self._cut_off_at is None:
            self._cut_off_at = time.monotonic()
        return time.monotonic() - self._cut_off_at >= _AGAIN_AFTER_S

    def _show(self) -> None:
        life = self.life
        prepared = life is not None and life.key == self._prepared
        seen_ready = self.was_ready and not self._is_adopted
        phase = "stopping" if self.leaving else phase_of(life, was_ready=seen_ready, prepared=prepared)
        preparing = self._problem or (
            "its collections to be checked and loaded" if self.expected else "its first answers, which warm it up"
        )
        waiting = "" if phase == "ready" else waits_for(life, self.probe, self.port, preparing=preparing)
        if self.leaving:
            waiting = "the calls that it works on"
        since = self.status.since if phase == self.status.phase else time.time()
        self.was_ready |= phase == "ready"
        took = self.status.started_in_s
        is_new = life is not None and life.key == self._preparing and not self._is_adopted
        if phase == "ready" and self.status.phase != "ready" and is_new:
            took = time.monotonic() - self._began
        self.status = msgspec.structs.replace(
            self.status,
            phase=phase,
            since=since,
            pid=None if life is None else life.pid,
            restarts=0 if life is None else life.restarts,
            last_exit="" if life is None else life.ending,
            waiting_for=waiting,
            absent=self._absent,
            started_in_s=took,
        )


def _is_before(seconds: str, written: str) -> bool:
    """Whether seconds of the epoch are before a time as the engine writes it; one that cannot be read is before all."""
    try:
        return float(seconds) < datetime.fromisoformat(written).timestamp()
    except ValueError:
        return False


def _written_until(log: Path) -> str:
    """Up to when a log has what its container said, in seconds of the epoch; empty where it has nothing.

    Whoever followed it ended with the keeper that was killed, so that it was written to when something was said last.
    """
    try:
        found = log.stat()
    except FileNotFoundError:
        return ""
    # Nor may a clock that was set back, or a folder that was copied, keep from it what is said from now on.
    until = min(found.st_mtime_ns + _TICK_NS, time.time_ns())
    return "{}.{:09}".format(*divmod(until, 10**9)) if found.st_size else ""
