"""`DIR/run/slurm`: what the processes of a service under Slurm tell each other, over a folder that all nodes see.

    run.json           the name that all jobs of this service bear, and what `up` was asked for
    token              what proves to a replica that a connection is the gateway's
    environment.json   values of variables that the pipelines read at start
    owner.json         the life whose gateway serves; claim.json the one that wants to, and waits for the store
    LIFE/state.json    one life's service as it stands
    LIFE/over          that it is over, for those of its processes that nobody can tell otherwise
    LIFE/NAME/         a process of it: state.json, endpoint.json once it is ready, `stop` where it is asked to end

All of it is readable by its owner alone. A file is replaced as a whole. Slurm may start a job several times, where what
it was before lives on: a `LIFE` is Slurm's number and how often it has started the job anew, as in `28.1`, with `more-`
in front where the job is one more replica. Its folder is made as it begins and never again: so nothing of it can write
into the folder of a later run.
"""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular, write_whole
from harmonia_compiler.runtime.actuators.actuator import ProcessStatus, Status
from harmonia_compiler.runtime.actuators.supervision.rundir import Asked

MORE = "more-"

#: How long what says nothing may still be there, in seconds.
BELIEVED_S = 30.0

_Document = TypeVar("_Document")


class Run(msgspec.Struct, frozen=True):
    """`run.json`. `place` is where its folder was when it was written, and `number` which file that was."""

    name: str
    asked: Asked = Asked()
    place: str = ""
    number: int = 0


class Owner(msgspec.Struct, frozen=True):
    """`owner.json`, `claim.json`: a life, and how often the service had been given to one before."""

    life: str
    epoch: int = 0


class JobState(msgspec.Struct, frozen=True):
    """`LIFE/state.json`. `node` is where the gateway is."""

    status: Status
    node: str = ""


def life_here(environment: Mapping[str, str] = os.environ) -> str:
    """The life that this process is in; of a heterogeneous job the number is the first component's."""
    number = environment.get("SLURM_JOB_ID_HET_GROUP_0") or environment["SLURM_JOB_ID"]
    return f"{number}.{environment.get('SLURM_RESTART_COUNT') or 0}"


def job_of(life: str) -> str:
    """The number of a life's job, with what stands before it."""
    return life.partition(".")[0]


