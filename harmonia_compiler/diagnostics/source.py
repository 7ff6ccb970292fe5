"""Texts and places in them: what every diagnostic points at."""

import re
from bisect import bisect_right
from functools import cached_property

import msgspec


class Source(msgspec.Struct, frozen=True, dict=True):
    """A named text. `name` is what the user is shown: a path as they wrote it, never resolved.

    `has_mark` says that a byte order mark stands before it in its file, which is no part of the text.
    """

    name: str
    text: str
    has_mark: bool = False

    def __repr__(self) -> str:
        return f"Source(name={self.name!r})"

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(found.end() for found in re.finditer("\n", self.text))]

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both counted from 1, of a character offset."""
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a line counted from 1, without what ends it: a newline, or a carriage return and a newline."""
        start = self._line_starts[number - 1]
        end = self.text.find("\n", start)
        return (self.text[start:] if end < 0 else self.text[start:end]).removesuffix("\r")

    @property
    def line_count(self) -> int:
        """How many lines the text has; an empty text has one."""
        return len(self._line_starts)

    def span_of_line(self, number: int) -> "Span":
        """The whole of a line counted from 1: for documents whose parser tells lines alone."""
        start = self._line_starts[max(1, min(number, self.line_count)) - 1]
        return Span(self, start, start + len(self.line(max(1, min(number, self.line_count)))))


class Span(msgspec.Struct, frozen=True, gc=False):
    """The characters [start, end) of a source. Each part of a tree has one, so that they are quickly made."""

    source: Source
    start: int
    end: int

    def to(self, other: "Span") -> "Span":
        """From the start of this span to the end of a later one in the same source."""
        return Span(self.source, self.start, other.end)
