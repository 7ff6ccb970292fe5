"""The KV cache of an engine: blocks, who uses them, and what the free ones still hold.

As vLLM's block pool, but that only blocks whose content somebody may ask for again have an identity;
the others are numbers. Free blocks are taken in this order: those that hold nothing of use, then those
that hold full blocks of former sequences, the longest unused first.

What a sequence leaves is one entry in that order, however many blocks it has: of an hour's millions of blocks most are
never asked for again, and come and go many at a time.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from itertools import repeat
from typing import TypeAlias

#: A full block with an identity: the key that stands for its tokens and all before them, or a `Twin` of it.
Block: TypeAlias = Hashable


class Twin:
    """A block with the same content as one that was there already. Each is itself alone."""

    __slots__ = ("key",)

    def __init__(self, key: Hashable) -> None:
        self.key = key


class _Left:
    """Free blocks that one sequence left. Its end, which stands last, is reused before what more may share."""

    __slots__ = ("blocks",)

    def __init__(self, blocks: list[Block]) -> None:
        self.blocks = blocks


class _Run:
    """So many full blocks whose content nobody can ask for: they only take their turn in being reused."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count


class Blocks:
    """A pool of `total` blocks."""

    def __init__(self, total: int, *, caching: bool = True) -> None:
        self.total = total
        self._caching = caching
        self._plain = total
        self._used_before: OrderedDict[_Left | _Run, None] = OrderedDict()
        self._held_before = 0
        #: How many sequences use each block; one that none uses is among those that somebody left.
        self._uses: dict[Block, int | _Left] = {}
        # Two sequences that compute the same at the same time each have a block of it; the first is found. Once that is
        # gone, the first of its twins is.
        self._twins: dict[Hashable, list[Twin]] = {}
        self._found_twins: dict[Hashable, Twin] = {}

    @property
    def free(self) -> int:
        """Blocks that may be taken."""
        return self._plain + self._held_before

    def found(self, keys: Sequence[Hashable], most: int) -> list[Block]:
        """The blocks that hold the longest known beginning of `keys`, at most so many."""
        hits: list[Block] = []
        if self._caching:
            uses, twins = self._uses, self._found_twins
            for key in keys[:most]:
                if key in uses:
                    hits.append(key)
                elif key in twins:
                    hits.append(twins[key])
                else:
                    break
        return hits

    def unused(self, blocks: Iterable[Block]) -> int:
        """How many of these nobody uses: to share them takes free blocks."""
        uses = self._uses
        return sum(type(uses[block]) is _Left for block in blocks)

    def share(self, blocks: Sequence[Block]) -> None:
        """Let one more sequence use blocks that were found."""
        uses, at = self._uses, 0
        while at < len(blocks):
            use = uses[blocks[at]]
            if isinstance(use, int):
                uses[blocks[at]] = use + 1
                at += 1
            else:
                at += self._pick_up(blocks, at, use)

    def take(self, count: int) -> None:
        """Take free blocks; what they held is lost. There must be so many."""
        assert count <= self.free, (count, self.free)
        of_plain = min(count, self._plain)
        self._plain -= of_plain
        count -= of_plain
        self._held_before -= count
        used_before = self._used_before
        while count > 0:
            oldest = next(iter(used_before))
            if isinstance(oldest, _Left):
                left = oldest.blocks
                gone = left[-count:]
                del left[-count:]
                self._forget(gone)
                count -= len(gone)
                if not left:
                    del used_before[oldest]
                continue
            part = min(count, oldest.count)
            oldest.count -= part
            count -= part
            if not oldest.count:
                del used_before[oldest]

    def name(self, keys: Sequence[Hashable]) -> list[Block]:
        """Say what blocks hold that were taken and are full now."""
        uses, twins = self._uses, self._found_twins
        new = dict.fromkeys(keys, 1)
        if len(new) == len(keys) and uses.keys().isdisjoint(new) and (not twins or twins.keys().isdisjoint(new)):
            uses.update(new)
            return [*keys]
        named: list[Block] = []
        for key in keys:
            block: Block = key
            if key in uses or key in twins:
                block = twin = Twin(key)
                self._twins.setdefault(key, []).append(twin)
            uses[block] = 1
            named.append(block)
        return named

    def give_back(self, named: Sequence[Block], full: int, partial: int) -> None:
        """Free a sequence's blocks: the named ones at its beginning, further full ones, others."""
        if not self._caching:
            full, partial = 0, full + partial
        self._plain += partial
        if full:
            self._used_before[_Run(full)] = None
            self._held_before += full
        if not named:
            return
        uses = self._uses
        users = [*map(uses.__getitem__, named)]
        if users.count(1) == len(named):
            unused = [*named]
        else:
            unused = []
            for block, use in zip(named, users, strict=True):
                assert isinstance(use, int)
                if use == 1:
                    unused.append(block)
                else:
                    uses[block] = use - 1
        if unused:
            left = _Left(unused)
            self._used_before[left] = None
            self._held_before += len(unused)
            uses.update(zip(unused, repeat(left), strict=False))

    def _pick_up(self, blocks: Sequence[Block], at: int, left: _Left) -> int:
        """Use the block at a position again, and those after it that were left in the same order; how many."""
        there = left.blocks
        start = 0 if there[0] == blocks[at] else there.index(blocks[at])
        end = start
        while end < len(there) and at < len(blocks) and there[end] == blocks[at]:
            self._uses[blocks[at]] = 1
            end += 1
            at += 1
        del there[start:end]
        self._held_before -= end - start
        if not there:
            del self._used_before[left]
        return end - start

    def _forget(self, gone: Sequence[Block]) -> None:
        """Of equal blocks the next one is found once the first is gone."""
        uses, twins = self._uses, self._twins
        for block in reversed(gone):
            del uses[block]
            if type(block) is Twin:
                self._forget_twin(block)
            elif block in twins:
                self._find_next_twin(block)

    def _forget_twin(self, twin: Twin) -> None:
        if self._found_twins.get(twin.key) is not twin:
            others = self._twins[twin.key]
            others.remove(twin)
            if not others:
                del self._twins[twin.key]
        elif twin.key in self._twins:
            self._find_next_twin(twin.key)
        else:
            del self._found_twins[twin.key]

    def _find_next_twin(self, key: Hashable) -> None:
        others = self._twins[key]
        self._found_twins[key] = others.pop(0)
        if not others:
            del self._twins[key]
