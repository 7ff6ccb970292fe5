"""Text to tokens by the terminals of the grammar, as lark's own lexer would, in one pass of one pattern.

lark counts lines and columns at every token, which takes longer than finding it; here a token has its offsets alone.
"""

import re
from functools import cache

from lark import Token
from lark.lexer import PatternStr

from harmonia_compiler.syntax.tables import parser


def lex(text: str, *, spaces: bool = True) -> list[Token]:
    """All tokens of a text, with comments and `spaces` or without these: the grammar has terminals for everything."""
    pattern, keywords = _terminals()
    tokens = []
    for found in pattern.finditer(text):
        kind, value = found.lastgroup, found[0]
        assert kind is not None
        if kind == "WS" and not spaces:
            continue
        if kind == "NAME":
            kind = keywords.get(value, kind)
        tokens.append(_token(kind, value, *found.span()))
    return tokens


def _token(kind: str, value: str, start: int, end: int) -> Token:
    """A token with its offsets alone; lark's own way of making one takes twice as long as finding it."""
    token = str.__new__(Token, value)
    token.type, token.value, token.start_pos, token.end_pos = kind, value, start, end
    return token


@cache
def _terminals() -> tuple[re.Pattern[str], dict[str, str]]:
    """The terminals as one pattern, in the order in which lark tries them, without the keywords, which are names."""
    terminals = sorted(
        parser().terminals,
        key=lambda each: (-each.priority, -each.pattern.max_width, -len(each.pattern.value), each.name),
    )
    name = re.compile(next(each.pattern.to_regexp() for each in terminals if each.name == "NAME"))
    keywords = {
        each.pattern.value: each.name
        for each in terminals
        if isinstance(each.pattern, PatternStr) and name.fullmatch(each.pattern.value)
    }
    others = [each for each in terminals if each.name not in keywords.values()]
    return re.compile("|".join(f"(?P<{each.name}>{each.pattern.to_regexp()})" for each in others)), keywords
