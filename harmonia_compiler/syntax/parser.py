"""Tokens to tree, declaration by declaration, going on after every slip.

A part that cannot be read is reported once and replaced by the least that keeps what stands around it: a broken
value by one that fits anywhere, a broken header by an empty one with the same name, so that its block is still read.
Then the declaration is read again.
"""

from dataclasses import dataclass
from itertools import chain

import msgspec
from lark import Token, Tree
from lark.exceptions import UnexpectedToken

from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax import tree
from harmonia_compiler.syntax.build import build
from harmonia_compiler.syntax.slips import Slip, explain
from harmonia_compiler.syntax.tables import parser
from harmonia_compiler.syntax.tokens import BROKEN_NAME, Tokens, read_tokens

#: Findings of one file beyond this say nothing new, and random bytes have very many.
MOST_FINDINGS = 50
_MOST_REPAIRS = 25
#: The tree's depth, in nodes, that the stages after this one can walk by recursion.
_DEEPEST_TREE = 200

_HEADS = frozenset({"IF", "ELIF", "ELSE"})


def parse(source: Source, findings: Findings) -> tree.File:
    """Read one text whatever it is; everything wrong with it is in the findings."""
    found = Findings()
    tokens = read_tokens(source, found)
    nothing = tree.File(source, (), (), frozenset(), whole=False)
    file = nothing if tokens is None else _read(source, tokens, found)
    findings.items += found.items[:MOST_FINDINGS]
    return file


def _read(source: Source, tokens: Tokens, findings: Findings) -> tree.File:
    declarations: list[tree.Declaration] = []
    unread: set[str] = set()
    quiet = False
    for chunk in _chunks(tokens.tokens):
        reading = _Declaration(source, chunk, tokens.reported, findings)
        declared = reading.declarations(quiet=quiet and chunk[0].type in ("NAME", "RETURN", "IF", "RBRACE"))
        unread |= reading.unread
        quiet = not declared or not reading.complete
        declarations += declared
        if len(findings.items) >= MOST_FINDINGS:
            break
    documented = _documented(source, declarations, tokens.comments)
    whole = not findings.failed
    return tree.File(source, tuple(documented), tuple(tokens.comments), frozenset(unread), whole)


def _chunks(tokens: list[Token]) -> list[list[Token]]:
    """The tokens of each declaration: a newline outside of all braces ends one."""
    chunks: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.type == "_NL" and depth == 0:
            chunks.append([])
            continue
        depth += (token.type == "LBRACE") - (token.type == "RBRACE")
        chunks[-1].append(token)
    return [chunk for chunk in chunks if chunk]


@dataclass(slots=True)
class _Region:
    """A statement, or a whole header, as positions in the tokens: [start, end)."""

    start: int
    end: int
    level: int


