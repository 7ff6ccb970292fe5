"""A collection as a file: lines of JSON under gzip, which any language reads and no release of ours need unpack.

The first line is the head: what the collection records. Each further line is a passage with its vector,
in order of the ids, so that equal collections give equal bytes and no id comes twice unnoticed. The last
line counts the passages and has the hash of all bytes before it, so that a file that was cut or changed is known.

    {"is":"collection","format_version":1,"layout":2,"collection":"handbook","record":{"embedder":…}}
    {"is":"passage","id":"00c1…","source":"docs/a.md","document":"9f…","position":0,"chunks":3,"path":"/srv/docs/a.md",
     "text":"…","vector":"base64 of the numbers, each a float32 of four bytes, the lowest first"}
    {"is":"end","passages":1,"sha256":"…"}

Whoever made a file may have meant harm. A line has a bounded length, each value its bounds, and no value is
used as the path of anything that is opened.
"""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
import numpy as np

from harmonia_compiler.contract.collection import LAYOUT, CollectionRecord, Row, StoredChunk
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.regular import open_regular, writing_whole
from harmonia_compiler.runtime.milvus import PATH_BYTES, TEXT_BYTES, StoreFailed

FORMAT_VERSION = 1

#: The most bytes of a line: six for each of a text that JSON escapes throughout, and the widest vector of Milvus.
_MOST_LINE = 1 << 20
#: What is said of a collection is short, and is shown where it does not fit.
_MOST_HEAD = 4096
#: Texts hardly shrink further, and vectors do not at all.
_COMPRESSION = 1
_FLOAT = np.dtype("<f4")

_Digits = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{1,64}\Z")]
_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class Head(msgspec.Struct, frozen=True, tag_field="is", tag="collection"):
    """What was exported; `layout` is the version of what a passage's line holds."""

    collection: str
    record: CollectionRecord
    layout: int = LAYOUT
    format_version: int = FORMAT_VERSION


class _Passage(msgspec.Struct, frozen=True, tag_field="is", tag="passage"):
    id: _Digits
    source: Annotated[str, msgspec.Meta(min_length=1)]
    document: _Digits
    position: _Count
    chunks: _Count
    path: str
    text: str
    vector: bytes


class _End(msgspec.Struct, frozen=True, tag_field="is", tag="end"):
    passages: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    sha256: str


class Damaged(Exception):
    """A file is no export, or not what was exported; the message says why, and `newer` whether it is none of today."""

    def __init__(self, reason: str, *, newer: bool = False) -> None:
        super().__init__(reason)
        self.newer = newer


def write(path: Path, head: Head, rows: Iterable[Row]) -> int:
    """Write an export as a whole or not at all, for its owner alone; gives the number of passages.

    Raises OSError where it cannot be written, and StoreFailed for rows out of order.
    """
    with writing_whole(path) as file, gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0) as packed:
        hashed = hashlib.sha256()
        encoder = msgspec.json.Encoder()

        def put(line: msgspec.Struct) -> None:
            encoded = encoder.encode(line) + b"\n"
            hashed.update(encoded)
            packed.write(encoded)

        put(head)
        count, last = 0, ""
        for row in rows:
            if row.chunk.id <= last:
                raise StoreFailed(f"it gives the passage {row.chunk.id} out of order or twice")
            count, last = count + 1, row.chunk.id
            vector = np.asarray(row.vector, _FLOAT).tobytes()
            put(_Passage(**msgspec.structs.asdict(row.chunk), text=row.text, vector=vector))
        put(_End(count, hashed.hexdigest()))
    return count


def is_export(path: Path) -> bool:
    """Whether there is a file that begins as an export does; raises OSError where it cannot be read."""
    try:
        with opened(path):
            return True
    except Damaged as reason:
        return reason.newer


@contextmanager
def opened(path: Path) -> Iterator["Archive"]:
    """An export whose head is read; raises OSError where it cannot be read, and Damaged where it is none."""
    with open_regular(path) as file:
        yield Archive(file)


