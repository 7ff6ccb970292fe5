"""What the lines ahead prove about brackets that are not closed yet, and the tokens that stand in for what lacks."""

import msgspec

from harmonia_compiler.syntax.lexer import DECLARATIONS, KEYWORDS
from harmonia_compiler.syntax.token import Token

CLOSER_OF = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
OPENERS = frozenset(CLOSER_OF)
CLOSERS = frozenset(CLOSER_OF.values())
SIGN_OF = {"LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "LBRACE": "{", "RBRACE": "}"}


def renamed(kind: str, token: Token) -> Token:
    """A token taken for one of another kind."""
    return msgspec.structs.replace(token, kind=kind)


def virtual(kind: str, at: int) -> Token:
    """A token that the text lacks."""
    return Token(kind, SIGN_OF.get(kind, ""), at, at)


def kind_at(tokens: list[Token], at: int) -> str:
    """The kind of the token there; none behind the last one."""
    return tokens[at].kind if at < len(tokens) else ""


def declares(kind: str, following: str) -> bool:
    """Whether a line that begins with these two tokens begins a declaration, and does not use a keyword as a name."""
    return kind in DECLARATIONS and (following == "NAME" or following in KEYWORDS)


def lacking_braces(tokens: list[Token]) -> dict[int, int]:
    """For the position of each declaration, how many `}` it lacks up to the next one."""
    lacking: dict[int, int] = {}
    begin = balance = 0
    for at, token in enumerate(tokens):
        kind = token.kind
        if kind == "LBRACE":
            balance += 1
        elif kind == "RBRACE":
            balance -= 1
        elif token.first and declares(kind, kind_at(tokens, at + 1)):
            lacking[begin] = balance
            begin, balance = at, 0
    lacking[begin] = balance
    return lacking


def argument_lines(tokens: list[Token]) -> frozenset[int]:
    """Where lines begin `name =` that would go on or close the brackets around them, as arguments do.

    That is told by what ends such a line: a closing bracket of those around it, or else the next line beside it, or
    declaration, with a comma before. Read from the end, where each of these is known already.
    """
    found = set()
    depth, following = 0, ""
    beside: dict[int, int] = {}
    closing: dict[int, int] = {}
    declaration = end = len(tokens)
    for at in range(end - 1, -1, -1):
        token = tokens[at]
        kind = token.kind
        if kind in CLOSERS:
            depth += 1
            closing[depth] = at
        elif kind in OPENERS:
            depth -= 1
        if token.first:
            if following == "EQUAL":
                line = min(beside.get(depth, end), declaration)
                if closing.get(depth, end) < line or (line < end and tokens[line - 1].kind == "COMMA"):
                    found.add(at)
            beside[depth] = at
            declaration = at if kind in DECLARATIONS else declaration
        following = kind
    return frozenset(found)
