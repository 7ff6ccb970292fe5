"""Tokens as the text has them to tokens as the parser is to see them, with every bracket closed.

What the grammar leaves to this module:

- a newline that ends nothing is taken out: inside `( )` and `[ ]`, after `{`, before `}`, and before a line that
  begins with a sign or with a word that continues a statement;
- a keyword that names an argument, or stands after `.`, is a name; a name after a number is a unit;
- a bracket that is never closed is closed where the text proves it, as `brackets` says;
- a number with a comma or `_` in it is told so, and is the number that is meant.
"""

import re

import msgspec

from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax.ahead import (
    CLOSERS,
    OPENERS,
    argument_lines,
    declares,
    kind_at,
    lacking_braces,
    renamed,
    virtual,
)
from harmonia_compiler.syntax.brackets import CONTINUING, GOES_ON, Brackets, Header
from harmonia_compiler.syntax.indented import with_braces
from harmonia_compiler.syntax.lexer import KEYWORDS, Damage, Lexer
from harmonia_compiler.syntax.token import Token
from harmonia_compiler.syntax.tree import Comment

#: How deep brackets may nest: what follows walks trees by recursion.
DEEPEST = 64

_STATEMENTS = frozenset({"RETURN", "IF", "ELIF", "REPEAT", "UNTIL", "SLO", "LOAD"})
_HEADERS = frozenset({"IF", "ELIF", "ELSE", "REPEAT", "PIPELINE"})
#: Behind these, between brackets, stands one amount.
_BEFORE_AN_AMOUNT = frozenset({"TILDE", "WITHIN"})
#: A number with commas: between groups of three digits, or else for the point.
_WITH_COMMAS = re.compile(r"(?P<grouped>-?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?(?!,?[0-9]))|-?[0-9]+,[0-9]+")
#: What goes on behind a number that is written in groups.
_IN_GROUPS = re.compile(r"(?:_[0-9]+)+")
#: A statement may begin after these, and after nothing.
_BEFORE_A_STATEMENT = frozenset({"_NL", "LBRACE", "RBRACE"})


class Tokens(msgspec.Struct):
    """The tokens of a text, its comments, and what is reported already."""

    tokens: list[Token]
    comments: list[Comment]
    damage: Damage


def read_tokens(source: Source, findings: Findings) -> Tokens | None:
    """Cut a text into tokens; None where it nests deeper than the parser's tree may."""
    lexer = Lexer(source, findings)
    tokens = with_braces(lexer, lexer.tokens())
    reader = _Reader(lexer, Brackets(lexer))
    return Tokens(reader.out.tokens, lexer.comments, lexer.damage) if reader.filter(tokens) else None


