"""Marks to tokens: what the parser is to see, with every bracket closed.

What the grammar leaves to this module:

- a newline that ends nothing is taken out: inside `( )` and `[ ]`, after `{`, before `}`, and before a line that
  begins with a sign or with a word that continues a statement;
- a keyword that names an argument, or stands after `.`, is a name; a name after a number is a unit;
- a bracket that is never closed is closed where the text proves it, as `brackets` says.
"""

from dataclasses import dataclass

from lark import Token

from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax.ahead import (
    CLOSERS,
    OPENERS,
    argument_lines,
    declares,
    lacking_braces,
    renamed,
    virtual,
)
from harmonia_compiler.syntax.brackets import CONTINUING, GOES_ON, Brackets, Header
from harmonia_compiler.syntax.indented import with_braces
from harmonia_compiler.syntax.lexer import KEYWORDS, Damage, Lexer, Mark, place
from harmonia_compiler.syntax.tree import Comment

#: How deep brackets may nest: what follows walks trees by recursion.
DEEPEST = 64

_STATEMENTS = frozenset({"RETURN", "IF", "ELIF", "REPEAT", "UNTIL", "SLO", "LOAD"})
_HEADERS = frozenset({"IF", "ELIF", "ELSE", "REPEAT", "PIPELINE"})
#: A statement may begin after these, and after nothing.
_BEFORE_A_STATEMENT = frozenset({"_NL", "LBRACE", "RBRACE"})


@dataclass(slots=True)
class Tokens:
    """The tokens of a text, its comments, and what is reported already."""

    tokens: list[Token]
    comments: list[Comment]
    damage: Damage


def read_tokens(source: Source, findings: Findings) -> Tokens | None:
    """Cut a text into tokens; None where it nests deeper than the parser's tree may."""
    lexer = Lexer(source, findings)
    marks = with_braces(lexer, lexer.marks())
    reader = _Reader(lexer, Brackets(lexer))
    return Tokens(reader.out.tokens, lexer.comments, lexer.damage) if reader.filter(marks) else None


@dataclass(slots=True)
class _Reader:
    """One reading of one text; `out` is what it puts out."""

    lexer: Lexer
    out: Brackets

    def filter(self, marks: list[Mark]) -> bool:
        """Put out what the parser is to see; false where brackets nest too deep."""
        lacking, arguments = lacking_braces(marks), argument_lines(marks)
        for at, mark in enumerate(marks):
            following = marks[at + 1].token.type if at + 1 < len(marks) else ""
            if mark.first:
                self.out.lacking = lacking.get(at, self.out.lacking)
                self.begin_line(mark, following, is_argument=self.out.stack != [] and at in arguments)
            token = self.in_role(mark, following)
            if token.type in OPENERS:
                if len(self.out.stack) == DEEPEST:
                    help = "give inner values names"
                    if 2 * sum(opened.token.type == "LBRACE" for opened in self.out.stack) > DEEPEST:
                        help = "move inner blocks into a pipeline of their own, and call it"
                    self.lexer.report("E0107", f"brackets nest deeper than {DEEPEST}", *place(token), help)
                    return False
                self.out.open(token)
            elif token.type in CLOSERS:
                self.out.close(token)
            else:
                if self.is_header(token):
                    self.out.header = Header(token, self.out.indent)
                self.out.tokens.append(token)
        self.out.close_all()
        return True

    def in_role(self, mark: Mark, following: str) -> Token:
        """The token in the role that its neighbours give it."""
        token, before = mark.token, self.out.before
        if token.type == "NAME" and before == "NUMBER" and not mark.first:
            return renamed("UNIT", token)
        if token.type not in KEYWORDS:
            return token
        names = following == "COLON" and before in ("LPAR", "COMMA") and self.out.inside("LPAR")
        return renamed("NAME", token) if before == "DOT" or names else token

    def is_header(self, token: Token) -> bool:
        """Whether a block follows: an `else` after a value, or a keyword in a value's place, has none."""
        if token.type not in _HEADERS:
            return False
        if token.type == "ELSE":
            return self.out.before == "RBRACE"
        return not self.out.tokens or self.out.before in _BEFORE_A_STATEMENT or self.out.before == "ELSE"

    # --- lines -------------------------------------------------------------------------------------------------

    def begin_line(self, mark: Mark, following: str, *, is_argument: bool) -> None:
        """Close what the beginning of this line proves to be over, and end the line before if it is to be ended."""
        kind = mark.token.type
        binds = following == "EQUAL" and not is_argument and (kind == "NAME" or kind in KEYWORDS)
        begins = binds or self.begins(mark, following)
        if declares(kind, following):
            self.out.close_all()
            self.out.header = None
        elif begins:
            self.out.close_down_to("LBRACE")
            self.out.open_missing(mark)
        if self.out.stack and not self.out.inside("LBRACE"):
            return
        if self.out.before == "LBRACE" and self.out.stack[-1].header == "PIPELINE" and kind != "RBRACE":
            self.out.stack[-1].flat = mark.indent <= self.out.stack[-1].indent
        self.out.close_by_indent(mark)
        if begins and not binds and kind in GOES_ON:
            self.out.close_by_word(kind)
        continues = kind in CONTINUING and not binds and not (begins and self.out.before != "RBRACE")
        if not continues and kind != "RBRACE":
            self.end_line()
        if not self.out.inside("LBRACE") or not continues:
            self.out.indent = mark.indent

    def begins(self, mark: Mark, following: str) -> bool:
        """Whether a line begins a statement, or goes on with a block of one, by its first word.

        An `else` belongs to the value before it, unless a block has just ended, or begins behind it.
        """
        kind = mark.token.type
        if kind == "ELSE":
            return self.out.before == "RBRACE" or following == "LBRACE"
        return kind in _STATEMENTS and not (following == "COLON" and self.out.inside("LPAR"))

    def end_line(self) -> None:
        if self.out.tokens and self.out.before not in ("_NL", "LBRACE"):
            self.out.tokens.append(virtual("_NL", place(self.out.tokens[-1])[1]))
