"""What to say about a token that cannot stand where it stands."""

from collections.abc import Iterator

from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.diagnostics.near import nearest
from harmonia_compiler.diagnostics.source import Source, Span
from harmonia_compiler.syntax.advice import advice, meant_otherwise
from harmonia_compiler.syntax.automaton import Slip
from harmonia_compiler.syntax.lexer import KEYWORDS
from harmonia_compiler.syntax.spot import Spot, shown, spot_of
from harmonia_compiler.syntax.token import Token

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
#: What is expected where all of these would have fitted; the first that holds.
_PLACES = (
    ("a value", frozenset({"NAME", "TEXT", "LONG_TEXT", "NUMBER", "LPAR", "LSQB", "TRUE", "FALSE"})),
    ("a type", frozenset({"NAME", "CLASS", "TEXT", "LSQB", "LPAR"})),
    ("a statement", frozenset({"NAME", "RETURN", "IF", "REPEAT"})),
    ("a declaration", frozenset({"IMPORT", "TYPE", "CLASS", "COMPONENT", "PIPELINE"})),
)
#: What may follow nearly any value; of no use in a sentence.
_AFTER_A_VALUE = frozenset({"COMPARISON", "AT_MOST", "PLUS", "DOT", "AND", "OR", "TILDE", "UNIT", "VBAR", "LPAR"})
_AFTER_A_VALUE |= {"ELSE", "WITHIN", "WHERE", "UNTIL"}
_AFTER_A_TYPE = frozenset({"TILDE", "VBAR"})
_MOST_NAMED = 3
#: Of shorter words, one letter more or less makes another one.
_SHORTEST_WORD = 3


def explain(source: Source, tokens: list[Token], slip: Slip) -> Diagnostic:
    """The finding for a slip, at its place."""
    token, accepted = slip.token, slip.accepted
    spot = spot_of(tokens, slip)
    before = spot.before
    span = _span(source, token)
    if spot.ends and before is not None:
        span = Span(source, before.end, before.end)

    if token.kind in KEYWORDS and "NAME" in accepted and _is_meant_as_name(spot):
        return _keyword(token, span)
    is_clause = [word.kind for word in tokens[slip.position + 1 : slip.position + 3]] in _CLAUSES.get(spot.behind, ())
    if token.kind == "EQUAL" and before is not None and before.kind in KEYWORDS and not is_clause:
        return _keyword(before, _span(source, before))

    found = shown(token)
    wanted = _wanted(spot)
    message = f"expected {wanted}, found {found}" if wanted else f"unexpected {found}"
    for word, keywords in () if meant_otherwise(spot) else _misspelt(spot):
        if (meant := _keyword_like(word, keywords)) is not None:
            message = message if word is token else f"unexpected `{word.text}`"
            return Diagnostic("E0101", message, _span(source, word), f"did you mean `{meant}`?")
    return Diagnostic("E0101", message, span, advice(spot) or (f"put {wanted} here" if wanted else f"delete {found}"))


#: After these a name is given, so that a keyword there is a name that is taken.
_NAMING = frozenset({"COMPONENT", "PIPELINE", "TYPE", "CLASS", "AS"})
#: How a clause goes on behind its keyword, and no value does.
_RATES = ["NUMBER", "UNIT"], ["NAME", "NUMBER"]
_CLAUSES = {"SLO": (["NAME", "NAME"],), "LOAD": _RATES, "PEAK": _RATES}
#: Before these stands a name that is used or bound, and not the beginning of a construct.
_AFTER_A_NAME = frozenset({"EQUAL", "COMMA", "RPAR", "RSQB", "DOT", "_NL", "$END", "LBRACE", "RBRACE"})
#: These begin a construct, so that brackets behind them are no call.
_BEGINNING = frozenset({"IF", "ELIF", "ELSE", "REPEAT", "RETURN", "UNTIL", "WHERE", "WITHIN", "IN", "AND", "OR"})


def _is_meant_as_name(spot: Spot) -> bool:
    if spot.behind in _NAMING:
        return (spot.kind, spot.after) != ("FROM", "TEXT")
    if spot.behind in ("_NL", "LBRACE"):
        return spot.after == "EQUAL"
    if spot.behind == "IMPORT":
        return spot.after in ("COMMA", "AS", "FROM")
    return spot.after in _AFTER_A_NAME or (spot.after == "LPAR" and spot.kind not in _BEGINNING)


def _keyword(token: Token, span: Span) -> Diagnostic:
    message = f"`{token.text}` is a keyword and cannot be a name"
    return Diagnostic(
        "E0104", message, span, f"write `{token.text}_` or another name", about=f"{span.source.name}: {token.text}"
    )


#: The keywords that a statement or a part of one begins with, and those that a value begins with behind these.
_STATEMENTS = frozenset({"RETURN", "IF", "ELIF", "ELSE", "REPEAT", "UNTIL", "SLO", "LOAD"})
_VALUES = {"RETURN": frozenset({"STREAM", "EACH", "NOT"}), "EQUAL": frozenset({"EACH", "NOT"})}


def _misspelt(spot: Spot) -> Iterator[tuple[Token, frozenset[str]]]:
    """The words that may be keywords with a slip of the finger, each with the kinds of those that may stand there."""
    if spot.kind == "NAME":
        yield spot.token, spot.accepted & KEYWORDS
    if spot.before is not None and spot.before.kind == "NAME":
        if spot.accepted == {"EQUAL"} and spot.earlier in ("_NL", "LBRACE"):
            yield spot.before, _STATEMENTS
        elif spot.kind == "NAME":
            # Behind `each name` nothing else stands; other names that look like it are calls without their brackets.
            without = {"EACH"} if spot.after != "IN" else set()
            yield spot.before, _VALUES.get(spot.earlier, frozenset()) - without


def _keyword_like(word: Token, kinds: frozenset[str]) -> str | None:
    """The keyword that was probably meant; of two letters, one that has the same."""
    found = nearest(word.text, (kind.lower() for kind in kinds))
    is_short = len(word.text) < _SHORTEST_WORD
    return None if found is None or (is_short and sorted(found) != sorted(word.text.lower())) else found


def _span(source: Source, token: Token) -> Span:
    return Span(source, token.start, token.end)


def _wanted(spot: Spot) -> str:
    """What would have fitted, where that is short enough to be of help."""
    for words, kinds in _PLACES:
        if kinds <= spot.accepted:
            rest = sorted(_WORDS[kind] for kind in spot.accepted - kinds if kind in ("RPAR", "RSQB"))
            return " or ".join([words, *rest])
    kinds = spot.accepted - (_AFTER_A_VALUE if spot.follows_value else _AFTER_A_TYPE) or spot.accepted
    if "_NL" in kinds:
        kinds -= {"RBRACE", "$END"}
    words_ = sorted({_WORDS.get(kind, f"`{kind.lower()}`") for kind in kinds})
    return " or ".join(words_) if len(words_) <= _MOST_NAMED else ""
