"""What the lines ahead prove about brackets that are not closed yet, and the tokens that stand in for what lacks."""

from lark import Token

from harmonia_compiler.syntax.lexer import DECLARATIONS, KEYWORDS, Mark

CLOSER_OF = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
OPENERS = frozenset(CLOSER_OF)
CLOSERS = frozenset(CLOSER_OF.values())
SIGN_OF = {"LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "LBRACE": "{", "RBRACE": "}"}


def renamed(kind: str, token: Token) -> Token:
    """A token taken for one of another kind."""
    return Token(kind, str(token), start_pos=token.start_pos, end_pos=token.end_pos)


def virtual(kind: str, at: int) -> Token:
    """A token that the text lacks."""
    return Token(kind, SIGN_OF.get(kind, ""), start_pos=at, end_pos=at)


def declares(kind: str, following: str) -> bool:
    """Whether a line that begins with these two tokens begins a declaration, and does not use a keyword as a name."""
    return kind in DECLARATIONS and (following == "NAME" or following in KEYWORDS)


def lacking_braces(marks: list[Mark]) -> dict[int, int]:
    """For the position of each declaration, how many `}` it lacks up to the next one."""
    lacking: dict[int, int] = {}
    begin = balance = 0
    for at, mark in enumerate(marks):
        following = marks[at + 1].token.type if at + 1 < len(marks) else ""
        if mark.first and declares(mark.token.type, following):
            lacking[begin] = balance
            begin, balance = at, 0
        balance += (mark.token.type == "LBRACE") - (mark.token.type == "RBRACE")
    lacking[begin] = balance
    return lacking


def argument_lines(marks: list[Mark]) -> frozenset[int]:
    """Where lines begin `name =` that would go on or close the brackets around them, as arguments do.

    That is told by what ends such a line: a closing bracket of those around it, or else the next line beside it, or
    declaration, with a comma before. Read from the end, where each of these is known already.
    """
    found = set()
    depth, following = 0, ""
    beside: dict[int, int] = {}
    closing: dict[int, int] = {}
    declaration = end = len(marks)
    for at in range(end - 1, -1, -1):
        mark = marks[at]
        kind = mark.token.type
        if kind in CLOSERS:
            depth += 1
            closing[depth] = at
        elif kind in OPENERS:
            depth -= 1
        if mark.first:
            if following == "EQUAL":
                line = min(beside.get(depth, end), declaration)
                if closing.get(depth, end) < line or (line < end and marks[line - 1].token.type == "COMMA"):
                    found.add(at)
            beside[depth] = at
            declaration = at if kind in DECLARATIONS else declaration
        following = kind
    return frozenset(found)
