"""Carries out changes on one physical collection: embed, write, and then remove what they replace."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harmonia_compiler.contract.collection import Row, StoredChunk
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.ingest.changes import Changes
from harmonia_compiler.ingest.discover import Found
from harmonia_compiler.ingest.reading import Reader
from harmonia_compiler.ingest.store import Embed, Store

ROWS_AT_ONCE = 128
_DELETES_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: `done` documents of `total` are cut and, but for a last batch, written; `chunks` embedded.

    Of the document at hand, `name`, the part `share` is written; None while it is read and cut. Before that all files
    are looked at for what changed (`looks`): then `done` of all of them.
    """

    done: int
    total: int
    chunks: int
    name: str = ""
    share: float | None = 0.0
    looks: bool = False


#: Called for each file that is looked at, for each document before it is read and once it is cut, after each batch
#: within it, and at the end.
OnProgress = Callable[[Progress], None]


@dataclass(slots=True)
class Report:
    """Counts of documents, of chunks embedded, and whether another collection serves now.

    `empty` documents have no text; `repeated` chunks have the text of an earlier one of the run; `findings` say what
    could not be read.
    """

    added: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    empty: int = 0
    chunks: int = 0
    repeated: int = 0
    switched: bool = False
    findings: list[Diagnostic] = field(default_factory=list)


@dataclass(slots=True)
class Writer:
    """Writes in batches that may hold several documents; a document's old rows go after its last new one.

    What is there of a document's present version, since an earlier run was interrupted, is not embedded again.
    """

    store: Store
    embed: Embed
    physical: str
    dimension: int
    on_progress: OnProgress
    _report: Report = field(default_factory=Report)
    _batch: list[tuple[StoredChunk, str]] = field(default_factory=list)
    _replaced: list[str] = field(default_factory=list)
    #: By their hashes, to hold no texts of a large run in memory; two that differ may count as equal.
    _texts: set[int] = field(default_factory=set)

    def write(self, changes: Changes, files: Iterable[Found], names: Mapping[str, str], reader: Reader) -> Report:
        """Bring the collection to what `changes` ask for; raises `Rejected` for vectors that do not fit.

        `names` has the name that each file's document goes by, by the file's place.
        """
        report = self._report
        report.deleted, report.unchanged = len(changes.deleted), len(changes.unchanged)
        new, changed = set(changes.added), set(changes.updated)
        queue = [file for file in files if file.place in new or file.place in changed]
        for done, file in enumerate(queue):
            at = Progress(done, len(queue), report.chunks, names[file.place], share=None)
            self.on_progress(at)
            chunks = reader.chunks(file, names[file.place])
            if chunks is None:
                continue
            begun = changes.begun.get(file.place, frozenset[StoredChunk]())
            self._add(chunks, begun, at)
            self._replaced.extend(changes.superseded.get(file.place, ()))
            self._replaced.extend(sorted({row.id for row in begun} - {chunk.id for chunk, _ in chunks}))
            report.empty += not chunks
            report.added += bool(chunks) and file.place in new
            report.updated += file.place in changed
        self._flush()
        for place in changes.unchanged:
            self._delete(changes.superseded.get(place, ()))
        for ids in changes.deleted.values():
            self._delete(ids)
        self.store.flush(self.physical)
        self.on_progress(Progress(len(queue), len(queue), report.chunks))
        return report

    def _add(self, chunks: Sequence[tuple[StoredChunk, str]], begun: frozenset[StoredChunk], at: Progress) -> None:
        """Write what is not there of a document, of which as many passages as fill no batch wait for others."""
        self.on_progress(replace(at, share=0.0))
        for number, chunk in enumerate(chunks, 1):
            if chunk[0] not in begun:
                self._batch.append(chunk)
            if len(self._batch) >= ROWS_AT_ONCE:
                self._flush()
                self.on_progress(replace(at, chunks=self._report.chunks, share=number / len(chunks)))

    def _flush(self) -> None:
        if self._batch:
            vectors = self.embed([text for _, text in self._batch])
            self._check(vectors)
            rows = [Row(chunk, text, vector) for (chunk, text), vector in zip(self._batch, vectors, strict=True)]
            self.store.upsert(self.physical, rows)
            self._report.chunks += len(rows)
            self._texts.update(hash(text) for _, text in self._batch)
            self._report.repeated = self._report.chunks - len(self._texts)
        self._batch.clear()
        self._delete(self._replaced)
        self._replaced.clear()

    def _check(self, vectors: Sequence[Sequence[float]]) -> None:
        lengths = {len(vector) for vector in vectors}
        if lengths != {self.dimension}:
            message = f"the embedder gives vectors of {max(lengths)} numbers, and the collection holds {self.dimension}"
            raise Rejected(
                [Diagnostic("E1008", message, help="compile again, so that the bundle knows the embedder that runs")]
            )

    def _delete(self, ids: Sequence[str]) -> None:
        for at in range(0, len(ids), _DELETES_AT_ONCE):
            self.store.delete(self.physical, ids[at : at + _DELETES_AT_ONCE])
