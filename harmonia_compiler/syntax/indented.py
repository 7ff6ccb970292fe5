"""Headers that end in `:`, as in Python: the braces that their blocks lack, by the indentation of the lines.

Each is one finding, and what stands in the block is read as it is meant. Where a declaration has more `}` than `{`,
those that are too many are such blocks' own.
"""

from collections.abc import Iterator

import msgspec

from harmonia_compiler.syntax.ahead import CLOSER_OF, CLOSERS, OPENERS, lacking_braces, renamed, virtual
from harmonia_compiler.syntax.lexer import Lexer
from harmonia_compiler.syntax.token import Token

_HEADERS = frozenset({"IF", "ELIF", "ELSE", "REPEAT", "PIPELINE"})
#: Whose `:` may end a line, and has a value behind it.
_WITH_A_VALUE = frozenset({"EACH", "LBRACE"})


class _Header(msgspec.Struct, frozen=True):
    """A line that ends in `:` before a block: its indentation, and whether the language has one that begins so."""

    indent: int
    is_known: bool


class _Block(msgspec.Struct, frozen=True):
    """A block that a `:` has opened: the indentation of its header, and how many brackets stand open in it."""

    indent: int
    depth: int


def with_braces(lexer: Lexer, tokens: list[Token]) -> list[Token]:
    """The tokens with braces for the blocks of headers that end in `:`.

    Each is reported here but those of other languages, which the parser cannot read in any case.
    """
    headers = dict(_headers(tokens))
    return _Braces(lexer, headers).put(tokens) if headers else tokens


def _headers(tokens: list[Token]) -> Iterator[tuple[int, _Header]]:
    """Where a line is a header that ends in `:`, the position of that. It may go on over lines inside of brackets."""
    begin = line = depth = around = 0
    valued = -1
    opened: list[tuple[int, int, int]] = []
    for at, token in enumerate(tokens):
        kind = token.kind
        if token.first:
            begin, line, around = at, at, depth
        if kind in _WITH_A_VALUE:
            valued = at
        if kind == "RBRACE" and at == begin:
            # What a block's end stands before is looked at as a line of its own.
            begin, around = at + 1, depth
        elif kind in ("LPAR", "LSQB"):
            opened.append((begin, line, around))
            depth += 1
        elif kind in ("RPAR", "RSQB") and opened:
            begin, line, around = opened.pop()
            depth -= 1
        elif kind == "COLON" and valued < begin < at and depth == around and _ends_line(tokens, at):
            first, second = tokens[begin].kind, tokens[begin + 1].kind
            is_known = first in _HEADERS and (first != "ELSE" or second == "COLON")
            if is_known or (first, second) == ("ELSE", "IF") or (first == "NAME" and second not in ("COLON", "EQUAL")):
                yield at, _Header(tokens[line].indent, is_known)


def _ends_line(tokens: list[Token], at: int) -> bool:
    return at + 1 == len(tokens) or tokens[at + 1].first


class _Braces:
    """One reading of a text's tokens. `open` are the blocks without a `{`, from the outside in.

    `needless` counts the `}` of the declaration at hand that have no `{`: each may end one of these blocks.
    """

    def __init__(self, lexer: Lexer, headers: dict[int, _Header]) -> None:
        self.lexer = lexer
        self.headers = headers
        self.tokens: list[Token] = []
        self.stack: list[str] = []
        self.open: list[_Block] = []
        self.needless = 0

    def put(self, tokens: list[Token]) -> list[Token]:
        lacking = lacking_braces(tokens)
        for at, token in enumerate(tokens):
            kind = token.kind
            self.needless = max(-lacking[at], 0) if at in lacking else self.needless
            while self.is_innermost() and self.proves_over(token):
                self.close()
            if at in self.headers and self.stack[-1:] in ([], ["LBRACE"]):
                self.begin(token, self.headers[at], tokens[at + 1 : at + 2])
                continue
            if kind in OPENERS:
                self.stack.append(kind)
            elif self.is_innermost() and self.ends(token):
                self.end()
            elif kind in CLOSERS and self.stack and CLOSER_OF[self.stack[-1]] == kind:
                self.stack.pop()
            self.tokens.append(token)
        while self.open:
            self.close()
        return self.tokens

    def is_innermost(self) -> bool:
        """Whether no bracket stands open in the innermost of the blocks."""
        return bool(self.open) and self.open[-1].depth == len(self.stack)

    def ends(self, token: Token) -> bool:
        """Whether this is the innermost block's own `}`."""
        is_outside = token.first and token.indent < self.open[-1].indent
        return token.kind == "RBRACE" and self.needless > 0 and not is_outside

    def proves_over(self, token: Token) -> bool:
        """Whether the innermost block, which lacks its `}`, has ended before this."""
        is_outside = token.first and token.indent <= self.open[-1].indent
        return (is_outside or token.kind == "RBRACE") and not self.ends(token)

    def begin(self, token: Token, header: _Header, following: list[Token]) -> None:
        """Take a `:` for the `{` that should stand there. Of lines that stand no deeper, only a `}` tells the end."""
        start, end = token.place
        if header.is_known:
            help = "a block stands in braces: write `{` here, and `}` on a line of its own behind the block"
            self.lexer.report("E0101", "expected `{`, found `:`", start, end, help)
        self.lexer.damage.guessed.append(start)
        self.stack.append("LBRACE")
        if self.needless and following and following[0].indent <= header.indent:
            self.needless -= 1
        else:
            self.open.append(_Block(header.indent, len(self.stack)))
        self.tokens.append(renamed("LBRACE", token))

    def end(self) -> None:
        """The innermost block is over by its own `}`."""
        self.needless -= 1
        self.open.pop()
        self.stack.pop()

    def close(self) -> None:
        """The innermost block is over without a `}`."""
        self.open.pop()
        del self.stack[-1:]
        self.tokens.append(virtual("RBRACE", self.tokens[-1].end))
