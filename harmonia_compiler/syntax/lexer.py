"""Text to tokens: what the scanner finds, without space and comments, and with every broken text or character reported.

This is total: any text gives tokens. A text that is never closed and a character that no token begins with become
what keeps the rest readable, so that what follows sees whole tokens alone.
"""

import re

import msgspec

from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source, Span
from harmonia_compiler.syntax import words
from harmonia_compiler.syntax.scanner import lex
from harmonia_compiler.syntax.token import Token
from harmonia_compiler.syntax.tree import Comment

#: What stands for a value that could not be read; no text can spell it.
BROKEN_NAME = "?"

DECLARATIONS = frozenset({"IMPORT", "TYPE", "CLASS", "COMPONENT", "PIPELINE"})
#: A keyword's token has its kind for a name.
KEYWORDS = frozenset(word.upper() for word in words.KEYWORDS)

_OTHERWISE_QUOTED = re.compile(
    r"""'''([^'"\\]*)'''|'([^'"\\\n]*)'|[“„]([^“”"\\\n]*)[“”]|[\u2018\u201a]([^\u2018\u2019"\\\n]*)[\u2018\u2019]|`([^`"\\\n]*)`"""
)
#: A name as other languages have it, and what stands between two of its words.
_HYPHENED, _HYPHEN = re.compile(r"\w+(?:-\w+)+", re.ASCII), "-"
#: A comment as other languages have it, to the end of its line.
_OTHER_COMMENT = re.compile(r"(?://|/\*|--(?![^\s-]))[^\r\n]*")
#: The beginning of a line that imports something, or says what is promised or expected.
_FIRST_WORD = re.compile(r"[ \t]{0,40}(import|slo|load)\b")
#: What stands in other languages where a type may have no value.
_OPTIONAL = re.compile(r"[\w\])]\?")
#: What clauses and shares are like, for whoever writes them otherwise.
OBJECTIVE = "an objective names a quantile and a metric: `slo p95 latency <= 4 s`"
RATE = "a rate counts the requests of a second: `2 rps`"
_SHARE = "a share is a number from 0 to 1: `~ 0.3`"
#: What stands instead of a list whose items other languages put among others, behind one of these.
SPREAD = "`+` joins lists, `list + [value]`, and an argument is given by itself"
_BEFORE_A_SPREAD = frozenset({"LSQB", "LPAR", "COMMA"})
_DECLARATION_LINE = re.compile(r"^(?:component|pipeline|import|type|class)[ \t]+[a-z]", re.MULTILINE)
_ADVICE = {
    **dict.fromkeys("'`“”„\u2018\u2019\u201a", 'a text stands in double quotes: `"…"`'),
    ";": "a statement ends with its line",
    "//": "a comment begins with `#`",
    "/*": "a comment begins with `#`, on each of its lines",
    "--": "a comment begins with `#`",
    "/": "there is no arithmetic; a comment begins with `#`",
    **dict.fromkeys("*-^", "there is no arithmetic"),
    "?": "`if` is a statement: bind the name in each of its blocks",
    "\\": "delete it: a line goes on inside of brackets, and before a sign",
    "→": "write `->`",
    "≤": "write `<=`",
    "≥": "write `>=`",
    "≠": "write `!=`",
    "&&": "write `and`",
    "&": "write `and`",
    "!": "write `not`",
    "%": _SHARE,
    "$": 'a value from outside comes by `env("NAME")` or `setting("name")`',
}
#: What goes before that on a line that begins with a word.
_ADVICE_BEHIND = {
    **dict.fromkeys(
        (("import", "/"), ("import", "\\")), 'put the file in quotes: `import name from "folder/file.rag"`'
    ),
    ("import", "*"): 'say what of it is used: `import name from "file.rag"`',
    ("load", "/"): RATE,
    ("slo", "%"): OBJECTIVE,
}


class Damage(msgspec.Struct):
    """What is reported already: the offsets, and the lines, where a later finding would only repeat it.

    `swallowing` are the offsets of long texts that are never closed, and so may hold what is missing; `unbalanced`
    those of brackets in values that lack their partner, so that it is a guess where the partner belongs, and `guessed`
    those of blocks that do, or may have ended elsewhere: it is a guess what stands in them.
    """

    offsets: list[int]
    lines: set[int]
    swallowing: list[int]
    unbalanced: list[int]
    guessed: list[int]

    def holds(self, source: Source, offset: int) -> bool:
        """Whether something is reported on the line of an offset."""
        return source.position(offset)[0] in self.lines


