"""The KV cache of an engine: blocks, who uses them, and what the free ones still hold.

As vLLM's block pool, but that only blocks whose content somebody may ask for again have an identity;
the others are numbers. Free blocks are taken in this order: those that hold nothing of use, then those
that hold full blocks of former sequences, the longest unused first.

What a sequence names at once and uses alone is one run, however many blocks it has: of an hour's millions of blocks
most are never asked for again, and come and go many at a time. A run is divided where others share a part of it, so
that whoever uses a block of a run uses all of it.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeAlias

#: A full block with an identity: the key that stands for its tokens and all before them, or a `Twin` of it.
Block: TypeAlias = Hashable


class Twin:
    """A block with the same content as one that was there already. Each is itself alone."""

    __slots__ = ("key",)

    def __init__(self, key: Hashable) -> None:
        self.key = key


class _Run:
    """Blocks in a row of one sequence that the same sequences use, as many as `users`; free where nobody does.

    The end, which stands last, is reused before what more may share.
    """

    __slots__ = ("blocks", "users")

    def __init__(self, blocks: list[Block], users: int) -> None:
        self.blocks = blocks
        self.users = users


class _Nameless:
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
        #: The free ones that were used before, the longest unused first, and how many they are.
        self._used_before: OrderedDict[_Run | _Nameless, None] = OrderedDict()
        self._held_before = 0
        self._runs: dict[Block, _Run] = {}
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
            runs, twins = self._runs, self._found_twins
            for key in keys[:most]:
                if key in runs:
                    hits.append(key)
                elif key in twins:
                    hits.append(twins[key])
                else:
                    break
        return hits

    def unused(self, blocks: Iterable[Block]) -> int:
        """How many of these nobody uses: to share them takes free blocks."""
        runs = self._runs
        return sum(not runs[block].users for block in blocks)

    def share(self, blocks: Sequence[Block]) -> None:
        """Let one more sequence use blocks that were found."""
        at = 0
        while at < len(blocks):
            run = self._part(self._runs[blocks[at]], blocks, at)
            if not run.users:
                self._used_before.pop(run, None)
                self._held_before -= len(run.blocks)
            run.users += 1
            at += len(run.blocks)

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
            if isinstance(oldest, _Run):
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
        """Say what blocks of one sequence hold that were taken and are full now."""
        runs, twins = self._runs, self._found_twins
        run = _Run([*keys], 1)
        # Where a key is known, those before it are: they are kept for longer.
        if keys and (keys[0] in runs or keys[0] in twins):
            run.blocks = [self._twin_of(key) if key in runs or key in twins else key for key in keys]
        runs.update(dict.fromkeys(run.blocks, run))
        return [*run.blocks]

    def give_back(self, named: Sequence[Block], full: int, partial: int) -> None:
        """Free a sequence's blocks: the named ones at its beginning, all of them, further full ones, others."""
        if not self._caching:
            full, partial = 0, full + partial
        self._plain += partial
        if full:
            self._used_before[_Nameless(full)] = None
            self._held_before += full
        runs, at = self._runs, len(named)
        while at > 0:
            run = runs[named[at - 1]]
            at -= len(run.blocks)
            run.users -= 1
            if not run.users:
                self._used_before[run] = None
                self._held_before += len(run.blocks)

    def _part(self, run: _Run, blocks: Sequence[Block], at: int) -> _Run:
        """That part of a run, as one of its own, which some blocks have in common with it from a position on."""
        there = run.blocks
        start = 0 if there[0] == blocks[at] else there.index(blocks[at])
        end = start
        while end < len(there) and at < len(blocks) and there[end] == blocks[at]:
            end += 1
            at += 1
        if end - start == len(there):
            return run
        part = self._cut_out(run, start, end)
        if run.users and 0 < start < len(run.blocks):
            # What stood before the part and what stood behind it are in use, and no longer in a row.
            self._cut_out(run, start, len(run.blocks))
        return part

    def _cut_out(self, run: _Run, start: int, end: int) -> _Run:
        part = _Run(run.blocks[start:end], run.users)
        del run.blocks[start:end]
        self._runs.update(dict.fromkeys(part.blocks, part))
        return part

    def _twin_of(self, key: Hashable) -> Twin:
        twin = Twin(key)
        self._twins.setdefault(key, []).append(twin)
        return twin

    def _forget(self, gone: Sequence[Block]) -> None:
        """Of equal blocks the next one is found once the first is gone."""
        runs, twins = self._runs, self._twins
        if not (twins or self._found_twins):
            for block in gone:
                del runs[block]
            return
        for block in reversed(gone):
            del runs[block]
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
