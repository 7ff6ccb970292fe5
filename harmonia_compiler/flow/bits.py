"""Sets of small numbers, held as the bits of one."""

from collections.abc import Iterator, Sequence


def bits(mask: int) -> Iterator[int]:
    """The positions of the bits that are set, from the lowest on."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


class Unions:
    """The union of the sets, one for each number, that belong to the numbers of a set.

    Half by half, each of which is reckoned once: sets that grow by a few numbers from one to the next take a few steps
    each, however large they are.
    """

    def __init__(self, sets: Sequence[int]) -> None:
        self._sets = sets
        self._levels = max(1, len(sets) - 1).bit_length()
        self._found: dict[tuple[int, int, int], int] = {}

    def of(self, mask: int) -> int:
        """That of the numbers of one set."""
        return self._of(mask, 0, self._levels)

    def _of(self, mask: int, first: int, level: int) -> int:
        """The same, of which the lowest bit is for the number `first`; it has at most 2 to the power of `level`."""
        if not mask:
            return 0
        if not level:
            return self._sets[first]
        key = mask, first, level
        if key not in self._found:
            half = 1 << level - 1
            low, high = mask & (1 << half) - 1, mask >> half
            self._found[key] = self._of(low, first, level - 1) | self._of(high, first + half, level - 1)
        return self._found[key]
