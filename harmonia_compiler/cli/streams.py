"""What a command writes to may leave before it ends, be full or be closed: that ends no command and changes no code.

Whoever reads `harmoniac up | head` wants fewer lines, and no service that was left half started. So a command goes on,
and what it prints goes nowhere from there on. One that would go on for nobody asks `is_unread`.
"""

import io
import os
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Lossy(io.FileIO):
    """A file that takes what it cannot write, and remembers what the first problem was."""

    problem: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write it, as long as there is somebody who takes it."""
        view = memoryview(data).cast("B")
        left = view
        while len(left) and self.problem is None:
            try:
                written: int | None = super().write(left)
                if written is None:
                    # Somebody who shares the pipe made it one that does not wait.
                    select.select([], [self], [])
            except OSError as problem:
                self.problem = problem
            else:
                left = left[written or 0 :]
        return len(view)


def go_on_without_readers() -> None:
    """Let nothing that is printed from here on fail."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # A process may be started with its streams closed (`>&-`).
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open until we end
        elif isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, _lossy(stream))


def _lossy(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    raw = _Lossy(stream.fileno(), "wb", closefd=False)
    # PYTHONUNBUFFERED leaves the buffer out.
    unbuffered = isinstance(stream.buffer, io.RawIOBase)
    return io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def lost() -> OSError | None:
    """Why some of what was printed to stdout could not be written; None where all was, or nobody asked for it."""
    buffer = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    return raw.problem if isinstance(raw, _Lossy) else None


def is_unread() -> bool:
    """Whether nobody reads stdout any more, as far as writing to it has shown."""
    sys.stdout.flush()
    return lost() is not None
