"""Filters of a search: a small language of its own within a text, read as the store that we start reads it.

    source like 'docs/%' and not (source in ['docs/a.md', 'docs/b.md'] or text == "none")

A comparison has a field of a passage on one side and a text on the other. What this refuses, the store would refuse
when the first request comes.
"""

import re
from collections.abc import Sequence

import msgspec

from harmonia_compiler.diagnostics.near import nearest
from harmonia_compiler.kinds.kind import Slip

#: How deep brackets and `not` may nest: the store goes down them by recursion.
DEEPEST = 64

_COMPARISON = "a comparison such as `source like 'docs/%'`"
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)|(?P<text>"(?:[^"\\\r\n]|\\["'\\nrt])*"|'(?:[^'\\\r\n]|\\["'\\nrt])*')"""
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>==|!=|<=|>=|&&|\|\||[<>!()\[\],])|(?P<other>[0-9.]+|.)",
    re.DOTALL,
)
_WORDS = ("and", "or", "not", "in", "like")
_SIGNS = {"&&": "and", "||": "or", "!": "not"}
_COMPARING = frozenset({"==", "!=", "<", "<=", ">", ">="})


class _Token(msgspec.Struct, frozen=True):
    """`kind` is a sign or a word of the language itself, `text`, `field`, `end`, or `word` or `other`."""

    kind: str
    written: str
    start: int

    @property
    def shown(self) -> str:
        return "its end" if self.kind == "end" else f"`{self.written[:40]}`"


class _Refused(Exception):
    def __init__(self, slip: Slip) -> None:
        super().__init__(slip.message)
        self.slip = slip


def slip_in(written: str, fields: Sequence[str]) -> Slip | None:
    """The first thing wrong with a filter over these fields; an empty one filters nothing, and is fine."""
    if not written:
        return None
    try:
        reader = _Reader([*_tokens(written, fields), _Token("end", "", len(written))], fields)
        reader.either(0)
        if reader.here.kind != "end":
            reader.refuse("`and`, `or` or its end", "join comparisons by `and` or `or`")
    except _Refused as refused:
        return refused.slip
    return None


def _tokens(written: str, fields: Sequence[str]) -> list[_Token]:
    """Those up to the first that no filter has."""
    found = []
    for match in _TOKEN.finditer(written):
        text, start = match[0], match.start()
        match match.lastgroup:
            case "text":
                found.append(_Token("text", text, start))
            case "sign":
                found.append(_Token(_SIGNS.get(text, text), text, start))
            case "word" if text.lower() in _WORDS:
                found.append(_Token(text.lower(), text, start))
            case "word" if text in fields:
                found.append(_Token("field", text, start))
            case "word":
                found.append(_Token("word", text, start))
            case "other":
                found.append(_Token("other", text, start))
                # It is refused. Behind a quote that nothing closes, each further one would be followed to the end.
                break
    return found


class _Reader:
    """Goes through the tokens once, from what binds loosest to what binds closest."""

    def __init__(self, tokens: Sequence[_Token], fields: Sequence[str]) -> None:
        self.tokens = tokens
        self.fields = fields
        self.at = 0

    @property
    def here(self) -> _Token:
        return self.tokens[self.at]

    def take(self, *kinds: str) -> bool:
        """Whether a token of such a kind comes, which is then passed."""
        found = self.here.kind in kinds
        self.at += found
        return found

    def refuse(self, wanted: str, help: str) -> None:
        """Raise _Refused for the token that comes, which is not what was wanted."""
        token = self.here
        message = f"expected {wanted}, found {token.shown}"
        if token.kind == "word":
            near = nearest(token.written, self.fields)
            known = " and ".join(f"`{field}`" for field in self.fields)
            help = f"did you mean `{near}`?" if near else f"there are {known}, and texts stand in quotes"
            message = f"a passage has no field {token.shown}"
        elif token.written in ("'", '"'):
            help = "close the text on its line, by the sign that opens it"
        elif token.written == "=":
            help = "compare with `==`"
        raise _Refused(Slip(token.start, token.start + max(1, len(token.written)), message, help))

    def want(self, kind: str, wanted: str, help: str) -> None:
        if not self.take(kind):
            self.refuse(wanted, help)

    def either(self, depth: int) -> None:
        """Comparisons between `and` and `or`: which binds closer makes no difference here."""
        self.one(depth)
        while self.take("and", "or"):
            self.one(depth)

    def one(self, depth: int) -> None:
        if depth > DEEPEST:
            self.refuse("less nesting", f"nest brackets and `not` at most {DEEPEST} deep")
        if self.take("not"):
            self.one(depth + 1)
        elif self.take("("):
            self.either(depth + 1)
            self.want(")", "`)`", "close the bracket, or join comparisons by `and` or `or`")
        elif self.take("text"):
            if not self.take(*_COMPARING):
                self.refuse("a sign such as `==`", f"write {_COMPARISON}")
            self.want("field", "a field", "compare a text with `source` or `text`")
        else:
            self.want("field", "a comparison", f"write {_COMPARISON}")
            self.compared()

    def compared(self) -> None:
        """What a field is compared with."""
        if self.take("like") or self.take(*_COMPARING):
            self.want("text", "a text", "write it in quotes: `'docs/a.md'`")
            return
        self.take("not")
        self.want("in", "a sign such as `==`, `like` or `in`", f"write {_COMPARISON}")
        self.want("[", "`[`", "write the texts in brackets: `['a.md', 'b.md']`")
        self.want("text", "a text", "write it in quotes: `'docs/a.md'`")
        while self.take(","):
            self.want("text", "a text", "write it in quotes: `'docs/a.md'`")
        self.want("]", "`]`", "close the list, or put `,` between its texts")