class Lexer:
    """One reading of one text. `comments` and `damage` are filled on the way."""

    def __init__(self, source: Source, findings: Findings) -> None:
        self.source = source
        self.findings = findings
        self.comments: list[Comment] = []
        self.damage = Damage([], set(), [], [], [])

    def report(self, code: str, message: str, start: int, end: int, help: str = "") -> None:
        """Record a finding, and that its line is damaged."""
        self.findings.add(code, message, Span(self.source, start, end), help=help)
        self.damage.offsets.append(start)
        self.damage.lines.add(self.source.position(start)[0])

    def tokens(self) -> list[Token]:
        """The tokens that matter, broken ones reported and made whole, each with how it stands on its line."""
        tokens: list[Token] = []
        first, line_start, broken_to, skip_to = True, 0, -1, 0
        for token in self._cut():
            kind, start, end = token.kind, token.start, token.end
            if start < skip_to:
                continue
            if token.text[:1] == _HYPHEN and (hyphened := self._hyphened(tokens, token)) is not None:
                tokens[-1], skip_to = hyphened, hyphened.end
                continue
            if kind == "_NL":
                first, line_start = True, end
            elif kind == "COMMENT":
                self.comments.append(Comment(Span(self.source, start, end), token.text.rstrip("\r")))
            elif kind == "BROKEN":
                if start != broken_to:
                    self._report_character(start, end, line_start, tokens[-2:])
                broken_to = end
                if comment := _OTHER_COMMENT.match(self.source.text, start):
                    skip_to = comment.end()
                if (instead := self._instead(start, tokens)) is not None:
                    instead.first, instead.indent, skip_to = first, start - line_start, instead.end
                    tokens.append(instead)
                first = False
            else:
                if kind == "BROKEN_TEXT":
                    self._make_whole(token)
                token.first, token.indent = first, start - line_start
                tokens.append(token)
                first = False
                if kind == "LONG_TEXT" and "\n" in token.text:
                    line_start = self.source.text.rfind("\n", 0, end) + 1
        return tokens

    def _cut(self) -> list[Token]:
        """All tokens but space. A long text that is never closed ends before the first declaration in it."""
        text = self.source.text
        tokens = lex(text, spaces=False)
        if not tokens or tokens[-1].kind != "BROKEN_LONG_TEXT":
            return tokens
        at, cut = _swallowing(tokens)
        start = tokens[at].start
        self.report("E0103", "this text is never closed", start, start + 3, 'close it with `"""`')
        self.damage.swallowing.append(start)
        closed = Token("NAME", BROKEN_NAME, start, cut)
        if cut == len(text):
            return [*tokens[:at], closed]
        newline = Token("_NL", "", cut, cut)
        return [*tokens[:at], closed, newline, *lex(" " * cut + text[cut:], spaces=False)]

    def _hyphened(self, before: list[Token], token: Token) -> Token | None:
        """The name with hyphens that goes on with this token: where it is given, it is told what a name is."""
        if not before or before[-1].end != token.start:
            return None
        begun = before[-1]
        # Behind a keyword, a number needs no space.
        if begun.kind != "NAME" and (begun.kind not in KEYWORDS or token.kind == "NUMBER"):
            return None
        found = _HYPHENED.match(self.source.text, begun.start)
        return found and Token("NAME", found[0], begun.start, found.end(), begun.first, begun.indent)

    def _instead(self, at: int, before: list[Token]) -> Token | None:
        """What stands for what no token begins with, so that nothing follows from it."""
        if found := _OTHERWISE_QUOTED.match(self.source.text, at):
            return Token("TEXT", f'"{found[found.lastindex or 1]}"', at, found.end())
        if self.source.text[at] == "*" and _spreads(before):
            # Without the sign, a list would stand in the place of its items.
            return Token("NAME", BROKEN_NAME, at, at + 1)
        return None

    def _make_whole(self, token: Token) -> None:
        help = 'close it with `"`, or use `"""`'
        self.report("E0103", "this text is not closed on its line", *token.place, help)
        token.kind, token.text = "NAME", BROKEN_NAME

    def _report_character(self, start: int, end: int, line_start: int, before: list[Token]) -> None:
        text = self.source.text
        if _OTHER_COMMENT.match(text, start) or text.startswith("&&", start):
            end = start + 2
        shown = _short(text[start:end])
        if not shown.isprintable():
            shown = f"U+{ord(shown[0]):04X}"
        help = self._advice(shown, start, line_start, before)
        self.report("E0105", f"unexpected character `{shown}`", start, end, help)

    def _advice(self, shown: str, at: int, line_start: int, before: list[Token]) -> str:
        """What to write instead of a character, by the line that it stands on and the two tokens before it."""
        text = self.source.text
        word = _FIRST_WORD.match(text, line_start)
        if word is not None and (word[1], shown) in _ADVICE_BEHIND:
            return _ADVICE_BEHIND[word[1], shown]
        if shown == "/" and [token.kind for token in before] == ["TILDE", "NUMBER"]:
            return _SHARE
        if shown == "?" and _OPTIONAL.match(text, max(at - 1, 0)):
            return 'delete it: every value is there; a port that may be left out has a default: `name: text = ""`'
        if shown == "*" and _spreads(before):
            return SPREAD
        if shown in _ADVICE:
            return _ADVICE[shown]
        if shown.isascii() and shown.isprintable():
            return "delete it: it means nothing here"
        return "outside of texts and comments there are only ASCII letters, digits and signs"


def _spreads(before: list[Token]) -> bool:
    """Whether a `*` behind these puts the items of a list among others, as in other languages."""
    return before[-1:] != [] and before[-1].kind in _BEFORE_A_SPREAD


def _swallowing(tokens: list[Token]) -> tuple[int, int]:
    """Which long text is the one that is not closed, and where it should have ended.

    With an odd number of quotes the last one is open, but the slip lies where a text has swallowed declarations.
    """
    for at, token in enumerate(tokens):
        if token.kind in ("LONG_TEXT", "BROKEN_LONG_TEXT") and (found := _DECLARATION_LINE.search(token.text, 3)):
            return at, token.start + found.start()
    return len(tokens) - 1, tokens[-1].end


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
