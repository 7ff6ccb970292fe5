"""Reading and writing files as a whole: reads that do not wait for ever, and writes of which nobody sees a half.

What is read is a regular file of bounded size: a named pipe has no end as long as nobody writes into it, and a device
may have none at all.
"""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

#: What a configuration that people write by hand may take, such as an inventory or a model card.
MOST_TEXT_BYTES = 1 << 20

#: What a document that a program wrote may take, such as a plan or a bundle's files.
MOST_DOCUMENT_BYTES = 64 << 20


def real(path: Path) -> Path:
    """Where a path leads; a link that leads back to itself, which `Path.resolve` would fail on, leads nowhere else."""
    return Path(os.path.realpath(path))


def read_regular(path: Path, most: int) -> bytes:
    """What the file holds. Raises OSError whose `strerror` says why as a phrase; `EFBIG` where it is larger."""
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {_size(most)}", str(path))
    return content


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """The file, to be read piece by piece. Raises OSError, where it is no regular one too."""
    # Opened before it is looked at, so that nothing else takes its place in between.
    with open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        yield file


def read_text(path: Path, most: int = MOST_TEXT_BYTES) -> str:
    """The same as text in UTF-8, without a mark of byte order; `EILSEQ` where it is none."""
    try:
        return read_regular(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise OSError(errno.EILSEQ, "it is not UTF-8 text", str(path)) from problem


def write_whole(path: Path, content: bytes, mode: int | None = None) -> None:
    """Put a file in its place as a whole or not at all, for its owner alone unless `mode` says otherwise.

    Raises OSError where it cannot be written.
    """
    with writing_whole(path, mode) as file:
        file.write(content)


@contextmanager
def writing_whole(path: Path, mode: int | None = None) -> Iterator[BinaryIO]:
    """The same for what is written piece by piece: the file takes its place when the block ends, unless it raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of a name as long as may be, a part that leaves room also where each letter takes four bytes.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:48]}.")
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            if mode is not None:
                os.fchmod(file.fileno(), mode)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _without_waiting(path: str, flags: int) -> int:
    """Opens what would otherwise wait for somebody at the other end."""
    return os.open(path, flags | os.O_NONBLOCK)


def _size(count: int) -> str:
    return f"{count >> 20:,} MiB" if count >= 1 << 20 else f"{count:,} bytes"
