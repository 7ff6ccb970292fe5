"""What to say about a token that cannot stand where it stands."""

from dataclasses import dataclass

from lark import Token

from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.diagnostics.source import Source, Span
from harmonia_compiler.syntax.tokens import KEYWORDS

_WORDS = {
    "NAME": "a name",
    "TEXT": "a text",
    "LONG_TEXT": "a text",
    "NUMBER": "a number",
    "UNIT": "a unit",
    "COMPARISON": "a comparison",
    "AT_MOST": "`<=`",
    "_ARROW": "`->`",
    "_NL": "the end of the line",
    "$END": "the end of the line",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "COMMA": "`,`",
    "COLON": "`:`",
    "EQUAL": "`=`",
    "DOT": "`.`",
    "PLUS": "`+`",
    "TILDE": "`~`",
    "VBAR": "`|`",
}
_VALUE = frozenset({"NAME", "TEXT", "LONG_TEXT", "NUMBER", "LPAR", "LSQB", "TRUE", "FALSE", "NOT"})
#: What may follow nearly any value; of no use in a sentence.
_AFTER_A_VALUE = frozenset({"COMPARISON", "AT_MOST", "PLUS", "DOT", "AND", "OR", "TILDE", "UNIT", "VBAR"})
_AFTER_A_VALUE |= {"ELSE", "WITHIN", "WHERE", "UNTIL"}
_MOST_NAMED = 3

#: What other languages call things, with what they are called here.
_ELSEWHERE = {
    "for": "write `each name in list: value`",
    "foreach": "write `each name in list: value`",
    "while": "write `repeat up to 3 { … } until test`",
    "loop": "write `repeat up to 3 { … } until test`",
    "try": "write `value else other`",
    "catch": "write `value else other`",
    "match": "write `if name == \"label\" { … } elif …`",
    "switch": "write `if name == \"label\" { … } elif …`",
    "case": "write `elif name == \"label\" { … }`",
    "let": "write `name = value`",
    "var": "write `name = value`",
    "const": "write `name = value`",
    "def": "write `component name(ports) -> type = kind(settings)`",
    "elseif": "write `elif`",
    "elsif": "write `elif`",
}


@dataclass(frozen=True, slots=True)
class Slip:
    """The first token, by position, that does not fit, and the kinds that would have."""

    position: int
    token: Token
    accepted: frozenset[str]


def explain(source: Source, tokens: list[Token], slip: Slip) -> Diagnostic:
    """The finding for a slip, at its place."""
    token, accepted = slip.token, slip.accepted
    before = tokens[slip.position - 1] if slip.position else None
    span = Span(source, token.start_pos or 0, token.end_pos or 0)
    if token.type in ("_NL", "$END") and before is not None:
        span = Span(source, before.end_pos or 0, before.end_pos or 0)
    after = tokens[slip.position + 1].type if slip.position + 1 < len(tokens) else "$END"

    if token.type in KEYWORDS and "NAME" in accepted and _is_meant_as_name(before, after):
        return _keyword(token, span)
    if token.type == "EQUAL" and before is not None and before.type in KEYWORDS:
        return _keyword(before, Span(source, before.start_pos or 0, before.end_pos or 0))

    found = _shown(token)
    wanted = _wanted(accepted)
    message = f"expected {wanted}, found {found}" if wanted else f"unexpected {found}"
    help = _help(token, before, accepted) or (f"put {wanted} here" if wanted else f"delete {found}")
    return Diagnostic("E0101", message, span, help)


#: After these a name is being given or used, so that a keyword there is a name that is taken.
_NAMING = frozenset(
    {"_NL", "LBRACE", "COMPONENT", "PIPELINE", "TYPE", "IMPORT", "AS", "LPAR", "COMMA", "EQUAL", "COLON"}
)

#: Before a value, so that a keyword there was meant as a name where the value ends with it.
_BEFORE_A_VALUE = frozenset({"RETURN", "STREAM", "IF", "ELIF", "AND", "OR", "NOT", "PLUS", "COMPARISON", "LSQB"})
#: Before these stands a name, and not the beginning of a construct.
_AFTER_A_NAME = frozenset({"EQUAL", "COMMA", "RPAR", "DOT", "COLON", "_NL", "$END"})


def _is_meant_as_name(before: Token | None, after: str) -> bool:
    if before is None or before.type in _NAMING:
        return True
    return before.type in _BEFORE_A_VALUE and after in (*_AFTER_A_NAME, "LBRACE", "RBRACE", "RSQB")


def _declares(before: Token | None) -> bool:
    return before is not None and before.type in ("COMPONENT", "PIPELINE", "TYPE", "IMPORT", "AS")


def _keyword(token: Token, span: Span) -> Diagnostic:
    return Diagnostic(
        "E0104", f"`{token}` is a keyword and cannot be a name", span, f"write `{token}_` or another name"
    )


def _shown(token: Token) -> str:
    if token.type in ("$END", "_NL"):
        return "the end of the line"
    if token.type in ("TEXT", "LONG_TEXT"):
        return "a text"
    text = str(token)
    return f"`{text if len(text) <= 40 else text[:37] + '...'}`"


def _wanted(accepted: frozenset[str]) -> str:
    """What would have fitted, where that is short enough to be of help."""
    if _VALUE - {"NOT"} <= accepted:
        rest = sorted(_WORDS[kind] for kind in accepted - _VALUE if kind in ("RPAR", "RSQB"))
        return " or ".join(["a value", *rest])
    kinds = accepted - _AFTER_A_VALUE or accepted
    if "_NL" in kinds:
        kinds -= {"RBRACE", "$END"}
    words = sorted({_WORDS.get(kind, f"`{kind.lower()}`") for kind in kinds})
    return " or ".join(words) if len(words) <= _MOST_NAMED else ""


def _help(token: Token, before: Token | None, accepted: frozenset[str]) -> str:
    for word in (token, before):
        if word is not None and word.type == "NAME" and str(word) in _ELSEWHERE:
            return _ELSEWHERE[str(word)]
    if before is not None and before.type == "REPEAT":
        return "write `repeat up to 3 { … }`: a loop always has a most number of rounds"
    if token.type == "LBRACE" and accepted >= {"COLON"}:
        return "after the list stands `:` and the value of an item; for more than one value, call a pipeline"
    if token.type == "UNTIL":
        return "`until` stands behind the block of a `repeat`"
    if token.type == "ELSE":
        return "`else` stands behind the block of an `if`, or behind a value that may fail"
    if before is None:
        return "a file holds `import`, `type`, `component` and `pipeline` declarations"
    if token.type == "EQUAL" and "COMPARISON" in accepted:
        return "compare with `==`" if "RPAR" not in accepted else "a named argument is given with `:`"
    if token.type == "EQUAL" and "COLON" in accepted:
        return "after the name stands `:`"
    if "EQUAL" in accepted and token.type in ("COLON", "COMPARISON"):
        return "a name is bound with `=`"
    if "_ARROW" in accepted:
        return "after the ports stands what is given: `-> text`"
    if token.type == "LPAR" and accepted == {"EQUAL"}:
        return "a value is used by binding it: `name = …`, or by `return`"
    if token.type in ("_NL", "$END") and "LBRACE" in accepted:
        return "put `{` at the end of this line"
    if "COMMA" in accepted and token.type in ("NAME", "TEXT", "LONG_TEXT", "NUMBER"):
        return "put `:` between the two" if "COLON" in accepted else "put `,` between the two"
    if "_NL" in accepted and token.type in ("NAME", "RETURN", "IF"):
        return "begin a new line here"
    return ""
