"""Tokens of a declaration that cannot be read, replaced by the least that keeps what stands around them.

A broken value becomes one that fits anywhere, a broken header an empty one before the same block, and a broken
statement goes, so that everything else of the declaration is still read.
"""

import msgspec

from harmonia_compiler.syntax.automaton import Slip
from harmonia_compiler.syntax.lexer import BROKEN_NAME
from harmonia_compiler.syntax.token import Token

#: The headers of blocks inside of a pipeline, with what stands for the test or bound of each.
_HEADS = {"IF": "NAME ?", "ELIF": "NAME ?", "ELSE": "", "REPEAT": "UP up TO to NUMBER 1"}

#: Behind these a value stands, on the same line.
BEFORE_A_VALUE = frozenset({"EQUAL", "RETURN", "STREAM", "COLON", "NOT"})
#: With these a declaration or a statement may end, and with nothing else.
ENDS = frozenset({"NAME", "TEXT", "LONG_TEXT", "NUMBER", "UNIT", "TRUE", "FALSE", "CLASS", "RPAR", "RSQB", "RBRACE"})


class Region(msgspec.Struct, frozen=True):
    """A statement, or outside of all blocks the whole header, as positions in the tokens: [start, end)."""

    start: int
    end: int
    level: int


class Repaired(msgspec.Struct, frozen=True):
    """What is to be read instead. `whole` is false where it lacks what might have bound a name or returned."""

    tokens: list[Token]
    whole: bool = True


def region_of(tokens: list[Token], position: int) -> Region:
    """The statement in which a position lies; outside of all blocks, the header."""
    starts = [0]
    for at in range(min(position, len(tokens))):
        kind = tokens[at].kind
        if kind == "LBRACE":
            starts.append(at + 1)
        elif kind == "RBRACE" and len(starts) > 1:
            starts.pop()
        elif kind == "_NL":
            starts[-1] = at + 1
    depth, end = 0, starts[-1]
    while end < len(tokens):
        kind = tokens[end].kind
        if depth == 0 and (kind == "RBRACE" or (kind == "_NL" and end >= position)):
            break
        depth += (kind == "LBRACE") - (kind == "RBRACE")
        end += 1
    return Region(starts[-1], end, len(starts) - 1)


def repaired(tokens: list[Token], slip: Slip, region: Region) -> Repaired:
    """The tokens with what cannot be read at a slip replaced; the same ones where nothing can be done."""
    if goes_on_below(tokens, slip):
        return Repaired([*tokens[: slip.position], *tokens[slip.position + 1 :]])
    return replaced(tokens, slip.position, region)


def replaced(tokens: list[Token], position: int, region: Region) -> Repaired:
    """The tokens with what holds a position replaced, whatever is wrong with it."""
    if region.level == 0:
        return _declaration(tokens, position)
    if (end := _end_of_block(tokens, position, region)) is not None:
        value = _made(tokens[position - 1], f"NAME {BROKEN_NAME}")
        return Repaired([*tokens[:position], *value, *tokens[end:]], whole=False)
    first = tokens[region.start].kind if region.start < region.end else ""
    second = tokens[region.start + 1].kind if region.start + 1 < region.end else ""
    if first in _HEADS:
        return _compound(tokens, position, region)
    if first == "NAME" and second == "EQUAL":
        return _value(tokens, region.start + 2, region.end)
    if first == "RETURN" and second != "EQUAL":
        return _value(tokens, region.start + (2 if second == "STREAM" else 1), region.end)
    binds = any(token.kind == "EQUAL" for token in tokens[region.start : region.end])
    return _without(tokens, region, whole=first in ("SLO", "LOAD") and not binds)


def _declaration(tokens: list[Token], position: int) -> Repaired:
    body = next((at for at, token in enumerate(tokens) if token.kind == "LBRACE"), None)
    named = len(tokens) > 1 and tokens[1].kind == "NAME"
    if tokens[0].kind != "PIPELINE" or body is None or not named:
        return Repaired([], whole=False)
    if position <= body:
        header = _made(tokens[1], f"LPAR ( RPAR ) _ARROW -> NAME {BROKEN_NAME}")
        return Repaired([*tokens[:2], *header, *tokens[body:]], whole=False)
    return Repaired(tokens[:position], whole=False)


