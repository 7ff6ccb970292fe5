"""Sets of small numbers, held as the bits of one."""

from collections.abc import Iterator


def bits(mask: int) -> Iterator[int]:
    """The positions of the bits that are set, from the lowest on."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
