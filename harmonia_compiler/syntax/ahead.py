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


def is_argument_line(marks: list[Mark], at: int) -> bool:
    """Whether a line that begins `name =` inside brackets goes on or closes them, as arguments do."""
    depth = 0
    for following in range(at, len(marks)):
        mark = marks[following]
        if following > at and mark.first and (depth == 0 or mark.token.type in DECLARATIONS):
            return marks[following - 1].token.type == "COMMA"
        depth += (mark.token.type in OPENERS) - (mark.token.type in CLOSERS)
        if depth < 0:
            return True
    return False
