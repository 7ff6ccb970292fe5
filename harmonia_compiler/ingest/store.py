"""What ingestion asks of a vector store; `runtime.milvus.Milvus` is the real one."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from harmonia_compiler.contract.collection import CollectionRecord, Row, StoredChunk


class Store(Protocol):
    """Physical collections of rows, and an alias for each collection that pipelines name.

    Every method may raise `runtime.milvus.StoreFailed`. A process may die between any two calls,
    and within any; each call alone takes effect wholly or, of many rows, for some of them.
    """

    def serving(self, collection: str) -> str | None:
        """What searches of the collection read; None where nothing does."""

    def physicals(self, collection: str) -> list[str]:
        """Everything built for the collection, serving or not."""

    def record(self, physical: str) -> CollectionRecord | None:
        """What the vectors were made with."""

    def create(self, physical: str, record: CollectionRecord) -> None:
        """An empty collection."""

    def load(self, physical: str, index: str | None = None) -> None:
        """Make it searchable and readable; an `index` is built first, unless it is there already."""

    def chunks(self, physical: str) -> Iterator[StoredChunk]:
        """Every row, in any order, without text and vector."""

    def rows(self, physical: str) -> Iterator[Row]:
        """Every row in order of the ids, of which not more than some are in memory at a time."""

    def upsert(self, physical: str, rows: Sequence[Row]) -> None:
        """Write rows, in place of those with the same id."""

    def delete(self, physical: str, ids: Sequence[str]) -> None:
        """Remove rows; ids that are not there are passed over."""

    def flush(self, physical: str) -> None:
        """Return when what was written is on disk."""

    def point(self, collection: str, physical: str) -> None:
        """Let searches of the collection read this one, in one step."""

    def drop(self, physical: str) -> None:
        """Remove a collection that nothing points at."""


class Embed(Protocol):
    """How ingestion has texts embedded."""

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """The vectors in the order of the texts; may raise `diagnostics.Rejected`."""
