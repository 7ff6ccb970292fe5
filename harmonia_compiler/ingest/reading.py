"""Files to hashes and chunks, with a finding for each file that cannot be read."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harmonia_compiler.contract.collection import StoredChunk
from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.ingest.apart import Apart
from harmonia_compiler.ingest.chunks import Shape, cut
from harmonia_compiler.ingest.discover import Found
from harmonia_compiler.ingest.documents import MAX_BYTES, Unreadable, load
from harmonia_compiler.runtime.milvus import PATH_BYTES

_ID_DIGITS = 32
#: Of files without text, those that are named: whoever sees so many knows where to look.
_MOST_NAMED = 10


@dataclass(slots=True)
class Reader:
    """Reads the files of one run; each is read once for its hash, and again only where that is new.

    Close it once chunks were asked of it: it may have started a process that reads them.
    """

    chunker: str
    findings: Findings
    _empty: list[Found] = field(default_factory=list)
    _hashes: dict[str, str] = field(default_factory=dict)
    _apart: Apart = field(default_factory=Apart)

    def close(self) -> None:
        """End what was started to read files."""
        self._apart.close()

    def hashes(
        self, files: Sequence[Found], tell: Callable[[int, Found], None] = lambda _done, _file: None
    ) -> dict[str, str]:
        """The hash of each file that can be read, by its place; `tell` is told of each before it is read."""
        for done, file in enumerate(files):
            tell(done, file)
            content = self._content(file)
            if content is not None:
                self._hashes[file.place] = _hash(content)
        return dict(self._hashes)

    def chunks(self, file: Found, source: str) -> list[tuple[StoredChunk, str]] | None:
        """The chunks of a document that goes by that name, with their texts; None where it cannot be read after all."""
        content = self._content(file)
        if content is None:
            return None
        if _hash(content) != self._hashes[file.place]:
            message = f"`{file.path}` was changed while it was ingested"
            self.findings.add("E1003", message, help="run the same command again")
            return None
        try:
            document = load(file.path.name, content, self._apart)
            texts = [chunk.text for chunk in cut(document, Shape.of(self.chunker))]
        except Unreadable as reason:
            message = f"`{file.path}` cannot be read: {reason}"
            self.findings.add("E1003", message, help="replace the file by one that can be read, or remove it")
            return None
        if not texts:
            self._report_empty(file)
        version, count = self._hashes[file.place], len(texts)
        return [
            (StoredChunk(_id(file.place, source, version, at), source, version, at, count, file.place), text)
            for at, text in enumerate(texts)
        ]

    def report_empty(self) -> None:
        """Name the files without text among those whose chunks were asked for; a PDF was named where it was read."""
        if self._empty:
            named = ", ".join(f"`{file.path}`" for file in self._empty[:_MOST_NAMED])
            more = len(self._empty) - _MOST_NAMED
            if len(self._empty) == 1:
                message, advice = f"{named} has no text", "write into it what shall be found, or remove it"
            else:
                message = f"{len(self._empty):,} files have no text: {named}" + (
                    f" and {more:,} more" if more > 0 else ""
                )
                advice = "write into them what shall be found, or remove them"
            self.findings.add("W1002", message, help=advice)

    def _report_empty(self, file: Found) -> None:
        if file.path.suffix.lower() == ".pdf":
            message = f"`{file.path}` has no text; it may be a scan"
            self.findings.add("W1002", message, help="give a version of it with recognised text")
        else:
            self._empty.append(file)

    def _content(self, file: Found) -> bytes | None:
        if reason := _unkeepable(file.place):
            self.findings.add("E1003", f"`{file.path}` cannot be kept: {reason}", help="give it another name")
            return None
        try:
            with file.path.open("rb") as opened:
                content = opened.read(MAX_BYTES + 1)
        except OSError as problem:
            message = f"`{file.path}` cannot be read: {problem.strerror}"
            self.findings.add("E1003", message, help="see that the file is there and who may read it")
            return None
        if len(content) > MAX_BYTES:
            message = f"`{file.path}` is larger than {MAX_BYTES // 2**20} MiB"
            self.findings.add("E1004", message, help="split it into smaller documents")
            return None
        return content


def _unkeepable(place: str) -> str | None:
    """Why a document of this place cannot be kept, if it cannot; its name is never longer than its place."""
    try:
        return f"its path is longer than {PATH_BYTES:,} bytes" if len(place.encode()) > PATH_BYTES else None
    except UnicodeEncodeError:
        return "its name is no text in this system's encoding"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _id(*version: str | int) -> str:
    """Different for each chunk of each version of each document, and the same in each run."""
    return hashlib.sha256("\0".join(map(str, version)).encode()).hexdigest()[:_ID_DIGITS]
