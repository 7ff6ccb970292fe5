"""A pool of KV blocks as it is described: each named block an object of its own, and free ones in a plain list."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field


@dataclass(eq=False)
class PlainBlock:
    """A block; `key` is None where nobody can ask for its content."""

    key: Hashable = None
    users: int = 1


@dataclass
class PlainBlocks:
    """The pool, which looks through all of its blocks whenever it is asked."""

    total: int
    empty: int = field(init=False)
    left: list[PlainBlock] = field(default_factory=list)
    named: list[PlainBlock] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.empty = self.total

    @property
    def free(self) -> int:
        """Blocks that may be taken."""
        return self.empty + len(self.left)

    def found(self, keys: Sequence[Hashable]) -> list[PlainBlock]:
        """The blocks of the longest known beginning."""
        hits: list[PlainBlock] = []
        for key in keys:
            first = next((block for block in self.named if block.key == key), None)
            if first is None:
                break
            hits.append(first)
        return hits

    def share(self, blocks: Sequence[PlainBlock]) -> None:
        """One sequence more uses these."""
        for block in blocks:
            if not block.users:
                self.left.remove(block)
            block.users += 1

    def take(self, count: int) -> None:
        """Those that hold nothing first, then those that were left longest ago."""
        for _ in range(count):
            if self.empty:
                self.empty -= 1
            elif (oldest := self.left.pop(0)) in self.named:
                self.named.remove(oldest)

    def name(self, keys: Sequence[Hashable]) -> list[PlainBlock]:
        """Blocks that were taken hold this."""
        made = [PlainBlock(key) for key in keys]
        self.named += made
        return made

    def give_back(self, named: Sequence[PlainBlock], full: int, partial: int) -> None:
        """A sequence's blocks, of the named ones the end first."""
        self.empty += partial
        self.left += [PlainBlock(users=0) for _ in range(full)]
        for block in reversed(named):
            block.users -= 1
            if not block.users:
                self.left.append(block)
