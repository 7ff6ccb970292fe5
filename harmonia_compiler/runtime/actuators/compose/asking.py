"""The one thing that a container may ask of its host: how many replicas each engine shall have.

A line of JSON over a Unix socket of mode 0600, and one back. What is asked for is for one plan, and of an epoch; the
epoch of an earlier decision, another plan and any number outside the plan's bounds are refused as a whole.
"""

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from harmonia_compiler.contract.decision import Epoch, ReplicaCount
from harmonia_compiler.contract.document import decode_document

SOCKET = "actuator.sock"

_MOST_BYTES = 65_536
#: How long an asker may take in all, in seconds, and how many are heard at once.
_PATIENCE_S = 5.0
_MOST_ASKERS = 16


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many replicas each engine is to have; those that are not named stay as they are."""

    plan: str
    epoch: Epoch
    replicas: dict[str, ReplicaCount]


class Answer(msgspec.Struct, frozen=True):
    """Whether it will be so; `why` not, where it will not."""

    accepted: bool
    why: str = ""


def refusal(wish: Wish, plan: str, epoch: int, bounds: Mapping[str, int]) -> str:
    """Why a wish is not for this service; empty where it is. `bounds` is the most replicas of each engine."""
    if wish.plan != plan:
        return "it is for another plan"
    if wish.epoch < epoch:
        return f"its epoch is {wish.epoch}, and {epoch} is followed already"
    for engine, count in wish.replicas.items():
        if engine not in bounds:
            return f"the number of replicas of `{engine}` does not change"
        if not 1 <= count <= bounds[engine]:
            return f"`{engine}` has between 1 and {bounds[engine]} replicas, and not {count}"
    return ""


def ask(folder: Path, wish: Wish) -> Answer:
    """Ask whoever listens in a folder; raises OSError where nobody does, or what comes back is no answer."""
    with _reach(folder) as connection:
        connection.sendall(msgspec.json.encode(wish) + b"\n")
        said = _line(connection)
    try:
        return decode_document(said, Answer)
    except msgspec.MsgspecError as problem:
        raise OSError(f"no answer came back: {problem}") from problem


class Listening:
    """Answers until it is closed, each asker in a thread of its own: one that says nothing keeps nobody waiting."""

    def __init__(self, folder: Path, owner: int, answer: Callable[[Wish], Answer]) -> None:
        self._answer, self._owner = answer, owner
        self._socket = socket.socket(socket.AF_UNIX)
        place = folder / SOCKET
        place.unlink(missing_ok=True)
        # Nobody may connect between binding and the change of mode.
        before = os.umask(0o177)
        try:
            with _short(folder) as path:
                self._socket.bind(path)
        finally:
            os.umask(before)
        if os.geteuid() == 0:
            os.chown(place, owner, -1)
        self._socket.listen(_MOST_ASKERS)
        self._free = threading.BoundedSemaphore(_MOST_ASKERS)
        self._thread = threading.Thread(target=self._serve, name="asking", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._free.acquire()
            threading.Thread(target=self._hear, args=(connection,), name="an asker", daemon=True).start()

    def _hear(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                connection.sendall(msgspec.json.encode(self._heard(connection)) + b"\n")
        finally:
            self._free.release()

    def _heard(self, connection: socket.socket) -> Answer:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, user, _ = struct.unpack("3i", credentials)
        if user not in (0, os.geteuid(), self._owner):
            return Answer(accepted=False, why="it comes from somebody else")
        try:
            return self._answer(decode_document(_line(connection), Wish))
        except msgspec.MsgspecError as problem:
            return Answer(accepted=False, why=f"it cannot be read: {problem}")


def _line(connection: socket.socket) -> bytes:
    """What the other end says up to the end of its line. Raises OSError where that takes too long."""
    found, until = b"", time.monotonic() + _PATIENCE_S
    while not found.endswith(b"\n") and len(found) <= _MOST_BYTES:
        connection.settimeout(max(0.001, until - time.monotonic()))
        part = connection.recv(4096)
        if not part:
            break
        found += part
    return found[:_MOST_BYTES]


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """The socket's path in few letters: the system takes about a hundred, and a bundle may lie deep."""
    if not Path("/proc/self/fd").is_dir():
        yield str(folder / SOCKET)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def _reach(folder: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(_PATIENCE_S)
        with _short(folder) as path:
            connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection
