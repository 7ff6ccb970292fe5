"""`DIR/run`: where a running service keeps its state, and the lock that says whose it is.

    lock             held (flock) by the supervisor as long as it lives; its content names it
    state.json       every process as it stands
    endpoints.json   the ready replicas, for the gateway
    gateway.json     where the gateway listens
    decision.json    what the controller decided, for the gateway; controller.json and controller-state.json are its own
    controller-state.last.json  what the last service that was called measured; outlives it, for whoever plans anew
    wanted.json      how many replicas each engine is to have, for the supervisor
    generations/N/   the files of a generation of the service, and where its replicas listen
    generations.json which generations the gateway serves; rollout.json says which one is wished for
    installing.json  as long as a generation's files are being put into the bundle's folder
    requests.ledger  the gateway's counts of requests, which outlive it
    logs/NAME.log    what each process wrote since the last start
    logs/state.last.json  how the last service stood at its end, for whoever waited for it beside the one who started it

All of it is readable by its owner alone. A file is replaced as a whole, so that no reader meets half of one.
"""

import contextlib
import fcntl
import itertools
import os
import shutil
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated

import msgspec

from harmonia_compiler.contract.decision import DECISION, REMEMBERED, SAID, WANTED
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.generations import FOLDER, GENERATIONS
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular
from harmonia_compiler.runtime.actuators.actuator import Status
from harmonia_compiler.runtime.actuators.supervision.installing import INSTALLING
from harmonia_compiler.runtime.actuators.supervision.pids import Ident, is_alive
from harmonia_compiler.runtime.actuators.supervision.wish import ROLLOUT
from harmonia_compiler.runtime.controller import measured
from harmonia_compiler.runtime.gateway.ledger import LEDGER

LOCK, STATE, ENDPOINTS, ADDRESS = "lock", "state.json", "endpoints.json", "gateway.json"
#: Among the logs, which outlive a service.
LAST_STATE = "state.last.json"

#: The names that we give to the containers of a bundle, and no others: what bears it is ended by `down`.
Project = Annotated[str, msgspec.Meta(pattern=r"^(harmonia-[0-9a-f]{10})?\Z")]

#: How long a lock is waited for that somebody is about to let go: who was killed, or who cleans up. In seconds.
_PASSING_S = 30.0


class Asked(msgspec.Struct, frozen=True):
    """What whoever started a service asked for: the gateway's port, and that collections may differ."""

    port: int | None = None
    reembed: bool = False


class State(msgspec.Struct, frozen=True):
    """`state.json`: the service, who looks after it, what it was started with, and the folder that it was written to.

    A folder that is copied while its service runs must not be taken for that of the service. `was_up` is whether all of
    it was up already when whoever says so took it over, and has not begun to stop it since. `given` are variables of
    whoever started it that its processes were given, and `engine` is which of several its containers may be in.
    `leaves_some` is whether something of it may run on although it was to be stopped, which came to nothing. `project`
    is the name that its containers bear, which stays where the folder is moved, and `place` is where it was when
    they were made, which is where they look for it. `seen` is when it was seen to be so, by the clock of this machine
    that nobody sets (`time.monotonic`), and `trouble` why it has not been seen since.
    """

    supervisor: Ident
    status: Status
    asked: Asked = Asked()
    folder: str = ""
    was_up: bool = False
    given: dict[str, str] = {}
    engine: str = ""
    leaves_some: bool = False
    project: Project = ""
    place: str = ""
    seen: float | None = None
    trouble: str = ""

    @property
    def is_up(self) -> bool:
        """Whether all of it was up, also if another was about to take it over since, or could not."""
        phase = self.status.phase
        return phase == "running" or (phase in ("starting", "failed") and self.was_up)

    @property
    def may_leave(self) -> bool:
        """Whether any of it may run on where whoever says so is gone: not of a start that failed and was stopped."""
        return self.status.phase != "failed" or self.was_up or self.leaves_some


class Damaged(Exception):
    """A state file that is there and cannot be read."""


