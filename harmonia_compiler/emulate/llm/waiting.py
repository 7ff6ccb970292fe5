"""The line in front of an engine's batch: first come first served, or by priority."""

import heapq
from collections import deque
from typing import Protocol

from harmonia_compiler.emulate.llm.sequence import Sequence


class Line(Protocol):
    """Sequences that wait for a place in the batch."""

    def __len__(self) -> int: ...

    def add(self, sequence: Sequence) -> None:
        """Let a sequence line up."""
        ...

    def put_back(self, sequence: Sequence) -> None:
        """Let one that had a place wait again, before all others where that is for the line to say."""
        ...

    def first(self) -> Sequence:
        """Whose turn it is."""
        ...

    def pop(self) -> Sequence:
        """Take the first out."""
        ...

    def remove(self, sequence: Sequence) -> None:
        """Take one out, wherever it stands."""
        ...


class InTurn:
    """First come, first served."""

    def __init__(self) -> None:
        self._line: deque[Sequence] = deque()

    def __len__(self) -> int:
        return len(self._line)

    def add(self, sequence: Sequence) -> None:
        """Go to the end."""
        self._line.append(sequence)

    def put_back(self, sequence: Sequence) -> None:
        """Go to the front."""
        self._line.appendleft(sequence)

    def first(self) -> Sequence:
        """Who has waited longest."""
        return self._line[0]

    def pop(self) -> Sequence:
        """Take out who has waited longest."""
        return self._line.popleft()

    def remove(self, sequence: Sequence) -> None:
        """Take one out."""
        self._line.remove(sequence)


class ByPriority:
    """The lowest priority value first, then who came first, also of those that are put back."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, float, int], Sequence]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, sequence: Sequence) -> None:
        """Stand where one's priority says."""
        heapq.heappush(self._heap, (sequence.order, sequence))

    def put_back(self, sequence: Sequence) -> None:
        """Stand where one's priority says."""
        self.add(sequence)

    def first(self) -> Sequence:
        """Who has the lowest value."""
        return self._heap[0][1]

    def pop(self) -> Sequence:
        """Take out who has the lowest value."""
        return heapq.heappop(self._heap)[1]

    def remove(self, sequence: Sequence) -> None:
        """Take one out."""
        self._heap.remove((sequence.order, sequence))
        heapq.heapify(self._heap)
