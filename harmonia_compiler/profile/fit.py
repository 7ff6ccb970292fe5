"""Least squares with coefficients that may not be negative: more work never takes less time.

By coordinate descent on the normal equations, which is convex and ends where no single coefficient can
be bettered. Small problems only: a dozen coefficients.
"""

import math
from collections.abc import Sequence

_SWEEPS = 20_000
_SETTLED = 1e-10


def non_negative(rows: Sequence[Sequence[float]], wanted: Sequence[float]) -> list[float]:
    """The `x >= 0` that makes `|rows · x - wanted|` least."""
    columns = list(zip(*rows, strict=True))
    # Columns of equal length, so that one that is measured in millions is no harder to find.
    lengths = [math.sqrt(math.fsum(value * value for value in column)) or 1.0 for column in columns]
    units = [[value / length for value in column] for column, length in zip(columns, lengths, strict=True)]
    products = [[math.fsum(map(float.__mul__, one, other)) for other in units] for one in units]
    towards = [math.fsum(map(float.__mul__, unit, map(float, wanted))) for unit in units]
    found = [0.0] * len(units)
    for _ in range(_SWEEPS):
        moved = 0.0
        for position, line in enumerate(products):
            if line[position] == 0.0:
                continue
            gradient = math.fsum(map(float.__mul__, line, found)) - towards[position]
            better = max(0.0, found[position] - gradient / line[position])
            moved = max(moved, abs(better - found[position]))
            found[position] = better
        if moved <= _SETTLED * max(found):
            break
    return [value / length for value, length in zip(found, lengths, strict=True)]
