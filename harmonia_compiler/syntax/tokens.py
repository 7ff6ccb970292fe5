"""Marks to tokens: what the parser is to see, with every bracket closed.

What the grammar leaves to this module:

- a newline that ends nothing is taken out: inside `( )` and `[ ]`, after `{`, before `}`, and before a line that
  begins with a sign or with a word that continues a statement;
- a keyword that names an argument, or stands after `.`, is a name; a name after a number is a unit;
- a bracket that is never closed is closed where the text proves it: at the next declaration, at a line that begins
  as a statement does, at an `until`, or at a `}` that stands under another line. So one slip stays one finding.
"""

from dataclasses import dataclass, field

from lark import Token

from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax.ahead import (
    CLOSER_OF,
    CLOSERS,
    OPENERS,
    SIGN_OF,
    declares,
    is_argument_line,
    lacking_braces,
    renamed,
    virtual,
)
from harmonia_compiler.syntax.indented import with_braces
from harmonia_compiler.syntax.lexer import KEYWORDS, Damage, Lexer, Mark, place
from harmonia_compiler.syntax.tree import Comment

#: How deep brackets may nest: what follows walks trees by recursion.
DEEPEST = 64

_CONTINUING = frozenset({"PLUS", "EQUAL", "COMPARISON", "AT_MOST", "TILDE", "VBAR", "_ARROW", "DOT", "COMMA", "COLON"})
_CONTINUING |= {"ELSE", "ELIF", "OR", "AND", "LPAR", "LSQB", "LBRACE", "RPAR", "RSQB", "UNTIL", "WITHIN", "WHERE"}
_STATEMENTS = frozenset({"RETURN", "IF", "ELIF", "REPEAT", "UNTIL", "SLO", "LOAD"})
_HEADERS = frozenset({"IF", "ELIF", "ELSE", "REPEAT", "PIPELINE"})
#: What goes on with a statement, and the headers of the blocks that it goes on from.
_GOES_ON = {"UNTIL": ("REPEAT",), "ELIF": ("IF", "ELIF"), "ELSE": ("IF", "ELIF")}
#: A statement may begin after these, and after nothing.
_BEFORE_A_STATEMENT = frozenset({"_NL", "LBRACE", "RBRACE"})


@dataclass(slots=True)
class Tokens:
    """The tokens of a text, its comments, and what is reported already."""

    tokens: list[Token]
    comments: list[Comment]
    damage: Damage


@dataclass(slots=True)
class _Header:
    """The keyword of a block's header, with the indentation of its line."""

    token: Token
    indent: int


@dataclass(slots=True)
class _Open:
    """An open bracket with the indentation of its line; a block's with the keyword of its header.

    A pipeline is `flat` whose first line stands no deeper than its header: how deep its lines stand tells nothing.
    """

    token: Token
    indent: int
    header: str = ""
    flat: bool = False


def read_tokens(source: Source, findings: Findings) -> Tokens | None:
    """Cut a text into tokens; None where it nests deeper than the parser's tree may."""
    lexer = Lexer(source, findings)
    marks = with_braces(lexer, lexer.marks())
    reader = _Reader(lexer)
    return Tokens(reader.tokens, lexer.comments, lexer.damage) if reader.filter(marks) else None