class SharedFolder:
    """The files of one bundle's service."""

    def __init__(self, bundle: Path) -> None:
        self.path = bundle / "run" / "slurm"

    def begin(self, asked: Asked, late: dict[str, str]) -> Run:
        """Start with a new token and name, and nothing of an earlier service. Raises OSError."""
        self.clear()
        self.path.mkdir(mode=0o700, parents=True)
        run = Run(f"harmonia-{secrets.token_hex(6)}", asked, str(self.path.resolve()), self.path.stat().st_ino)
        _put(self.path / "token", secrets.token_hex(32).encode())
        self._write("environment.json", late)
        self._write("run.json", run)
        return run

    def clear(self) -> None:
        """Leave nothing behind, also where somebody writes there at this moment: to him it is gone at once."""
        gone = self.path.with_name(f"{self.path.name}.gone")
        shutil.rmtree(gone, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def run(self) -> Run | None:
        """What this service is called; None where there is none."""
        return self._read("run.json", Run)

    def enter(self, life: str) -> None:
        """Make the folder of a life that begins; of its job no other goes on, nor itself where it comes late.

        Raises OSError.
        """
        (self.path / life).mkdir(mode=0o700, exist_ok=True)
        for earlier in self.lives(job_of(life))[:-1]:
            self.set_over(earlier)

    def set_over(self, life: str) -> None:
        """Say to all processes of a life that it is over. Raises OSError."""
        _put(self.path / life / "over", b"")

    def is_over(self, life: str) -> bool:
        """Whether a life is over, or was of a run that has ended; what only cannot be read at this moment is not."""
        try:
            (self.path / life).stat()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return self.is_said_over(life)

    def is_said_over(self, life: str) -> bool:
        """Whether somebody has said so."""
        with contextlib.suppress(OSError):
            return (self.path / life / "over").exists()
        return False

    def own_run(self) -> Run | None:
        """The same for whoever asks about the jobs or ends them; None also in a copy, whose service is another's.

        A folder that is moved, or is seen elsewhere by another machine, keeps its number, and one on a file system that
        numbers its files anew its place.
        """
        run = self.run()
        if run is None or run.place in ("", str(self.path.resolve())):
            return run
        return run if self.path.stat().st_ino == run.number else None

    def token(self) -> bytes:
        """The token of the run. Raises OSError."""
        return read_regular(self.path / "token", MOST_DOCUMENT_BYTES).strip()

    def environment(self) -> dict[str, str]:
        """What this process sees, and the values that `up` found for the pipelines."""
        return {**os.environ, **(self._read("environment.json", dict[str, str]) or {})}

    def owner(self) -> Owner | None:
        """Who serves."""
        return self._read("owner.json", Owner)

    def set_owner(self, owner: Owner) -> None:
        """Say who serves. Raises OSError."""
        self._write("owner.json", owner)

    def claim(self) -> Owner | None:
        """Who waits for the service to end elsewhere."""
        return self._read("claim.json", Owner)

    def set_claim(self, claim: Owner) -> None:
        """Say who waits. Raises OSError."""
        self._write("claim.json", claim)

    def clear_claim(self) -> None:
        """Forget who waited, and has gone. Raises OSError."""
        (self.path / "claim.json").unlink(missing_ok=True)

    def state(self, life: str) -> JobState | None:
        """How a life's service stands; None where it has not said so."""
        return self._read(f"{life}/state.json", JobState)

    def set_state(self, life: str, state: JobState) -> None:
        """Say how it stands. Raises OSError."""
        self._write(f"{life}/state.json", state)

    def lives(self, job: str = "") -> list[str]:
        """Those that there have been of a job, in their order; without one, of all that have the whole service."""
        found: dict[tuple[int, int], str] = {}
        for path in self.path.glob(f"{job or '*'}.*"):
            number, _, restarts = path.name.rpartition(".")
            if restarts.isdecimal() and (number == job or (not job and number.isdecimal())):
                found[int(number.removeprefix(MORE)), int(restarts)] = path.name
        return [found[key] for key in sorted(found)]

    def last_life(self, job: str) -> str:
        """The last one of a job; of one that has not begun, its first."""
        return next(reversed(self.lives(job)), f"{job}.0")

    def endpoints(self, life: str) -> dict[Path, int]:
        """Where replicas of a life, and those that came on top, say that they are ready; and when they last said so."""
        found: dict[Path, int] = {}
        for pattern in (f"{life}/*/endpoint.json", f"{MORE}*/*/endpoint.json"):
            for path in sorted(self.path.glob(pattern)):
                with contextlib.suppress(OSError):
                    found[path] = path.stat().st_mtime_ns
        return found

    def endpoint(self, path: Path) -> Endpoint | None:
        """What stands there; None where it has gone."""
        return _read(path, Endpoint)

    def of(self, life: str, name: str) -> "ProcessFolder":
        """The folder of one process."""
        return ProcessFolder(self.path / life / name)

    def _read(self, name: str, of: type[_Document]) -> _Document | None:
        return _read(self.path / name, of)

    def _write(self, name: str, document: object) -> None:
        _put(self.path / name, msgspec.json.encode(document))


class ProcessFolder:
    """What one process says, and is told."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Have the folder, in that of its life. Raises OSError."""
        self.path.mkdir(mode=0o700, exist_ok=True)

    def begin(self) -> None:
        """Say nothing that an earlier launcher said, which has gone: as long as that lives, its word counts.

        What it is told there stays: it may be asked to end before it has begun. Raises OSError.
        """
        self.make()
        for name in ("state.json", "endpoint.json", "drained"):
            (self.path / name).unlink(missing_ok=True)

    def want(self) -> None:
        """Be told nothing that was said before. Raises OSError."""
        self.make()
        (self.path / "stop").unlink(missing_ok=True)

    def status(self) -> ProcessStatus | None:
        """How it stands; None where it has not said so."""
        return _read(self.path / "state.json", ProcessStatus)

    def set_status(self, status: ProcessStatus) -> None:
        """Say how it stands, again and again. Raises OSError."""
        _say(self.path / "state.json", status)

    def said_ns(self) -> int:
        """When it last said how it stands, by whatever clock; 0 where it has not."""
        with contextlib.suppress(OSError):
            return (self.path / "state.json").stat().st_mtime_ns
        return 0

    def set_endpoint(self, endpoint: Endpoint | None) -> None:
        """Say that it is ready, again and again, or no more. Raises OSError."""
        path = self.path / "endpoint.json"
        if endpoint is None:
            path.unlink(missing_ok=True)
        else:
            _say(path, endpoint)

    def put(self, name: str, content: bytes) -> None:
        """Have a file of its own there. Raises OSError."""
        _put(self.path / name, content)

    def ask_to_stop(self, *, drain: bool) -> None:
        """Ask it to end: at once, or when it has answered what it works on. Raises OSError."""
        _put(self.path / "stop", b"drain" if drain else b"now")

    def stop_asked(self) -> str:
        """`drain`, `now`, or nothing."""
        with contextlib.suppress(OSError):
            return read_regular(self.path / "stop", 16).decode(errors="replace")
        return ""

    def set_drained(self) -> None:
        """Say that nobody waits for an answer of it."""
        with contextlib.suppress(OSError):
            _put(self.path / "drained", b"")

    def is_drained(self) -> bool:
        """Whether the gateway said so."""
        return (self.path / "drained").exists()


class Heard:
    """Whether a process goes on saying how it stands. Clocks of nodes differ: what counts is that it says it anew."""

    def __init__(self, folder: ProcessFolder) -> None:
        self._folder = folder
        self._said_ns = 0
        self._heard = float("-inf")

    def status(self) -> ProcessStatus | None:
        """What it has said since what it said was to count no more; None where that is nothing."""
        said_ns = self._folder.said_ns()
        if said_ns != self._said_ns:
            self._said_ns, self._heard = said_ns, time.monotonic()
        return None if self._heard == float("-inf") else self._folder.status()

    def goes_on(self) -> bool:
        """Whether it has said something of late that was not its last."""
        said = self.status()
        is_late = time.monotonic() - self._heard > BELIEVED_S
        return said is not None and said.phase not in ("stopped", "failed") and not is_late

    def forget(self) -> None:
        """Have what it has said so far count no more."""
        self._said_ns, self._heard = self._folder.said_ns(), float("-inf")


def _say(path: Path, document: object) -> None:
    """Say something, be it anew: by its time alone where it stands there, which a full disk does not refuse."""
    content = msgspec.json.encode(document)
    with contextlib.suppress(OSError):
        if read_regular(path, MOST_DOCUMENT_BYTES) == content:
            os.utime(path)
            return
    _put(path, content)


def _put(path: Path, content: bytes) -> None:
    """Write a file into a folder that is there: one that has gone stays so. Raises OSError."""
    path.parent.stat()
    write_whole(path, content, 0o600)


def _read(path: Path, of: type[_Document]) -> _Document | None:
    """What a file says; None where it is not there, or says nothing that can be read."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return decode_document(read_regular(path, MOST_DOCUMENT_BYTES), of)
    return None