@dataclass(slots=True)
class Archive:
    """An export that is open; what is written to its file meanwhile is noticed as damage."""

    file: BinaryIO
    head: Head = field(init=False)

    def __post_init__(self) -> None:
        self.head = _head(next(_lines(self.file), b""))

    def rows(self) -> Iterator[Row]:
        """Each row, and never an end without the whole file having been as it was written.

        Reads from the beginning each time, with a line in memory. Raises OSError and Damaged.
        """
        lines = _lines(self.file)
        first = next(lines, b"")
        if _head(first) != self.head:
            raise Damaged("it was changed while it was read")
        hashed, count, last = hashlib.sha256(first), 0, ""
        for number, line in enumerate(lines, 2):
            read = _decoded(line, number)
            if isinstance(read, _End):
                self._check_end(read, count, hashed.hexdigest())
                if next(lines, b""):
                    raise Damaged("more follows after its end")
                return
            if read.id <= last:
                raise Damaged(f"line {number:,}: the passage {read.id} is out of order or there twice")
            count, last = count + 1, read.id
            hashed.update(line)
            yield self._row(read, number)
        raise Damaged("it ends in the middle")

    def _check_end(self, end: _End, count: int, digest: str) -> None:
        if end.passages != count:
            raise Damaged(f"it holds {count:,} passages, and says that it holds {end.passages:,}")
        if end.sha256 != digest:
            raise Damaged("it was changed after it was exported: its checksum is another")

    def _row(self, line: _Passage, number: int) -> Row:
        """A passage as it was exported; raises Damaged for one that no ingestion would have written."""
        if reason := self._fault(line):
            raise Damaged(f"line {number:,}: {reason}")
        chunk = StoredChunk(line.id, line.source, line.document, line.position, line.chunks, line.path)
        return Row(chunk, line.text, np.frombuffer(line.vector, _FLOAT).tolist())

    def _fault(self, line: _Passage) -> str | None:
        dimension = self.head.record.dimension
        if len(line.vector) != dimension * _FLOAT.itemsize:
            return f"its vector has not the {dimension} numbers that the collection's have"
        if not np.isfinite(np.frombuffer(line.vector, _FLOAT)).all():
            return "its vector holds what is no finite number"
        if line.position >= line.chunks:
            return f"it is passage {line.position} of a document that has {line.chunks}"
        if len(line.text.encode()) > TEXT_BYTES:
            return f"its text is longer than {TEXT_BYTES:,} bytes"
        if max(len(line.path.encode()), len(line.source.encode())) > PATH_BYTES:
            return f"its document's path is longer than {PATH_BYTES:,} bytes"
        if not line.path.startswith("/") or line.path.startswith("//") or os.path.normpath(line.path) != line.path:
            return "its document's path is none from the root"
        return None


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines from the beginning on."""
    file.seek(0)
    try:
        with gzip.GzipFile("", "rb", fileobj=file) as packed:
            while line := packed.readline(_MOST_LINE + 1):
                if len(line) > _MOST_LINE:
                    raise Damaged("it holds a line that is longer than any passage")
                yield line
    except EOFError:
        raise Damaged("it ends in the middle") from None
    except (gzip.BadGzipFile, zlib.error):
        raise Damaged("its bytes are not what gzip wrote") from None


def _head(line: bytes) -> Head:
    """What the first line says; raises Damaged where it is none of ours, or of another release."""
    try:
        kind = decode_document(line[:_MOST_HEAD], _Kind)
    except msgspec.MsgspecError:
        raise Damaged("it is no collection that was exported") from None
    if kind.format_version > FORMAT_VERSION or kind.layout > LAYOUT:
        raise Damaged("a newer release of harmoniac exported it", newer=True)
    try:
        head = decode_document(line, Head)
    except msgspec.MsgspecError as problem:
        raise Damaged(f"its first line is damaged: {problem}") from None
    if kind.format_version < FORMAT_VERSION or head.layout < LAYOUT:
        raise Damaged("no release of harmoniac exported such a version")
    return head


class _Kind(msgspec.Struct, frozen=True, tag_field="is", tag="collection"):
    """What tells a collection of a later format too."""

    format_version: int
    layout: int


def _decoded(line: bytes, number: int) -> _Passage | _End:
    try:
        return decode_document(line, _Passage | _End)  # type: ignore[arg-type]
    except msgspec.MsgspecError as problem:
        raise Damaged(f"line {number:,} is damaged: {problem}") from None
