"""Text to tokens: total, so that any text gives tokens, and with every bracket closed.

What the grammar leaves to this module:

- a newline that ends nothing is taken out: inside `( )` and `[ ]`, after `{`, before `}`, and before a line that
  begins with a sign or with a word that continues a statement;
- a keyword before `:` inside brackets, or after `.`, is a name; a name after a number is a unit;
- a bracket that is never closed is closed where the text proves it: at the next declaration, at a line that begins
  as a statement does, or at a `}` that stands under another line. So one slip stays one finding.
"""

import re
from dataclasses import dataclass, field

from lark import Token

from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source, Span
from harmonia_compiler.syntax.tables import parser
from harmonia_compiler.syntax.tree import Comment

#: How deep brackets may nest: what follows walks trees by recursion.
DEEPEST = 64

#: What stands for a value that could not be read; no text can spell it.
BROKEN_NAME = "?"

DECLARATIONS = frozenset({"IMPORT", "TYPE", "CLASS", "COMPONENT", "PIPELINE"})
KEYWORDS = DECLARATIONS | {"AS", "FROM", "SLO", "LOAD", "PEAK", "RETURN", "STREAM", "IF", "ELIF", "ELSE"}
KEYWORDS |= {"REPEAT", "UP", "TO", "UNTIL", "EACH", "IN", "WHERE", "WITHIN", "OR", "AND", "NOT", "TRUE", "FALSE"}
CLOSER_OF = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
OPENERS = frozenset(CLOSER_OF)
CLOSERS = frozenset(CLOSER_OF.values())
SIGN_OF = {"LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "LBRACE": "{", "RBRACE": "}"}

_CONTINUING = frozenset({"PLUS", "EQUAL", "COMPARISON", "AT_MOST", "TILDE", "VBAR", "_ARROW", "DOT", "COMMA", "COLON"})
_CONTINUING |= {"ELSE", "ELIF", "OR", "AND", "LPAR", "LSQB", "LBRACE", "RPAR", "RSQB", "UNTIL", "WITHIN", "WHERE"}
_STATEMENTS = frozenset({"RETURN", "IF", "ELIF", "ELSE", "REPEAT", "SLO", "LOAD"})
_HEADERS = frozenset({"IF", "ELIF", "ELSE", "REPEAT", "PIPELINE"})

_SINGLE_QUOTED = re.compile(r"'([^'\"\\\n]*)'")
_DECLARATION_LINE = re.compile(r"^(?:component|pipeline|import|type|class)[ \t]+[a-z]", re.MULTILINE)
_ADVICE = {
    "'": 'a text stands in double quotes: `"…"`',
    ";": "a statement ends with its line",
    "//": "a comment begins with `#`",
    "/": "there is no arithmetic; a comment begins with `#`",
    "*": "there is no arithmetic",
    "-": "there is no arithmetic",
    "&&": "write `and`",
    "&": "write `and`",
    "!": "write `not`",
    "%": "a share is a number from 0 to 1: `~ 0.3`",
    "$": 'a value from outside comes by `env("NAME")` or `setting("name")`',
}


@dataclass(slots=True)
class Tokens:
    """The tokens of a text, its comments, and the offsets at which something is already reported."""

    tokens: list[Token] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    reported: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Mark:
    """A token that is neither space nor comment, and how it stands on its line."""

    token: Token
    first: bool
    indent: int


@dataclass(slots=True)
class _Open:
    """An open bracket with the indentation of its line."""

    token: Token
    indent: int


def read_tokens(source: Source, findings: Findings) -> Tokens | None:
    """Cut a text into tokens; None where it nests deeper than the parser's tree may."""
    reader = _Reader(source, findings)
    marks = reader.marks()
    return reader.out if reader.filter(marks) else None


class _Reader:
    """One reading of one text. `stack` holds the open brackets, `header` a block's header without its `{`.

    `lacking` counts the `}` that the declaration at hand lacks: only then does indentation tell anything.
    """

    def __init__(self, source: Source, findings: Findings) -> None:
        self.source = source
        self.findings = findings
        self.out = Tokens()
        self.stack: list[_Open] = []
        self.header: Token | None = None
        self.indent = 0
        self.lacking = 0
        self.damaged_lines: set[int] = set()

    def report(self, code: str, message: str, start: int, end: int, help: str = "") -> None:
        self.findings.add(code, message, Span(self.source, start, end), help=help)
        self.out.reported.append(start)
        self.damaged_lines.add(self.source.position(start)[0])

    # --- cutting -----------------------------------------------------------------------------------------------

    def marks(self) -> list[_Mark]:
        """The tokens that matter, broken ones reported and made whole."""
        marks: list[_Mark] = []
        first, line_start, broken_to, skip_to = True, 0, -1, 0
        for token in self.cut():
            start, end = _place(token)
            if start < skip_to:
                continue
            if token.type == "_NL":
                first, line_start = True, end
            elif token.type == "COMMENT":
                self.out.comments.append(Comment(Span(self.source, start, end), token.rstrip("\r")))
            elif token.type == "BROKEN":
                if start != broken_to:
                    self.report_character(start, end)
                broken_to = end
                if found := _SINGLE_QUOTED.match(self.source.text, start):
                    skip_to = found.end()
                    text = Token("TEXT", f'"{found[1]}"', start_pos=start, end_pos=skip_to)
                    marks.append(_Mark(text, first, start - line_start))
                first = False
            elif token.type != "WS":
                whole = self.whole_text(token) if token.type == "BROKEN_TEXT" else token
                marks.append(_Mark(whole, first, start - line_start))
                first = False
                line_start = self.source.text.rfind("\n", 0, end) + 1 if "\n" in token else line_start
        return marks

    def cut(self) -> list[Token]:
        """All tokens. A long text that is never closed ends before the first declaration that it swallowed."""
        text = self.source.text
        tokens = _lex(text)
        if not tokens or tokens[-1].type != "BROKEN_LONG_TEXT":
            return tokens
        at, cut = _swallowing(tokens)
        start, _ = _place(tokens[at])
        self.report("E0103", "this text is never closed", start, start + 3, 'close it with `"""`')
        closed = Token("NAME", BROKEN_NAME, start_pos=start, end_pos=cut)
        if cut == len(text):
            return [*tokens[:at], closed]
        newline = Token("_NL", "", start_pos=cut, end_pos=cut)
        return [*tokens[:at], closed, newline, *_lex(" " * cut + text[cut:])[1:]]

    def whole_text(self, token: Token) -> Token:
        start, end = _place(token)
        self.report("E0103", "this text is not closed on its line", start, end, 'close it with `"`, or use `"""`')
        return Token("NAME", BROKEN_NAME, start_pos=start, end_pos=end)

    def report_character(self, start: int, end: int) -> None:
        text = self.source.text
        if text[start : start + 2] in ("//", "&&"):
            end = start + 2
        shown = _short(text[start:end])
        if not shown.isprintable():
            shown = f"U+{ord(shown[0]):04X}"
        help = _ADVICE.get(shown, "") or "outside of texts and comments there are only ASCII letters, digits and signs"
        self.report("E0105", f"unexpected character `{shown}`", start, end, help)

    # --- filtering ---------------------------------------------------------------------------------------------

    def filter(self, marks: list[_Mark]) -> bool:
        """Put out what the parser is to see; false where brackets nest too deep."""
        lacking = _lacking(marks)
        for at, mark in enumerate(marks):
            following = marks[at + 1].token.type if at + 1 < len(marks) else ""
            if mark.first:
                self.lacking = lacking.get(at, self.lacking)
                self.begin_line(mark, following, is_argument=self.stack != [] and _is_argument_line(marks, at))
            token = self.renamed(mark, following)
            if token.type in OPENERS:
                if len(self.stack) == DEEPEST:
                    start, end = _place(token)
                    self.report("E0107", f"brackets nest deeper than {DEEPEST}", start, end, "give inner values names")
                    return False
                self.open(token)
            elif token.type in CLOSERS:
                self.close(token)
            else:
                if self.is_header(token):
                    self.header = token
                self.out.tokens.append(token)
        self.close_all()
        return True

    def renamed(self, mark: _Mark, following: str) -> Token:
        """The token in the role that its neighbours give it."""
        token = mark.token
        before = self.out.tokens[-1].type if self.out.tokens else ""
        if token.type == "NAME" and before == "NUMBER" and not mark.first:
            return _as("UNIT", token)
        if token.type in KEYWORDS and (before == "DOT" or (following == "COLON" and self.inside("LPAR"))):
            return _as("NAME", token)
        return token

    def is_header(self, token: Token) -> bool:
        """Whether a block follows: an `else` after a value, or a keyword in a value's place, has none."""
        if token.type == "ELSE":
            return self.follows("RBRACE")
        if token.type == "REPEAT":
            return not self.out.tokens or self.out.tokens[-1].type in ("_NL", "LBRACE", "RBRACE")
        return token.type in _HEADERS

    def follows(self, kind: str) -> bool:
        return bool(self.out.tokens) and self.out.tokens[-1].type == kind

    def inside(self, opener: str) -> bool:
        return bool(self.stack) and self.stack[-1].token.type == opener

    def begin_line(self, mark: _Mark, following: str, *, is_argument: bool) -> None:
        """Close what the beginning of this line proves to be over, and end the line before if it is to be ended."""
        kind = mark.token.type
        named = following == "COLON" and self.inside("LPAR")
        if _declares(kind, following):
            self.close_all()
            self.header = None
        elif (kind == "NAME" and following == "EQUAL" and not is_argument) or self.begins(mark, named=named):
            self.close_down_to("LBRACE")
            self.open_missing(mark)
        if self.stack and not self.inside("LBRACE"):
            return
        self.close_by_indent(mark)
        if kind not in _CONTINUING and kind != "RBRACE":
            self.end_line()
        if not self.inside("LBRACE") or kind not in _CONTINUING:
            self.indent = mark.indent

    def begins(self, mark: _Mark, *, named: bool) -> bool:
        """Whether a line begins a statement, or goes on with the `else` of one, by its first word.

        An `else` inside of brackets belongs to a value there, unless a block has just ended.
        """
        kind = mark.token.type
        if kind == "ELSE" and self.stack and not self.inside("LBRACE"):
            return self.follows("RBRACE")
        return kind in _STATEMENTS and not named

    def end_line(self) -> None:
        tokens = self.out.tokens
        if tokens and tokens[-1].type not in ("_NL", "LBRACE"):
            tokens.append(_virtual("_NL", _place(tokens[-1])[1]))

    def open_missing(self, mark: _Mark) -> None:
        """A header that is followed by a statement's line lacks its `{`."""
        header = self.header
        if header is None or mark.token.type in ("ELIF", "ELSE") or not self.out.tokens:
            return
        if self.out.tokens[-1].type in _CONTINUING - CLOSERS:
            return
        end = _place(self.out.tokens[-1])[1]
        what = "the pipeline" if header.type == "PIPELINE" else f"`{header}`"
        self.report("E0101", f"expected `{{` to open the block of {what}", end, end, "put `{` at the end of this line")
        self.open(_virtual("LBRACE", end))

    def open(self, token: Token) -> None:
        if token.type == "LBRACE":
            self.header = None
        self.stack.append(_Open(token, self.indent))
        self.out.tokens.append(token)

    def close(self, token: Token) -> None:
        """A closing bracket: closes its own, or proves which one is missing."""
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
                token = _as(CLOSER_OF[openers[-1]], token)
        if not self.stack or CLOSER_OF[self.stack[-1].token.type] != token.type:
            start, end = _place(token)
            if self.source.position(start)[0] not in self.damaged_lines:
                self.report("E0112", f"`{token}` closes nothing", start, end, "delete it, or open the bracket before")
            return
        self.stack.pop()
        if token.type == "RBRACE":
            self.header = None
        self.out.tokens.append(token)

    def close_by_indent(self, mark: _Mark) -> None:
        """Where `}` are lacking, a line that stands no deeper than a block's header is outside of the block."""
        kind = mark.token.type
        while self.lacking and self.inside("LBRACE"):
            indent = self.stack[-1].indent
            if indent < mark.indent or (indent == mark.indent and (kind == "RBRACE" or kind in _CONTINUING)):
                return
            self.lacking -= 1
            self.close_missing()

    def close_down_to(self, opener: str) -> None:
        while self.stack and self.stack[-1].token.type != opener:
            self.close_missing()

    def close_all(self) -> None:
        while self.stack:
            self.close_missing()

    def close_missing(self) -> None:
        """Close the innermost bracket for the user, and say so."""
        opened = self.stack.pop().token
        end = _place(self.out.tokens[-1])[1]
        self.out.tokens.append(_virtual(CLOSER_OF[opened.type], end))
        if not self.damaged(opened):
            self.report_unclosed(opened)

    def report_unclosed(self, opened: Token, but: str = "") -> None:
        start, end = _place(opened)
        closer = SIGN_OF[CLOSER_OF[opened.type]]
        self.report("E0102", f"`{SIGN_OF[opened.type]}` is never closed{but}", start, end, f"close it with `{closer}`")

    def damaged(self, opened: Token) -> bool:
        """Whether a text that is not closed may have swallowed the bracket's partner, or the bracket is our own."""
        start, end = _place(opened)
        return start == end or self.source.position(start)[0] in self.damaged_lines


def _declares(kind: str, following: str) -> bool:
    """Whether a line that begins with these two tokens begins a declaration, and does not use a keyword as a name."""
    return kind in DECLARATIONS and (following == "NAME" or following in KEYWORDS)


def _lacking(marks: list[_Mark]) -> dict[int, int]:
    """For the position of each declaration, how many `}` it lacks up to the next one."""
    lacking: dict[int, int] = {}
    begin = balance = 0
    for at, mark in enumerate(marks):
        following = marks[at + 1].token.type if at + 1 < len(marks) else ""
        if mark.first and _declares(mark.token.type, following):
            lacking[begin] = max(0, balance)
            begin, balance = at, 0
        balance += (mark.token.type == "LBRACE") - (mark.token.type == "RBRACE")
    lacking[begin] = max(0, balance)
    return lacking


def _is_argument_line(marks: list[_Mark], at: int) -> bool:
    """Whether a line that begins `name =` inside brackets goes on or closes them, as arguments do."""
    depth = 0
    for following in range(at, len(marks)):
        mark = marks[following]
        if following > at and mark.first:
            return marks[following - 1].token.type == "COMMA"
        depth += (mark.token.type in OPENERS) - (mark.token.type in CLOSERS)
        if depth < 0:
            return True
    return False


def _lex(text: str) -> list[Token]:
    return list(parser().lex(text, dont_ignore=True))


def _swallowing(tokens: list[Token]) -> tuple[int, int]:
    """Which long text is the one that is not closed, and where it should have ended.

    With an odd number of quotes the last one is open, but the slip lies where a text has swallowed declarations.
    """
    for at, token in enumerate(tokens):
        if token.type in ("LONG_TEXT", "BROKEN_LONG_TEXT") and (found := _DECLARATION_LINE.search(token, 3)):
            return at, _place(token)[0] + found.start()
    return len(tokens) - 1, _place(tokens[-1])[1]


def _place(token: Token) -> tuple[int, int]:
    assert token.start_pos is not None
    assert token.end_pos is not None
    return token.start_pos, token.end_pos


def _as(kind: str, token: Token) -> Token:
    return Token(kind, str(token), start_pos=token.start_pos, end_pos=token.end_pos)


def _virtual(kind: str, at: int) -> Token:
    return Token(kind, SIGN_OF.get(kind, ""), start_pos=at, end_pos=at)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
