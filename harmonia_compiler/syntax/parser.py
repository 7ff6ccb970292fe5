"""Tokens to tree, declaration by declaration, going on after every slip.

A part that cannot be read is reported once and replaced, as `repair` says. Then the declaration is read again.
"""

from bisect import bisect_right
from itertools import chain, pairwise

import msgspec

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Findings
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax import tree
from harmonia_compiler.syntax.ahead import declares, kind_at
from harmonia_compiler.syntax.automaton import Slip, read
from harmonia_compiler.syntax.build import Builder, by_rule, is_proper, made_proper
from harmonia_compiler.syntax.lexer import BROKEN_NAME, KEYWORDS, Damage
from harmonia_compiler.syntax.repair import ENDS, Region, region_of, repaired, replaced
from harmonia_compiler.syntax.slips import explain
from harmonia_compiler.syntax.token import Token
from harmonia_compiler.syntax.tokens import Tokens, read_tokens

#: Findings of one file beyond this say nothing new, and random bytes have very many.
MOST_FINDINGS = 50
_MOST_REPAIRS = 25
#: The tree's depth, in nodes, that the stages after this one can walk by recursion.
_DEEPEST_TREE = 200

#: What cannot stand where it stands, and brackets without their partner.
_STRUCTURE = frozenset({"E0101", "E0102", "E0112"})

#: After these stands the name of what is declared.
_NAMING = frozenset({"COMPONENT", "PIPELINE", "TYPE", "CLASS"})

#: What begins a line of a pipeline: found outside of any, it follows from what is wrong above.
_INNER = frozenset({"NAME", "RETURN", "IF", "ELIF", "ELSE", "REPEAT", "UNTIL", "SLO", "LOAD", "RBRACE", "TEXT"})


def parse(source: Source, findings: Findings) -> tree.File:
    """Read one text whatever it is; everything wrong with it is in the findings."""
    found = Findings(most=MOST_FINDINGS)
    tokens = read_tokens(source, found)
    nothing = tree.File(source, (), (), frozenset(), whole=False)
    file = nothing if tokens is None else _read(source, tokens, found)
    findings.merge(found, _independent(found.items))
    return file


def _independent(found: list[Diagnostic]) -> list[Diagnostic]:
    """Findings without those of structure behind the first one on their line, which most likely follow from it."""
    first: dict[int, int] = {}
    lines: dict[int, int] = {}
    for at, item in enumerate(found):
        if item.code in _STRUCTURE and item.span is not None:
            line = lines[at] = item.span.source.position(item.span.start)[0]
            first[line] = min(item.span.start, first.get(line, item.span.start))
    return [
        item
        for at, item in enumerate(found)
        if at not in lines or item.span is None or item.span.start == first[lines[at]]
    ]


def _read(source: Source, tokens: Tokens, findings: Findings) -> tree.File:
    declarations: list[tree.Declaration] = []
    unread: set[str] = set()
    quiet = False
    builder = Builder(source)
    for chunk in _chunks(tokens.tokens):
        reading = _Declaration(builder, chunk, tokens.damage, findings)
        declared = reading.declarations(quiet=quiet and chunk[0].kind in _INNER)
        unread |= reading.unread
        quiet = not declared or not reading.complete
        declarations += declared
        if len(findings.items) >= MOST_FINDINGS:
            break
    documented = _documented(source, declarations, tokens.comments)
    whole = not findings.failed
    return tree.File(source, tuple(documented), tuple(tokens.comments), frozenset(unread), whole)


def _chunks(tokens: list[Token]) -> list[list[Token]]:
    """The tokens of each declaration: a newline outside of all braces ends one, unless it cannot end there."""
    chunks: list[list[Token]] = [[]]
    depth = 0
    for at, token in enumerate(tokens):
        if token.kind == "_NL" and depth == 0:
            following = kind_at(tokens, at + 1)
            if not chunks[-1] or declares(following, kind_at(tokens, at + 2)) or _may_end(chunks[-1], following):
                chunks.append([])
            else:
                chunks[-1].append(token)
            continue
        if token.kind == "LBRACE":
            depth += 1
        elif token.kind == "RBRACE":
            depth -= 1
        chunks[-1].append(token)
    return [chunk for chunk in chunks if chunk]


def _may_end(declaration: list[Token], following: str) -> bool:
    """Whether a declaration may end with its last token: what an import takes is followed by where it takes it from."""
    last = declaration[-1].kind
    return last in ENDS and (declaration[0].kind != "IMPORT" or (last, following) != ("NAME", "FROM"))


