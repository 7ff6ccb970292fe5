"""The parser's tables: what lexer and parser go by, made from `grammar/rag.lark` and kept beside it in `tables.json`.

Making them takes lark, and longer than a whole `check` may: `python -m harmonia_compiler.syntax.generate` does it after
a change of the grammar, and so does `make bless`.
"""

from functools import cache
from pathlib import Path

import msgspec


class Rule(msgspec.Struct, frozen=True):
    """An alternative of the grammar: the parts, by their kinds, that become one part of the kind `name`.

    `builds` is the name of what is made of them. Of the parts `kept` stay, each by its position, with how many absent
    ones stand before it; `absent` stand behind the last. A rule that is `inline` makes of one part the same.
    """

    name: str
    parts: tuple[str, ...]
    builds: str
    kept: tuple[tuple[int, int], ...]
    absent: int
    inline: bool

    @property
    def stays(self) -> bool:
        """Whether its one part stays as it is, so that nothing need be done for it."""
        return self.inline and len(self.parts) == 1 and not is_terminal(self.parts[0]) and not helps(self.parts[0])


class Tables(msgspec.Struct, frozen=True):
    """All that lexer and parser go by.

    `terminals` are the patterns of tokens in the order in which they are tried, without keywords, which are names;
    `keywords` the kinds of these. A state says for a kind of token or part what follows: the next state, or, below
    0, the rule after the next token of this kind, counted from -1 downwards.
    """

    terminals: tuple[tuple[str, str], ...]
    keywords: dict[str, str]
    rules: tuple[Rule, ...]
    states: tuple[dict[str, int], ...]
    start: int
    end: int


def is_terminal(kind: str) -> bool:
    """Whether this is a kind of token, and not one of parts."""
    return kind.isupper()


def helps(kind: str) -> bool:
    """Whether parts of this kind are taken apart by the rule that has them."""
    return kind.startswith("_")


def grammar_folder() -> Path:
    """Where the grammar is: inside an installed package, or beside the package in a checkout."""
    package = Path(__file__).parent.parent
    shipped = package / "_grammar"
    return shipped if shipped.is_dir() else package.parent / "grammar"


@cache
def tables() -> Tables:
    """The tables of the grammar."""
    return msgspec.json.decode((grammar_folder() / "tables.json").read_bytes(), type=Tables)
