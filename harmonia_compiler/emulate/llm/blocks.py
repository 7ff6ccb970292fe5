"""The KV cache of an engine: blocks, who uses them, and what the free ones still hold.

As vLLM's block pool, but that only blocks whose content somebody may ask for again have an identity;
the others are numbers. Free blocks are taken in this order: those that hold nothing of use, then those
that hold full blocks of former sequences, the longest unused first.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Block:
    """A full block. `key` stands for its tokens and all before them, `users` counts sequences that hold it."""

    key: Hashable
    users: int


@dataclass(slots=True, eq=False)
class _Run:
    """So many full blocks whose content nobody can ask for: they only take their turn in being reused."""

    count: int


class Blocks:
    """A pool of `total` blocks."""

    def __init__(self, total: int, *, caching: bool = True) -> None:
        self.total = total
        self._caching = caching
        self._plain = total
        self._used_before: OrderedDict[Block | _Run, None] = OrderedDict()
        self._held_before = 0
        self._by_key: dict[Hashable, Block] = {}
        # Two sequences that compute the same at the same time each have a block of it; the first is found.
        self._twins: dict[Hashable, list[Block]] = {}

    @property
    def free(self) -> int:
        """Blocks that may be taken."""
        return self._plain + self._held_before

    def found(self, keys: Sequence[Hashable], most: int) -> list[Block]:
        """The blocks that hold the longest known beginning of `keys`, at most so many."""
        hits: list[Block] = []
        if self._caching:
            for key in keys[:most]:
                there = self._by_key.get(key)
                if there is None:
                    break
                hits.append(there)
        return hits

    def share(self, blocks: Iterable[Block]) -> None:
        """Let one more sequence use blocks that were found."""
        for block in blocks:
            if block.users == 0:
                del self._used_before[block]
                self._held_before -= 1
            block.users += 1

    def take(self, count: int) -> None:
        """Take free blocks; what they held is lost. There must be so many."""
        assert count <= self.free, (count, self.free)
        of_plain = min(count, self._plain)
        self._plain -= of_plain
        count -= of_plain
        self._held_before -= count
        used_before = self._used_before
        while count > 0:
            oldest, _ = used_before.popitem(last=False)
            if isinstance(oldest, Block):
                self._forget(oldest)
                count -= 1
                continue
            part = min(count, oldest.count)
            oldest.count -= part
            count -= part
            if oldest.count:
                used_before[oldest] = None
                used_before.move_to_end(oldest, last=False)

    def name(self, keys: Iterable[Hashable]) -> list[Block]:
        """Say what blocks hold that were taken and are full now."""
        named, by_key = [], self._by_key
        for key in keys:
            block = Block(key, 1)
            if by_key.setdefault(key, block) is not block:
                self._twins.setdefault(key, []).append(block)
            named.append(block)
        return named

    def give_back(self, named: Sequence[Block], full: int, partial: int) -> None:
        """Free a sequence's blocks: the named ones at its beginning, further full ones, others.

        The end of a sequence is reused before its beginning, which more may share.
        """
        if not self._caching:
            full, partial = 0, full + partial
        self._plain += partial
        if full:
            self._used_before[_Run(full)] = None
            self._held_before += full
        for block in reversed(named):
            block.users -= 1
            if block.users == 0:
                self._used_before[block] = None
                self._held_before += 1

    def _forget(self, block: Block) -> None:
        key = block.key
        twins = self._twins.get(key)
        if twins is None:
            del self._by_key[key]
            return
        if self._by_key[key] is block:
            self._by_key[key] = twins.pop(0)
        else:
            twins.remove(block)
        if not twins:
            del self._twins[key]
