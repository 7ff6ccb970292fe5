"""Tokens: the pieces of a text, and how each stands on its line."""

import msgspec


class Token(msgspec.Struct, gc=False):
    """The characters [start, end) of a text, taken for one of the grammar's terminals.

    `first` is true of the first one on its line, which stands `indent` characters from its beginning. A token that no
    text has is empty: it starts where it ends.
    """

    kind: str
    text: str
    start: int
    end: int
    first: bool = False
    indent: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """Where it begins and ends."""
        return self.start, self.end

    @property
    def is_made(self) -> bool:
        """Whether it stands in for one that the text lacks."""
        return self.start == self.end
