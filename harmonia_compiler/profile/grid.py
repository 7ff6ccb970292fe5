"""The time of steps between points at which a table was asked: small, quick, and on disk as it is in memory.

A step is the work on all of its tokens, and attention: of its prompts, and of its decoding sequences. Each of the
three is a grid of its own, since it depends on few quantities, and between its points it is taken to be even.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

import msgspec

from harmonia_compiler.profile.steps import StepLoad

#: Matrix products are measured in steps of their tiles, so that the work on a step's tokens bends often.
_TOKENS = (
    *(1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 448, 512, 576, 640, 768, 896, 1024),
    *(1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192, 10240, 12288, 16384),
)
#: A prompt's attention grows with the square of its length; what stands before it counts evenly.
_CHUNKS = (1, 16, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384)
_BEFORE = (0, 256, 1024, 4096, 16384, 65536)
_SEQUENCES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
_CONTEXTS = (1, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)

_Axis = tuple[float, ...]


class Asked(Protocol):
    """Who is asked for a grid's points."""

    def shared_ms(self, tokens: int, /) -> float:
        """The work on so many tokens of a step, without attention."""
        ...

    def step_ms(self, load: StepLoad, /) -> float:
        """The time of one step, from one token given out to the next."""
        ...


class Plane(msgspec.Struct, frozen=True):
    """Values over two quantities. Between the points, and beyond the last ones, as even as among the nearest."""

    across: _Axis
    along: _Axis
    values: tuple[_Axis, ...]

    def __post_init__(self) -> None:
        """Raise ValueError where points and values do not fit each other: a file may say anything."""
        _check(self.across, [row[0] for row in self.values if row])
        for row in self.values:
            _check(self.along, row)

    def at(self, x: float, y: float) -> float:
        """The value at a place."""
        # As `_place` does, twice, without calling it: a simulation asks this millions of times.
        across, along = self.across, self.along
        row = bisect_right(across, x, 1, len(across) - 1) - 1
        least = across[row]
        over = (x - least) / (across[row + 1] - least) if x > least else 0.0
        column = bisect_right(along, y, 1, len(along) - 1) - 1
        least = along[column]
        part = (y - least) / (along[column + 1] - least) if y > least else 0.0
        low, high = self.values[row], self.values[row + 1]
        here = low[column] + part * (low[column + 1] - low[column])
        return here + over * (high[column] + part * (high[column + 1] - high[column]) - here)


class Grid(msgspec.Struct, frozen=True):
    """A `StepModel`, with times in ms.

    `shared` is over `tokens`, `prompts` over new and earlier tokens, `decodes` over sequences and each one's context.
    """

    tokens: _Axis
    shared: _Axis
    prompts: Plane
    decodes: Plane
    request_ms: float = 0.0

    def __post_init__(self) -> None:
        """Raise ValueError where points and times do not fit each other."""
        _check(self.tokens, self.shared)

    def step_ms(self, load: StepLoad, /) -> float:
        """The time of one step, in ms."""
        at, part = _place(self.tokens, load.prefill_tokens + load.decodes)
        ms = self.shared[at] + part * (self.shared[at + 1] - self.shared[at])
        if load.decodes:
            ms += self.decodes.at(load.decodes, load.decode_context / load.decodes)
        if load.prefill_tokens:
            ms += self._attention(load.prefill_tokens, load.prefill_pairs)
        return ms

    def _attention(self, new: float, pairs: float) -> float:
        """Of one chunk after so many tokens; of several prompts that begin, by their part of what one would take."""
        before = pairs / new - new / 2
        if before >= 0:
            return self.prompts.at(new, before)
        least = self.prompts.values[0][0]
        return least + pairs / (new * new / 2) * (self.prompts.at(new, 0.0) - least)


def grid_of(asked: Asked) -> Grid:
    """The grid of a table, by asking it at every point."""
    alone = {tokens: asked.shared_ms(tokens) for tokens in {*_TOKENS, *_CHUNKS, *_SEQUENCES}}

    def prompt(new: int, before: int) -> float:
        return asked.step_ms(StepLoad(new, new * (before + new / 2))) - alone[new]

    def decode(sequences: int, context: int) -> float:
        return asked.step_ms(StepLoad(0, 0.0, sequences, float(sequences * context))) - alone[sequences]

    return Grid(
        tokens=tuple(map(float, _TOKENS)),
        shared=tuple(alone[tokens] for tokens in _TOKENS),
        prompts=_plane(_CHUNKS, _BEFORE, prompt),
        decodes=_plane(_SEQUENCES, _CONTEXTS, decode),
    )


def _plane(across: Sequence[int], along: Sequence[int], value: Callable[[int, int], float]) -> Plane:
    # Attention is the difference of two measured times, and may come out below nothing where it is little.
    rows = tuple(tuple(max(0.0, value(x, y)) for y in along) for x in across)
    return Plane(tuple(map(float, across)), tuple(map(float, along)), rows)


def _place(axis: _Axis, x: float) -> tuple[int, float]:
    """Between which two points, and at which part of the way: 0 before the first one, above 1 beyond the last."""
    at = bisect_right(axis, x, 1, len(axis) - 1) - 1
    low = axis[at]
    return at, (x - low) / (axis[at + 1] - low) if x > low else 0.0


def _check(axis: _Axis, values: Sequence[float]) -> None:
    if len(axis) < 2 or len(axis) != len(values) or any(low >= high for low, high in pairwise(axis)):
        raise ValueError("its points are not in order, or not one for each value")
    if not all(0.0 <= value < float("inf") for value in values):
        raise ValueError("a time is no time")