class _Declaration:
    """The reading of one declaration. `complete` is false once a part of it has been thrown away."""

    def __init__(self, source: Source, tokens: list[Token], reported: list[int], findings: Findings) -> None:
        self.source = source
        self.tokens = self.given = tokens
        self.findings = findings
        self.unread: set[str] = set()
        self.complete = True
        span = (tokens[0].start_pos or 0, tokens[-1].end_pos or 0)
        self.reported = [at for at in reported if span[0] <= at <= span[1]]

    def declarations(self, *, quiet: bool) -> list[tree.Declaration]:
        """The declaration, or none; `quiet` where what stands before explains that it cannot be read."""
        for _ in range(_MOST_REPAIRS):
            slip = self.attempt()
            if not isinstance(slip, Slip):
                return self.built(slip)
            region = self.region(slip.position)
            if not quiet and not self.is_reported(region):
                self.findings.items.append(explain(self.source, self.tokens, slip))
            if not self.repair(slip.position, region):
                break
        self.give_up()
        return []

    def attempt(self) -> Tree[Token] | Slip:
        reading = parser().parse_interactive("")
        end = Token("$END", "", start_pos=self.tokens[-1].end_pos, end_pos=self.tokens[-1].end_pos)
        for position, token in enumerate(chain(self.tokens, (end,))):
            try:
                result = reading.feed_token(token)
            except UnexpectedToken:
                return Slip(position, token, frozenset(reading.accepts()))  # type: ignore[no-untyped-call]
        root: Tree[Token] = result
        return root

    def built(self, root: Tree[Token]) -> list[tree.Declaration]:
        declarations: list[tree.Declaration] = build(self.source, root, self.findings)
        for declaration in declarations:
            deep = next((node for node, depth in tree.walk(declaration) if depth > _DEEPEST_TREE), None)
            if deep is not None:
                self.findings.add("E0107", "values nest too deep here", deep.span, help="give inner values names")
                self.give_up()
                return []
        if not self.complete:
            return [
                msgspec.structs.replace(d, complete=False) if isinstance(d, tree.Pipeline) else d for d in declarations
            ]
        return declarations

    def is_reported(self, region: _Region) -> bool:
        start = self.tokens[min(region.start, len(self.tokens) - 1)].start_pos or 0
        end = self.tokens[max(min(region.end, len(self.tokens)) - 1, 0)].end_pos or 0
        return any(start <= at <= end for at in self.reported)

    # --- repairing ---------------------------------------------------------------------------------------------

    def region(self, position: int) -> _Region:
        """The statement in which a position lies; outside of all blocks, the header."""
        starts = [0]
        for at in range(min(position, len(self.tokens))):
            kind = self.tokens[at].type
            if kind == "LBRACE":
                starts.append(at + 1)
            elif kind == "RBRACE" and len(starts) > 1:
                starts.pop()
            elif kind == "_NL":
                starts[-1] = at + 1
        depth, end = 0, starts[-1]
        while end < len(self.tokens):
            kind = self.tokens[end].type
            if depth == 0 and (kind == "RBRACE" or (kind == "_NL" and end >= position)):
                break
            depth += (kind == "LBRACE") - (kind == "RBRACE")
            end += 1
        return _Region(starts[-1], end, len(starts) - 1)

    def repair(self, position: int, region: _Region) -> bool:
        """Replace what cannot be read; false where nothing can be kept."""
        self.reported += [token.start_pos or 0 for token in self.tokens[position : position + 1]]
        before = [str(token) for token in self.tokens]
        if region.level == 0:
            self.repair_declaration(position)
        else:
            self.repair_statement(position, region)
        return bool(self.tokens) and [str(token) for token in self.tokens] != before

    def repair_declaration(self, position: int) -> None:
        tokens = self.tokens
        body = next((at for at, token in enumerate(tokens) if token.type == "LBRACE"), None)
        named = len(tokens) > 1 and tokens[1].type == "NAME"
        if tokens[0].type != "PIPELINE" or body is None or not named:
            self.tokens = []
        elif position <= body:
            self.complete = False
            self.tokens = [*tokens[:2], *_made(tokens[1], "LPAR ( RPAR ) _ARROW -> NAME text"), *tokens[body:]]
        else:
            self.complete = False
            self.tokens = tokens[:position]

    def repair_statement(self, position: int, region: _Region) -> None:
        start, end = region.start, region.end
        tokens = self.tokens
        first = tokens[start].type if start < end else ""
        head = self.head(position, region)
        if head is not None:
            keyword, block = head
            test = [] if tokens[keyword].type == "ELSE" else [_broken(tokens[keyword])]
            self.tokens = [*tokens[: keyword + 1], *test, *tokens[block:]]
        elif first == "NAME" and start + 1 < end and tokens[start + 1].type == "EQUAL":
            self.tokens = [*tokens[: start + 2], _broken(tokens[start + 1]), *tokens[end:]]
        elif first == "RETURN" and tokens[start + 1].type != "EQUAL":
            kept = start + 2 if tokens[start + 1].type == "STREAM" else start + 1
            self.tokens = [*tokens[:kept], _broken(tokens[kept - 1]), *tokens[end:]]
        else:
            self.complete = self.complete and first in ("SLO", "LOAD")
            self.delete(region)

    def head(self, position: int, region: _Region) -> tuple[int, int] | None:
        """Where the header of a branch that holds the position begins, and its block, if it has one."""
        keyword, depth = None, 0
        for at in range(region.start, region.end):
            kind = self.tokens[at].type
            if kind == "LBRACE" and depth == 0 and keyword is not None and at >= position:
                return keyword, at
            if kind in _HEADS and depth == 0:
                keyword = at if at <= position else keyword
            elif kind == "LBRACE":
                keyword = None if depth == 0 else keyword
            depth += (kind == "LBRACE") - (kind == "RBRACE")
        return None

    def delete(self, region: _Region) -> None:
        """Take a statement out, with one of the newlines around it."""
        start, end = region.start, region.end
        if end < len(self.tokens) and self.tokens[end].type == "_NL":
            end += 1
        elif start > 0 and self.tokens[start - 1].type == "_NL":
            start -= 1
        self.tokens = [*self.tokens[:start], *self.tokens[end:]]

    def give_up(self) -> None:
        """Remember which names would have been declared, so that nobody is told that they are unknown."""
        self.complete = False
        names = self.given[1:2] if self.given[0].type in ("COMPONENT", "PIPELINE", "TYPE") else self.given
        self.unread |= {str(token) for token in names if token.type == "NAME"}


def _broken(beside: Token) -> Token:
    return Token("NAME", BROKEN_NAME, start_pos=beside.end_pos, end_pos=beside.end_pos)


def _made(beside: Token, words: str) -> list[Token]:
    parts = words.split()
    return [
        Token(kind, text, start_pos=beside.end_pos, end_pos=beside.end_pos)
        for kind, text in zip(parts[::2], parts[1::2], strict=True)
    ]


def _documented(
    source: Source, declarations: list[tree.Declaration], comments: list[tree.Comment]
) -> list[tree.Declaration]:
    """Give each declaration the comment lines that stand directly above it."""
    by_line = {}
    for comment in comments:
        line, column = source.position(comment.span.start)
        if not source.line(line)[: column - 1].strip():
            by_line[line] = comment.text.removeprefix("#").strip()
    documented = []
    for declaration in declarations:
        line = source.position(declaration.span.start)[0] - 1
        lines = []
        while line in by_line:
            lines.append(by_line[line])
            line -= 1
        doc = "\n".join(reversed(lines))
        is_documented = doc and not isinstance(declaration, tree.Import)
        documented.append(msgspec.structs.replace(declaration, doc=doc) if is_documented else declaration)
    return documented