def goes_on_below(tokens: list[Token], slip: Slip) -> bool:
    """Whether a line ends where it cannot, and the next one begins with what is wanted and is no statement."""
    here, *following = [token.kind for token in tokens[slip.position : slip.position + 3]] or [""]
    if here != "_NL" or not slip.accepted.issuperset(following[:1]):
        return False
    return following != ["NAME", "EQUAL"] or tokens[0].kind != "PIPELINE"


def _end_of_block(tokens: list[Token], position: int, region: Region) -> int | None:
    """Where the statements end that stand further inside, as in other languages, behind a `:` that wants a value."""
    indent = tokens[region.start].indent
    if [token.kind for token in tokens[position - 1 : position + 1]] != ["COLON", "_NL"]:
        return None
    if tokens[position + 1].indent <= indent:
        return None
    for at, token in _outer(tokens, position + 1, len(tokens)):
        if token.kind == "RBRACE" or (token.kind == "_NL" and tokens[at + 1].indent <= indent):
            return at
    return None


def _value(tokens: list[Token], begin: int, end: int) -> Repaired:
    # Behind the slip there may be a statement that lacks a line of its own.
    whole = not any(token.kind in ("EQUAL", "RETURN") for token in tokens[begin:end])
    return Repaired([*tokens[:begin], *_made(tokens[begin - 1], f"NAME {BROKEN_NAME}"), *tokens[end:]], whole)


def _compound(tokens: list[Token], position: int, region: Region) -> Repaired:
    """An `if` or a `repeat`: its broken header gets an empty test, what cannot follow a block goes."""
    if [token.kind for token in tokens[position - 1 : position + 1]] == ["ELSE", "IF"]:
        return Repaired([*tokens[: position - 1], *_made(tokens[position], "ELIF elif"), *tokens[position + 1 :]])
    keyword, block, until = _head(tokens, position, region)
    following = next((at for at, _ in _outer(tokens, position, region.end) if tokens[at].kind == "LBRACE"), None)
    if until is not None:
        return _value(tokens, until + 1, region.end)
    if keyword is not None and block is not None:
        stray = keyword == position or (keyword > region.start and tokens[region.start].kind == "REPEAT")
        head = _made(tokens[keyword], "IF if NAME ?") if stray else [tokens[keyword]]
        test = [] if stray else _made(tokens[keyword], _HEADS[tokens[keyword].kind])
        return Repaired([*tokens[:keyword], *head, *test, *tokens[block:]], whole=not stray)
    if keyword is not None:
        return _without(tokens, region, whole=False)
    if following is not None and tokens[region.start].kind == "IF":
        arm = _made(tokens[position - 1], "ELIF elif NAME ?")
        return Repaired([*tokens[:position], *arm, *tokens[following:]], whole=False)
    return Repaired([*tokens[:position], *tokens[region.end :]], whole=False)


def _head(tokens: list[Token], position: int, region: Region) -> tuple[int | None, int | None, int | None]:
    """The header that holds a position, by its keyword, and its block; or the `until` that does."""
    keyword = until = None
    for at, _ in _outer(tokens, region.start, region.end):
        kind = tokens[at].kind
        if kind == "LBRACE" and at >= position:
            return keyword, at if keyword is not None else None, until
        if kind == "LBRACE":
            keyword = None
        elif at <= position:
            keyword = at if kind in _HEADS else keyword
            until = at if kind == "UNTIL" and at < position else until
    return keyword, None, until


def _outer(tokens: list[Token], start: int, end: int) -> list[tuple[int, Token]]:
    """The tokens outside of blocks, each block by its `{` alone."""
    found, depth = [], 0
    for at in range(start, end):
        if depth == 0:
            found.append((at, tokens[at]))
        depth += (tokens[at].kind == "LBRACE") - (tokens[at].kind == "RBRACE")
    return found


def _without(tokens: list[Token], region: Region, *, whole: bool) -> Repaired:
    """A statement taken out, with one of the newlines around it."""
    start, end = region.start, region.end
    if end < len(tokens) and tokens[end].kind == "_NL":
        end += 1
    elif start > 0 and tokens[start - 1].kind == "_NL":
        start -= 1
    return Repaired([*tokens[:start], *tokens[end:]], whole)


def _made(beside: Token, words: str) -> list[Token]:
    """Tokens that no text has: kinds and texts in turn."""
    parts, at = words.split(), beside.end
    return [Token(kind, text, at, at) for kind, text in zip(parts[::2], parts[1::2], strict=True)]
