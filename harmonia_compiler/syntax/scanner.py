"""Text to tokens by the terminals of the grammar, in one pass of one pattern."""

import re
from functools import cache

from harmonia_compiler.syntax.tables import tables
from harmonia_compiler.syntax.token import Token


def lex(text: str, *, spaces: bool = True) -> list[Token]:
    """All tokens of a text, with comments and `spaces` or without these: the grammar has terminals for everything."""
    keywords = tables().keywords
    tokens = []
    for found in _pattern("" if spaces else "[ \\t]*").finditer(text):
        kind = found.lastgroup
        assert kind is not None
        if kind == "WS" and not spaces:
            continue
        value = found[kind]
        start, end = found.span(kind)
        if kind == "NAME":
            kind = keywords.get(value, kind)
        tokens.append(Token(kind, value, start, end))
    return tokens


@cache
def _pattern(before: str) -> re.Pattern[str]:
    """The terminals as one pattern that passes over what stands `before` a token: half of all are spaces."""
    return re.compile(before + f"(?:{'|'.join(f'(?P<{name}>{pattern})' for name, pattern in tables().terminals)})")