class RunDirectory:
    """The files under `DIR/run` of one bundle."""

    def __init__(self, bundle: Path) -> None:
        self.path = bundle / "run"
        self.logs = self.path / "logs"

    def prepare(self) -> None:
        """Make the folders and prove that they can be written; raises OSError where they cannot."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        self.logs.mkdir(mode=0o700, exist_ok=True)
        with TemporaryFile(dir=self.path) as probe:
            probe.write(b" " * 4096)
            probe.flush()

    def log_of(self, name: str) -> Path:
        """Where a process writes."""
        return self.logs / f"{name}.log"

    def write(self, name: str, content: bytes) -> None:
        """Replace a file as a whole; raises OSError and leaves the old one where that fails."""
        place = self.path / name
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            if place.parent != self.path:
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
            move_folder_away(place)
            draft.replace(place)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    @property
    def identity(self) -> str:
        """What tells this folder from any copy of it, and stays where it is moved; raises OSError."""
        found = self.path.stat()
        return f"{found.st_dev}:{found.st_ino}"

    def read_state(self) -> State | None:
        """The last state; None where there is none that was written to this folder. Raises `Damaged`."""
        return self._state_in(self.path / STATE)

    def read_last_state(self) -> State | None:
        """The same of a service that was cleaned up after."""
        return self._state_in(self.logs / LAST_STATE)

    def _state_in(self, file: Path) -> State | None:
        try:
            state = decode_document(read_regular(file, MOST_DOCUMENT_BYTES), State)
            here = self.identity
        except (FileNotFoundError, NotADirectoryError):
            # A file in the place of `run` is nobody's state either, and `down` leaves it alone.
            return None
        except (OSError, msgspec.MsgspecError) as problem:
            raise Damaged(f"{file} cannot be read ({problem})") from problem
        return state if state.folder == here else None

    def last_supervisor(self) -> Ident | None:
        """Whom the last state names, alive or not."""
        with contextlib.suppress(Damaged):
            state = self.read_state()
            return None if state is None else state.supervisor
        return None

    def lock(self) -> int | None:
        """Take the lock and give its descriptor, kept open as long as it is held; None where a supervisor has it.

        Who has it without being named in it cleans up, or is about to sign, and is waited for.
        """
        until = time.monotonic() + _PASSING_S
        while (descriptor := self.try_lock()) is None and not self.is_signed() and time.monotonic() < until:
            time.sleep(0.02)
        return descriptor

    def is_signed(self) -> bool:
        """Whether the lock names somebody who lives."""
        holder = self.holder()
        return holder is not None and is_alive(holder)

    def try_lock(self) -> int | None:
        """The same at once, also where whoever has it is about to be gone."""
        while True:
            move_folder_away(self.path / LOCK)
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            # Whoever held it before may have removed the file between our opening and locking it.
            if self.is_lock(descriptor):
                return descriptor
            os.close(descriptor)

    def is_lock(self, descriptor: int) -> bool:
        """Whether what this descriptor holds is the file that others try to lock; it may have been removed."""
        try:
            return os.path.samestat(os.fstat(descriptor), (self.path / LOCK).stat())
        except FileNotFoundError:
            return False

    def sign(self, descriptor: int, holder: Ident) -> None:
        """Write into the lock who holds it."""
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, msgspec.json.encode(holder), 0)

    def is_held(self) -> bool:
        """Whether a live supervisor holds the lock; that of a killed one lasts until its last thread is gone."""
        holder = self.holder()
        return self.is_locked() and (holder is None or is_alive(holder))

    def is_locked(self) -> bool:
        """Whether anybody holds the lock."""
        try:
            descriptor = os.open(self.path / LOCK, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def holder(self) -> Ident | None:
        """Whom the lock names, held or not."""
        try:
            return decode_document(read_regular(self.path / LOCK, MOST_DOCUMENT_BYTES), Ident)
        except (OSError, msgspec.MsgspecError):
            return None

    def has_state(self) -> bool:
        """Whether a service is or was there that nobody has cleaned up after."""
        return any((self.path / name).exists() for name in (STATE, ENDPOINTS, ADDRESS, LOCK))

    def clear_state(self) -> None:
        """Remove what an earlier supervisor said about its service; the caller holds the lock.

        What the service measured is put aside, and how it stood.
        """
        measured.keep(self.path, self.path)
        if (self.path / STATE).is_file():
            with contextlib.suppress(OSError):
                (self.path / STATE).replace(self.logs / LAST_STATE)
        for name in (STATE, ENDPOINTS, ADDRESS, DECISION, SAID, REMEMBERED, WANTED, GENERATIONS):
            move_folder_away(self.path / name)
            (self.path / name).unlink(missing_ok=True)
        for left in self.path.glob(".*.json.*"):
            left.unlink(missing_ok=True)

    def clear_control(self) -> None:
        """Remove what a controller said of a plan that is no longer that of the service; what it remembers stays."""
        for name in (DECISION, SAID, WANTED):
            (self.path / name).unlink(missing_ok=True)

    def clear_generations(self) -> None:
        """Forget the generations of a service that is no more, and what was wished of them."""
        for name in (ROLLOUT, INSTALLING):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / FOLDER, ignore_errors=True)

    def clear(self) -> None:
        """Remove all but logs, what was measured, and locks of running ingestions.

        The caller holds the lock, the last to go.
        """
        self.clear_state()
        for left in self.path.glob("ingest-*.lock"):
            _remove_unheld(left)
        (self.path / LEDGER).unlink(missing_ok=True)
        self.clear_generations()
        move_folder_away(self.path / LOCK)
        (self.path / LOCK).unlink(missing_ok=True)


def move_folder_away(path: Path) -> None:
    """Where somebody put a folder in the place of a file, keep it beside that place, under a name that is free."""
    if path.is_dir() and not path.is_symlink():
        names = (path.with_name(f"{path.name}.folder-{number}") for number in itertools.count(1))
        path.rename(next(name for name in names if not name.exists()))


def _remove_unheld(lock: Path) -> None:
    """Remove a lock file that its holder left when it was killed; one that is held, or another user's, stays."""
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except (FileNotFoundError, PermissionError):
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its holder may have ended and removed it meanwhile, and another be about to lock a new one.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(lock.stat(), os.fstat(descriptor)):
                lock.unlink()
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)