class _Reader(msgspec.Struct):
    """One reading of one text; `out` is what it puts out."""

    lexer: Lexer
    out: Brackets

    def filter(self, tokens: list[Token]) -> bool:
        """Put out what the parser is to see; false where brackets nest too deep."""
        lacking, arguments = lacking_braces(tokens), argument_lines(tokens)
        out, skip_to = self.out, 0
        for at, token in enumerate(tokens):
            kind = token.kind
            if token.start < skip_to:
                continue
            if token.first:
                out.lacking = lacking.get(at, out.lacking)
                self.begin_line(token, kind_at(tokens, at + 1), is_argument=out.stack != [] and at in arguments)
            if kind in OPENERS:
                if len(out.stack) == DEEPEST:
                    self.report_deep(token)
                    return False
                out.open(token)
            elif kind in CLOSERS:
                out.close(token)
            elif kind in KEYWORDS:
                self.put_keyword(token, kind_at(tokens, at + 1))
            elif kind == "NAME" and out.before == "NUMBER" and self.is_beside(token):
                if _IN_GROUPS.fullmatch(token.text):
                    out.tokens[-1] = self.with_underscores(token)
                else:
                    out.tokens.append(renamed("UNIT", token))
            elif kind == "COMMA" and out.before == "NUMBER" and (number := self.with_commas()) is not None:
                out.tokens[-1], skip_to = number, number.end
            else:
                out.tokens.append(token)
        out.close_all()
        return True

    def put_keyword(self, token: Token, following: str) -> None:
        """A keyword in the role that its neighbours give it."""
        before = self.out.before
        if before == "DOT" or (following == "COLON" and before in ("LPAR", "COMMA") and self.out.inside("LPAR")):
            token = renamed("NAME", token)
        elif self.is_header(token):
            self.out.header = Header(token, self.out.indent)
        self.out.tokens.append(token)

    def with_commas(self) -> Token | None:
        """The number that the last token begins, where the comma behind it can part it from no other value."""
        *before, number = self.out.tokens[-5:]
        kinds = [token.kind for token in before]
        if self.out.stack and not self.out.inside("LBRACE") and kinds[-1] not in _BEFORE_AN_AMOUNT:
            # Behind what has a name nothing stands without one; it may where a port has a default.
            is_named = kinds[-2:] == ["NAME", "COLON"] and kinds[-3] in ("LPAR", "COMMA")
            if not (self.out.inside("LPAR") and (is_named or kinds[-1] == "EQUAL")):
                return None
        found = _WITH_COMMAS.match(self.lexer.source.text, number.start)
        if found is None or found.end() == number.end:
            return None
        meant = found[0].replace(",", "" if found["grouped"] else ".")
        self.lexer.report("E0105", "unexpected `,` in a number", number.end, number.end + 1, f"write `{meant}`")
        return msgspec.structs.replace(number, text=meant, end=found.end())

    def with_underscores(self, token: Token) -> Token:
        """The number that the last token begins and this one goes on with."""
        number = self.out.tokens[-1]
        meant = number.text + token.text.replace("_", "")
        self.lexer.report("E0105", "unexpected `_` in a number", *token.place, f"write `{meant}`")
        return msgspec.structs.replace(number, text=meant, end=token.end)

    def is_beside(self, token: Token) -> bool:
        """Whether nothing but space stands between this token and the one before, on one line."""
        between = self.lexer.source.text[self.out.tokens[-1].end : token.start]
        return not token.first and (not between or between.isspace())

    def report_deep(self, token: Token) -> None:
        help = "give inner values names"
        if 2 * sum(opened.token.kind == "LBRACE" for opened in self.out.stack) > DEEPEST:
            help = "move inner blocks into a pipeline of their own, and call it"
        self.lexer.report("E0107", f"brackets nest deeper than {DEEPEST}", *token.place, help)

    def is_header(self, token: Token) -> bool:
        """Whether a block follows: an `else` after a value, or a keyword in a value's place, has none."""
        if token.kind not in _HEADERS:
            return False
        if token.kind == "ELSE":
            return self.out.before == "RBRACE"
        return not self.out.tokens or self.out.before in _BEFORE_A_STATEMENT or self.out.before == "ELSE"

    # --- lines -------------------------------------------------------------------------------------------------

    def begin_line(self, token: Token, following: str, *, is_argument: bool) -> None:
        """Close what the beginning of this line proves to be over, and end the line before if it is to be ended."""
        kind = token.kind
        binds = following == "EQUAL" and not is_argument and (kind == "NAME" or kind in KEYWORDS)
        begins = binds or self.begins(token, following)
        if declares(kind, following):
            self.out.close_all()
            self.out.header = None
        elif begins:
            self.out.close_down_to("LBRACE")
            self.out.open_missing(token)
        if self.out.stack and not self.out.inside("LBRACE"):
            return
        if self.out.before == "LBRACE" and self.out.stack[-1].header == "PIPELINE" and kind != "RBRACE":
            self.out.stack[-1].flat = token.indent <= self.out.stack[-1].indent
        self.out.close_by_indent(token)
        if begins and not binds and kind in GOES_ON:
            self.out.close_by_word(kind)
        continues = kind in CONTINUING and not binds and not (begins and self.out.before != "RBRACE")
        if not continues and kind != "RBRACE":
            self.end_line()
        if not self.out.inside("LBRACE") or not continues:
            self.out.indent = token.indent

    def begins(self, token: Token, following: str) -> bool:
        """Whether a line begins a statement, or goes on with a block of one, by its first word.

        An `else` belongs to the value before it, unless a block has just ended, or begins behind it.
        """
        kind = token.kind
        if kind == "ELSE":
            return self.out.before == "RBRACE" or following == "LBRACE"
        return kind in _STATEMENTS and not (following == "COLON" and self.out.inside("LPAR"))

    def end_line(self) -> None:
        if self.out.tokens and self.out.before not in ("_NL", "LBRACE"):
            self.out.tokens.append(virtual("_NL", self.out.tokens[-1].end))