@dataclass(slots=True)
class _Reader:
    """One reading of one text. `stack` holds the open brackets, `header` a block's header without its `{`.

    `lacking` counts the `}` that the declaration at hand lacks: only then does indentation tell anything. Below 0
    it has that many too many, and so lacks `{`.
    """

    lexer: Lexer
    tokens: list[Token] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)
    header: _Header | None = None
    indent: int = 0
    lacking: int = 0

    def filter(self, marks: list[Mark]) -> bool:
        """Put out what the parser is to see; false where brackets nest too deep."""
        lacking = lacking_braces(marks)
        for at, mark in enumerate(marks):
            following = marks[at + 1].token.type if at + 1 < len(marks) else ""
            if mark.first:
                self.lacking = lacking.get(at, self.lacking)
                self.begin_line(mark, following, is_argument=self.stack != [] and is_argument_line(marks, at))
            token = self.in_role(mark, following)
            if token.type in OPENERS:
                if len(self.stack) == DEEPEST:
                    help = "give inner values names"
                    if 2 * sum(opened.token.type == "LBRACE" for opened in self.stack) > DEEPEST:
                        help = "move inner blocks into a pipeline of their own, and call it"
                    self.lexer.report("E0107", f"brackets nest deeper than {DEEPEST}", *place(token), help)
                    return False
                self.open(token)
            elif token.type in CLOSERS:
                self.close(token)
            else:
                if self.is_header(token):
                    self.header = _Header(token, self.indent)
                self.tokens.append(token)
        self.close_all()
        return True

    def in_role(self, mark: Mark, following: str) -> Token:
        """The token in the role that its neighbours give it."""
        token, before = mark.token, self.before
        if token.type == "NAME" and before == "NUMBER" and not mark.first:
            return renamed("UNIT", token)
        if token.type not in KEYWORDS:
            return token
        names = following == "COLON" and before in ("LPAR", "COMMA") and self.inside("LPAR")
        return renamed("NAME", token) if before == "DOT" or names else token

    def is_header(self, token: Token) -> bool:
        """Whether a block follows: an `else` after a value, or a keyword in a value's place, has none."""
        if token.type not in _HEADERS:
            return False
        if token.type == "ELSE":
            return self.before == "RBRACE"
        return not self.tokens or self.before in _BEFORE_A_STATEMENT or self.before == "ELSE"

    @property
    def before(self) -> str:
        """The kind of the last token."""
        return self.tokens[-1].type if self.tokens else ""

    def inside(self, opener: str) -> bool:
        return bool(self.stack) and self.stack[-1].token.type == opener

    # --- lines -------------------------------------------------------------------------------------------------

    def begin_line(self, mark: Mark, following: str, *, is_argument: bool) -> None:
        """Close what the beginning of this line proves to be over, and end the line before if it is to be ended."""
        kind = mark.token.type
        binds = following == "EQUAL" and not is_argument and (kind == "NAME" or kind in KEYWORDS)
        begins = binds or self.begins(mark, following)
        if declares(kind, following):
            self.close_all()
            self.header = None
        elif begins:
            self.close_down_to("LBRACE")
            self.open_missing(mark)
        if self.stack and not self.inside("LBRACE"):
            return
        if self.before == "LBRACE" and self.stack[-1].header == "PIPELINE" and kind != "RBRACE":
            self.stack[-1].flat = mark.indent <= self.stack[-1].indent
        self.close_by_indent(mark)
        if begins and not binds and kind in _GOES_ON:
            self.close_by_word(kind)
        continues = kind in _CONTINUING and not binds and not (begins and self.before != "RBRACE")
        if not continues and kind != "RBRACE":
            self.end_line()
        if not self.inside("LBRACE") or not continues:
            self.indent = mark.indent

    def begins(self, mark: Mark, following: str) -> bool:
        """Whether a line begins a statement, or goes on with a block of one, by its first word.

        An `else` belongs to the value before it, unless a block has just ended, or begins behind it.
        """
        kind = mark.token.type
        if kind == "ELSE":
            return self.before == "RBRACE" or following == "LBRACE"
        return kind in _STATEMENTS and not (following == "COLON" and self.inside("LPAR"))

    def end_line(self) -> None:
        if self.tokens and self.before not in ("_NL", "LBRACE"):
            self.tokens.append(virtual("_NL", place(self.tokens[-1])[1]))

    # --- brackets ----------------------------------------------------------------------------------------------

    def open(self, token: Token) -> None:
        if token.type == self.before == "LBRACE" and self.lacking > 0:
            self.lexer.report("E0101", "expected a statement, found `{`", *place(token), "delete it")
            self.lacking -= 1
            return
        header = self.header if token.type == "LBRACE" else None
        self.stack.append(_Open(token, self.indent, header.token.type if header else ""))
        self.header = None if token.type == "LBRACE" else self.header
        self.tokens.append(token)

    def open_missing(self, mark: Mark) -> None:
        """A header that is followed by a statement's line lacks its `{`, where that line stands in a block."""
        header = self.header
        if header is None or mark.token.type in ("ELIF", "ELSE", "UNTIL") or not self.tokens:
            return
        if self.before in _CONTINUING - CLOSERS or (mark.indent <= header.indent and self.lacking >= 0):
            return
        end = place(self.tokens[-1])[1]
        what = "the pipeline" if header.token.type == "PIPELINE" else f"`{header.token}`"
        message = f"expected `{{` to open the block of {what}"
        self.lexer.report("E0101", message, end, end, "put `{` at the end of this line")
        self.open(virtual("LBRACE", end))
        self.lacking += 1

    def close(self, token: Token) -> None:
        """A closing bracket: closes its own, or proves which one is missing."""
        if (
            token.type == "RBRACE"
            and self.lacking < 0
            and self.inside("LBRACE")
            and self.stack[-1].indent < self.indent
        ):
            self.lacking += 1
            self.report_needless(token)
            return
        openers = [opened.token.type for opened in self.stack]
        wanted = next(opener for opener, closer in CLOSER_OF.items() if closer == token.type)
        if token.type == "RBRACE" and wanted in openers:
            self.close_down_to("LBRACE")
        elif openers and openers[-1] != wanted:
            innermost = openers[len(openers) - openers[::-1].index("LBRACE") :] if "LBRACE" in openers else openers
            if wanted in innermost:
                self.close_down_to(wanted)
            elif innermost:
                self.report_unclosed(self.stack[-1].token, f", but `{token}` follows")
                token = renamed(CLOSER_OF[openers[-1]], token)
        if not self.stack or CLOSER_OF[self.stack[-1].token.type] != token.type:
            self.report_needless(token)
            return
        opened = self.stack.pop().token
        if token.type == "RBRACE":
            self.header = None
            if self.lacking < 0 and not self.stack:
                # One of those before was too many, and a part of the pipeline stands behind this one.
                self.lexer.damage.guessed.append(place(opened)[0])
        self.tokens.append(token)

    def close_by_indent(self, mark: Mark) -> None:
        """Where `}` are lacking, a line that stands no deeper than a block's header is outside of the block."""
        kind = mark.token.type
        while self.lacking > 0 and self.inside("LBRACE") and not self.stack[0].flat:
            indent = self.stack[-1].indent
            if indent < mark.indent or (indent == mark.indent and (kind == "RBRACE" or kind in _CONTINUING)):
                return
            self.close_missing()

    def close_by_word(self, kind: str) -> None:
        """Where `}` are lacking, an `until`, `elif` or `else` in the block that it goes on from is outside of it."""
        if self.before == "RBRACE" or self.lacking <= 0:
            return
        blocks = [depth for depth, opened in enumerate(self.stack) if opened.header in _GOES_ON[kind]]
        while blocks and len(self.stack) > blocks[-1]:
            self.close_missing()

    def close_down_to(self, opener: str) -> None:
        while self.stack and self.stack[-1].token.type != opener:
            self.close_missing()

    def close_all(self) -> None:
        while self.stack:
            self.close_missing()

    def close_missing(self) -> None:
        """Close the innermost bracket for the user, and say so."""
        last = self.stack.pop()
        opened = last.token
        self.lacking -= opened.type == "LBRACE"
        if opened.type == "LBRACE" and (last.header != "PIPELINE" or last.flat):
            self.lexer.damage.guessed.append(place(opened)[0])
        end = place(self.tokens[-1])[1]
        self.tokens.append(virtual(CLOSER_OF[opened.type], end))
        if not self.is_damaged(opened):
            self.report_unclosed(opened)

    def report_needless(self, token: Token) -> None:
        start, end = place(token)
        self.lexer.damage.unbalanced.append(start)
        if not self.lexer.damage.holds(self.lexer.source, start):
            self.lexer.report("E0112", f"`{token}` closes nothing", start, end, "delete it, or open the bracket before")

    def report_unclosed(self, opened: Token, but: str = "") -> None:
        if opened.type != "LBRACE":
            self.lexer.damage.unbalanced.append(place(opened)[0])
        closer = SIGN_OF[CLOSER_OF[opened.type]]
        message = f"`{SIGN_OF[opened.type]}` is never closed{but}"
        self.lexer.report("E0102", message, *place(opened), f"close it with `{closer}`")

    def is_damaged(self, opened: Token) -> bool:
        """Whether a text that is not closed may have swallowed the bracket's partner, or the bracket is our own."""
        start, end = place(opened)
        if any(start < at < place(self.tokens[-1])[1] for at in self.lexer.damage.swallowing):
            return True
        return start == end or self.lexer.damage.holds(self.lexer.source, start)
