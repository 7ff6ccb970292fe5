"""`DIR/run/slurm`: what the processes of a service under Slurm tell each other, over a folder that all nodes see.

    run.json           the name that all jobs of this service bear, and what `up` was asked for
    token              what proves to a replica that a connection is the gateway's
    environment.json   values of variables that the pipelines read at start
    owner.json         the job whose gateway serves; claim.json the one that wants to, and waits for the store
    JOB/state.json     one job's service as it stands
    JOB/NAME/          a process of it: state.json, endpoint.json once it is ready, `stop` where it is asked to end

All of it is readable by its owner alone. A file is replaced as a whole. `JOB` is Slurm's number, with `more-` in front
where the job is one more replica.
"""

import contextlib
import os
import secrets
import shutil
from pathlib import Path
from typing import TypeVar

import msgspec

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular, write_whole
from harmonia_compiler.runtime.actuators.actuator import ProcessStatus, Status
from harmonia_compiler.runtime.actuators.supervision.rundir import Asked

MORE = "more-"

_Document = TypeVar("_Document")


class Run(msgspec.Struct, frozen=True):
    """`run.json`. `place` is where its folder was when it was written, and `number` which file that was."""

    name: str
    asked: Asked = Asked()
    place: str = ""
    number: int = 0


class Owner(msgspec.Struct, frozen=True):
    """`owner.json`, `claim.json`: a job, and how many had the service before it."""

    job: str
    epoch: int = 0


class JobState(msgspec.Struct, frozen=True):
    """`JOB/state.json`. `node` is where the gateway is."""

    status: Status
    node: str = ""


class SharedFolder:
    """The files of one bundle's service."""

    def __init__(self, bundle: Path) -> None:
        self.path = bundle / "run" / "slurm"

    def begin(self, asked: Asked, late: dict[str, str]) -> Run:
        """Start with a new token and name, and nothing of an earlier service. Raises OSError."""
        self.clear()
        self.path.mkdir(mode=0o700, parents=True)
        run = Run(f"harmonia-{secrets.token_hex(6)}", asked, str(self.path.resolve()), self.path.stat().st_ino)
        write_whole(self.path / "token", secrets.token_hex(32).encode(), 0o600)
        self._write("environment.json", late)
        self._write("run.json", run)
        return run

    def clear(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.path, ignore_errors=True)

    def run(self) -> Run | None:
        """What this service is called; None where there is none."""
        return self._read("run.json", Run)

    def is_over(self) -> bool:
        """Whether it is not there, nor any other; what only cannot be read at this moment is there."""
        try:
            (self.path / "run.json").stat()
        except FileNotFoundError:
            return True
        except OSError:
            return False
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

    def state(self, job: str) -> JobState | None:
        """How a job's service stands; None where it has not said so."""
        return self._read(f"{job}/state.json", JobState)

    def set_state(self, job: str, state: JobState) -> None:
        """Say how it stands. Raises OSError."""
        self._write(f"{job}/state.json", state)

    def jobs(self) -> list[str]:
        """The jobs that have said how their service stands, in the order of their numbers."""
        found = (path.parent.name for path in self.path.glob("*/state.json"))
        return sorted((job for job in found if job.isdigit()), key=int)

    def endpoints(self, job: str) -> dict[Path, int]:
        """Where replicas of a job, and those that came on top, say that they are ready; and when they last said so."""
        found: dict[Path, int] = {}
        for pattern in (f"{job}/*/endpoint.json", f"{MORE}*/*/endpoint.json"):
            for path in sorted(self.path.glob(pattern)):
                with contextlib.suppress(OSError):
                    found[path] = path.stat().st_mtime_ns
        return found

    def endpoint(self, path: Path) -> Endpoint | None:
        """What stands there; None where it has gone."""
        return _read(path, Endpoint)

    def of(self, job: str, name: str) -> "ProcessFolder":
        """The folder of one process."""
        return ProcessFolder(self.path / job / name)

    def _read(self, name: str, of: type[_Document]) -> _Document | None:
        return _read(self.path / name, of)

    def _write(self, name: str, document: object) -> None:
        write_whole(self.path / name, msgspec.json.encode(document), 0o600)


class ProcessFolder:
    """What one process says, and is told."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Have the folder. What it is told there stays: it may be asked to end before it has begun. Raises OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def prepare(self) -> None:
        """Begin with nothing that an earlier life said or was told. Raises OSError."""
        self.make()
        for name in ("state.json", "endpoint.json", "stop", "drained"):
            (self.path / name).unlink(missing_ok=True)

    def status(self) -> ProcessStatus | None:
        """How it stands; None where it has not said so."""
        return _read(self.path / "state.json", ProcessStatus)

    def set_status(self, status: ProcessStatus) -> None:
        """Say how it stands. Raises OSError."""
        write_whole(self.path / "state.json", msgspec.json.encode(status), 0o600)

    def set_endpoint(self, endpoint: Endpoint | None) -> None:
        """Say that it is ready, again and again, or no more. Raises OSError.

        What stands there already is said again by its time alone, which a full disk does not refuse.
        """
        path = self.path / "endpoint.json"
        if endpoint is None:
            path.unlink(missing_ok=True)
        elif _read(path, Endpoint) == endpoint:
            os.utime(path)
        else:
            write_whole(path, msgspec.json.encode(endpoint), 0o600)

    def ask_to_stop(self, *, drain: bool) -> None:
        """Ask it to end: at once, or when it has answered what it works on. Raises OSError."""
        if self.path.is_dir():
            write_whole(self.path / "stop", b"drain" if drain else b"now", 0o600)

    def stop_asked(self) -> str:
        """`drain`, `now`, or nothing."""
        with contextlib.suppress(OSError):
            return read_regular(self.path / "stop", 16).decode(errors="replace")
        return ""

    def set_drained(self) -> None:
        """Say that nobody waits for an answer of it."""
        with contextlib.suppress(OSError):
            write_whole(self.path / "drained", b"", 0o600)

    def is_drained(self) -> bool:
        """Whether the gateway said so."""
        return (self.path / "drained").exists()


def _read(path: Path, of: type[_Document]) -> _Document | None:
    """What a file says; None where it is not there, or says nothing that can be read."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return decode_document(read_regular(path, MOST_DOCUMENT_BYTES), of)
    return None
