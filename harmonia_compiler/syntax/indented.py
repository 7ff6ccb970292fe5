"""Headers that end in `:`, as in Python: the braces that their blocks lack, by the indentation of the lines.

Each is one finding, and what stands in the block is read as it is meant.
"""

from collections.abc import Iterator

import msgspec

from harmonia_compiler.syntax.ahead import CLOSER_OF, CLOSERS, OPENERS, renamed, virtual
from harmonia_compiler.syntax.lexer import Lexer
from harmonia_compiler.syntax.token import Token

_HEADERS = frozenset({"IF", "ELIF", "ELSE", "REPEAT", "PIPELINE"})
#: Whose `:` may end a line, and has a value behind it.
_WITH_A_VALUE = frozenset({"EACH", "LBRACE"})


class _Block(msgspec.Struct, frozen=True):
    """A block that a `:` has opened: the indentation of its header, and how many brackets stand open in it."""

    indent: int
    depth: int


def with_braces(lexer: Lexer, tokens: list[Token]) -> list[Token]:
    """The tokens with braces for the blocks of headers that end in `:`, each of which is reported."""
    headers = dict(_headers(tokens))
    return _Braces(lexer, headers).put(tokens) if headers else tokens


def _headers(tokens: list[Token]) -> Iterator[tuple[int, int]]:
    """Where a line is a header that ends in `:`, the position of that, with the indentation of the line."""
    begin = 0
    for at, token in enumerate(tokens):
        if token.first:
            begin = at
        if token.kind != "COLON" or (at + 1 < len(tokens) and not tokens[at + 1].first):
            continue
        if _is_header([each.kind for each in tokens[begin:at]]):
            yield at, tokens[begin].indent


def _is_header(kinds: list[str]) -> bool:
    """Whether the tokens of a line before its `:` are a block's header."""
    while kinds and kinds[0] == "RBRACE":
        kinds = kinds[1:]
    if not kinds or kinds[0] not in _HEADERS or not _WITH_A_VALUE.isdisjoint(kinds):
        return False
    is_balanced = sum((kind in OPENERS) - (kind in CLOSERS) for kind in kinds) == 0
    return is_balanced and (kinds[0] != "ELSE" or len(kinds) == 1)


class _Braces:
    """One reading of a text's tokens. `open` are the blocks without braces, from the outside in."""

    def __init__(self, lexer: Lexer, headers: dict[int, int]) -> None:
        self.lexer = lexer
        self.headers = headers
        self.tokens: list[Token] = []
        self.stack: list[str] = []
        self.open: list[_Block] = []

    def put(self, tokens: list[Token]) -> list[Token]:
        for at, token in enumerate(tokens):
            kind = token.kind
            while token.first and self.is_innermost() and token.indent <= self.open[-1].indent:
                self.close()
            if at in self.headers and self.stack[-1:] in ([], ["LBRACE"]):
                self.begin(token, self.headers[at])
                continue
            while kind in CLOSERS and self.is_innermost():
                self.close()
            if kind in OPENERS:
                self.stack.append(kind)
            elif kind in CLOSERS and self.stack and CLOSER_OF[self.stack[-1]] == kind:
                self.stack.pop()
            self.tokens.append(token)
        while self.open:
            self.close()
        return self.tokens

    def is_innermost(self) -> bool:
        """Whether no bracket stands open in the innermost of the blocks."""
        return bool(self.open) and self.open[-1].depth == len(self.stack)

    def begin(self, token: Token, indent: int) -> None:
        start, end = token.place
        help = "a block stands in braces: write `{` here, and `}` on a line of its own behind the block"
        self.lexer.report("E0101", "expected `{`, found `:`", start, end, help)
        self.lexer.damage.guessed.append(start)
        self.stack.append("LBRACE")
        self.open.append(_Block(indent, len(self.stack)))
        self.tokens.append(renamed("LBRACE", token))

    def close(self) -> None:
        self.open.pop()
        del self.stack[-1:]
        self.tokens.append(virtual("RBRACE", self.tokens[-1].end))