class _Declaration:
    """The reading of one declaration. `complete` is false once a part of it has been thrown away."""

    def __init__(self, builder: Builder, tokens: list[Token], damage: Damage, findings: Findings) -> None:
        self.builder = builder
        self.source = source = builder.source
        self.tokens = self.given = tokens
        self.findings = findings
        self.unread: set[str] = set()
        begin, end = tokens[0].start, tokens[-1].end
        self.complete = not any(begin <= at < end for at in (*damage.swallowing, *damage.guessed))
        self.reported = [at for at in damage.offsets if begin <= at <= end]
        self.unbalanced = [at for at in damage.unbalanced if begin <= at <= end]
        before = [at for at in damage.offsets if at < begin]
        self.follows_slip = bool(before) and source.position(before[-1])[0] == source.position(begin)[0]

    def declarations(self, *, quiet: bool) -> list[tree.Declaration]:
        """The declaration, or none; `quiet` where what stands before explains that it cannot be read."""
        if len(self.unbalanced) > MOST_FINDINGS:
            # As many are reported, and each that is mended takes a copy of the whole.
            self.give_up()
            return []
        for at in reversed(self.unbalanced):
            self.drop(at)
        for _ in range(_MOST_REPAIRS if self.tokens else 0):
            slip = self.attempt()
            if not isinstance(slip, Slip):
                return self.kept(slip)
            region = region_of(self.tokens, slip.position)
            if not quiet and not self.follows_slip and not self.is_reported(slip.position, region):
                self.findings.extend([explain(self.source, self.tokens, slip)])
            self.reported += [token.start for token in self.tokens[slip.position : slip.position + 1]]
            before = self.tokens
            mended = repaired(before, slip, region)
            self.tokens, self.complete = mended.tokens, self.complete and mended.whole
            if not self.tokens or [token.text for token in self.tokens] == [token.text for token in before]:
                break
        self.give_up()
        return []

    def drop(self, offset: int) -> None:
        """Replace what holds a bracket without its partner: what stands inside of which is a guess."""
        position = bisect_right(self.tokens, offset, key=lambda token: token.start) - 1
        if position < 0 or self.tokens[position].kind == "LBRACE":
            return
        mended = replaced(self.tokens, position, region_of(self.tokens, position))
        self.tokens, self.complete = mended.tokens, self.complete and mended.whole

    def attempt(self) -> list[tree.Declaration] | Slip:
        self.builder.findings, self.builder.strays = Findings(most=MOST_FINDINGS), set()
        end = Token("$END", "", self.tokens[-1].end, self.tokens[-1].end)
        found = read(chain(self.tokens, (end,)), by_rule(), self.builder)
        if isinstance(found, Slip):
            return found
        declarations: list[tree.Declaration] = found
        return declarations

    def kept(self, declarations: list[tree.Declaration]) -> list[tree.Declaration]:
        """What was read, unless it is too deep; a pipeline with what it lacks told."""
        self.findings.merge(self.builder.findings, self.builder.findings.items)
        if self.builder.strays:
            self.give_up()
            return []
        for declaration in declarations:
            deep = self.too_deep(declaration)
            if deep is not None:
                self.findings.add("E0107", "values nest too deep here", deep.span, help="give inner values names")
                self.give_up()
                return []
            # Who names it elsewhere does so as it should be, and is not told that there is no such name.
            self.unread |= {made_proper(name) for name in _given_names(declaration) if not is_proper(name)}
        if not self.complete:
            return [
                msgspec.structs.replace(d, complete=False) if isinstance(d, tree.Pipeline) else d for d in declarations
            ]
        return declarations

    def too_deep(self, declaration: tree.Declaration) -> tree.Node | None:
        """A part of the tree that lies too deep, if there is one. Each node but the last few has a token of its own."""
        if len(self.tokens) < _DEEPEST_TREE // 2:
            return None
        return next((node for node, depth in tree.walk(declaration) if depth > _DEEPEST_TREE), None)

    def is_reported(self, position: int, region: Region) -> bool:
        """Whether something is reported of a declaration, or of a statement up to the next block."""
        start = self.tokens[min(region.start, len(self.tokens) - 1)].start
        last = max(min(region.end, len(self.tokens)) - 1, 0)
        behind = self.tokens[position:last] if region.level else ()
        end = next((token.start for token in behind if token.kind == "LBRACE"), self.tokens[last].end)
        return any(start <= at <= end for at in self.reported)

    def give_up(self) -> None:
        """Remember which names would have been declared, so that nobody is told that they are unknown."""
        self.complete = False
        named = [token for before, token in pairwise(self.given) if before.kind in _NAMING]
        if self.given[0].kind not in _NAMING:
            named += [token for token in self.given if token.kind == "NAME"]
        names = {token.text for token in named if token.kind in {"NAME", *KEYWORDS}}
        # Of an import it is not known which of its words are names; without any name, it may have been every one.
        self.unread |= names if names and self.given[0].kind != "IMPORT" else {*names, BROKEN_NAME}


def _given_names(declaration: tree.Declaration) -> list[tree.Name]:
    """The names that a declaration gives to what it declares."""
    if isinstance(declaration, tree.Import):
        return [imported.alias for imported in declaration.names if imported.alias is not None]
    return [declaration.name]


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
