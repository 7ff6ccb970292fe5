"""What to say about a token that cannot stand where it stands."""

from collections.abc import Callable, Iterator

import msgspec

from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.diagnostics.near import nearest
from harmonia_compiler.diagnostics.source import Source, Span
from harmonia_compiler.syntax.ahead import CLOSERS, OPENERS
from harmonia_compiler.syntax.automaton import Slip
from harmonia_compiler.syntax.brackets import CONTINUING
from harmonia_compiler.syntax.lexer import KEYWORDS, OBJECTIVE, RATE, SPREAD
from harmonia_compiler.syntax.repair import BEFORE_A_VALUE, goes_on_below, region_of
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
_TESTING = frozenset({"IF", "ELIF", "UNTIL", "WHERE"})
#: Several things stand behind these with `,` between them.
_LISTING = frozenset({"IMPORT", "SLO", "LOAD"})
_BEGIN_A_VALUE = frozenset({"NAME", "TEXT", "LONG_TEXT", "NUMBER", "TRUE", "FALSE", "NOT", "EACH"})
_MOST_NAMED = 3
#: Of shorter words, one letter more or less makes another one.
_SHORTEST_WORD = 3


class _Spot(msgspec.Struct, frozen=True):
    """A slip with the tokens around it. Only their kinds and texts matter.

    `earlier` is the kind of the token two before it, `declares` that of the first one of the declaration, `said` are
    those of the statement before it, `compared` is the sign by which something is compared with the value before,
    `unpacks` says whether it follows brackets with which a line begins, `counts` whether it and what follows count
    rounds as other languages do, and `goes_on` whether what lacks at a line's end begins the next one.
    """

    token: Token
    before: Token | None
    after: str
    accepted: frozenset[str]
    earlier: str
    declares: str
    said: frozenset[str]
    compared: str
    unpacks: bool
    counts: bool
    goes_on: bool

    @property
    def kind(self) -> str:
        return self.token.kind

    @property
    def behind(self) -> str:
        """The kind of the token before."""
        return self.before.kind if self.before is not None else ""

    @property
    def follows_value(self) -> bool:
        return self.accepted >= {"COMPARISON", "AND"}

    @property
    def follows_rate(self) -> bool:
        return self.before is not None and self.before.text == "rps"

    @property
    def gives_a_name(self) -> bool:
        """Whether the name before most likely says what the value is for, and is none itself.

        In a pipeline most arguments are names of values, and few settings are anything else than numbers.
        """
        is_setting = self.declares != "PIPELINE" or self.kind in ("NUMBER", "TRUE", "FALSE")
        return is_setting or "COMMA" not in self.accepted

    @property
    def begins_a_block(self) -> bool:
        """Whether this stands for the beginning of a block, here or in another language."""
        return self.kind in ("LBRACE", "_ARROW") or (self.kind, self.after) == ("EQUAL", "COMPARISON")

    @property
    def is_joined(self) -> bool:
        """Whether there is no space before."""
        return self.before is not None and self.before.end == self.token.start

    @property
    def ends(self) -> bool:
        return self.kind in ("_NL", "$END")


def explain(source: Source, tokens: list[Token], slip: Slip) -> Diagnostic:
    """The finding for a slip, at its place."""
    token, accepted = slip.token, slip.accepted
    before = tokens[slip.position - 1] if slip.position else None
    after = tokens[slip.position + 1].kind if slip.position + 1 < len(tokens) else "$END"
    earlier = tokens[slip.position - 2].kind if slip.position > 1 else ""
    begin = region_of(tokens, slip.position).start
    said = frozenset(token.kind for token in tokens[begin : slip.position])
    unpacks = token.kind == "EQUAL" and _begins_its_line(tokens, slip.position - 1)
    declares, compared, goes_on = tokens[0].kind, _compared(tokens, slip.position), goes_on_below(tokens, slip)
    counts = _counts(tokens, slip.position)
    spot = _Spot(token, before, after, accepted, earlier, declares, said, compared, unpacks, counts, goes_on)
    span = _span(source, token)
    if spot.ends and before is not None:
        span = Span(source, before.end, before.end)

    if token.kind in KEYWORDS and "NAME" in accepted and _is_meant_as_name(spot):
        return _keyword(token, span)
    is_clause = [word.kind for word in tokens[slip.position + 1 : slip.position + 3]] in _CLAUSES.get(spot.behind, ())
    if token.kind == "EQUAL" and before is not None and before.kind in KEYWORDS and not is_clause:
        return _keyword(before, _span(source, before))

    found = _shown(token)
    wanted = _wanted(spot)
    message = f"expected {wanted}, found {found}" if wanted else f"unexpected {found}"
    for word, keywords in () if _elsewhere(spot) else _misspelt(spot):
        if (meant := _keyword_like(word, keywords)) is not None:
            message = message if word is token else f"unexpected `{word.text}`"
            return Diagnostic("E0101", message, _span(source, word), f"did you mean `{meant}`?")
    return Diagnostic("E0101", message, span, _advice(spot) or (f"put {wanted} here" if wanted else f"delete {found}"))


def _compared(tokens: list[Token], position: int) -> str:
    """The sign by which something is compared with the one token before a place, perhaps in brackets; else nothing."""
    outside = (token for token in reversed(tokens[: max(position - 1, 0)]) if token.kind != "LPAR")
    sign = next(outside, None)
    return sign.text if sign is not None and sign.kind == "COMPARISON" else ""


def _begins_its_line(tokens: list[Token], closer: int) -> bool:
    """Whether the brackets that end there are what their line begins with."""
    depth = 0
    for token in reversed(tokens[: closer + 1]):
        depth += (token.kind in CLOSERS) - (token.kind in OPENERS)
        if depth <= 0:
            return token.kind in ("LPAR", "LSQB") and token.first
    return False


def _counts(tokens: list[Token], position: int) -> bool:
    """Whether a line begins as a loop of other languages that counts its rounds: `for i in range(3)`."""
    words = tokens[max(position - 1, 0) : position + 4]
    return words[0].first and [word.text for word in (words[0], *words[2:])] == ["for", "in", "range", "("]


#: After these a name is given, so that a keyword there is a name that is taken.
_NAMING = frozenset({"COMPONENT", "PIPELINE", "TYPE", "CLASS", "AS"})
#: How a clause goes on behind its keyword, and no value does.
_RATES = ["NUMBER", "UNIT"], ["NAME", "NUMBER"]
_CLAUSES = {"SLO": (["NAME", "NAME"],), "LOAD": _RATES, "PEAK": _RATES}
#: Before these stands a name that is used or bound, and not the beginning of a construct.
_AFTER_A_NAME = frozenset({"EQUAL", "COMMA", "RPAR", "RSQB", "DOT", "_NL", "$END", "LBRACE", "RBRACE"})
#: These begin a construct, so that brackets behind them are no call.
_BEGINNING = frozenset({"IF", "ELIF", "ELSE", "REPEAT", "RETURN", "UNTIL", "WHERE", "WITHIN", "IN", "AND", "OR"})


def _is_meant_as_name(spot: _Spot) -> bool:
    if spot.behind in _NAMING:
        return (spot.kind, spot.after) != ("FROM", "TEXT")
    if spot.behind in ("_NL", "LBRACE"):
        return spot.after == "EQUAL"
    if spot.behind == "IMPORT":
        return spot.after in ("COMMA", "AS", "FROM")
    return spot.after in _AFTER_A_NAME or (spot.after == "LPAR" and spot.kind not in _BEGINNING)


def _keyword(token: Token, span: Span) -> Diagnostic:
    return Diagnostic(
        "E0104", f"`{token.text}` is a keyword and cannot be a name", span, f"write `{token.text}_` or another name"
    )


#: The keywords that a statement or a part of one begins with, and those that a value begins with behind these.
_STATEMENTS = frozenset({"RETURN", "IF", "ELIF", "ELSE", "REPEAT", "UNTIL", "SLO", "LOAD"})
_VALUES = {"RETURN": frozenset({"STREAM", "EACH", "NOT"}), "EQUAL": frozenset({"EACH", "NOT"})}


def _misspelt(spot: _Spot) -> Iterator[tuple[Token, frozenset[str]]]:
    """The words that may be keywords with a slip of the finger, each with the kinds of those that may stand there."""
    if spot.kind == "NAME":
        yield spot.token, spot.accepted & KEYWORDS
    if spot.before is not None and spot.before.kind == "NAME":
        if spot.accepted == {"EQUAL"} and spot.earlier in ("_NL", "LBRACE"):
            yield spot.before, _STATEMENTS
        elif spot.kind == "NAME":
            yield spot.before, _VALUES.get(spot.earlier, frozenset())


def _keyword_like(word: Token, kinds: frozenset[str]) -> str | None:
    """The keyword that was probably meant; of two letters, one that has the same."""
    found = nearest(word.text, (kind.lower() for kind in kinds))
    is_short = len(word.text) < _SHORTEST_WORD
    return None if found is None or (is_short and sorted(found) != sorted(word.text.lower())) else found


def _span(source: Source, token: Token) -> Span:
    return Span(source, token.start, token.end)


def _shown(token: Token) -> str:
    if token.kind in ("$END", "_NL"):
        return "the end of the line"
    if token.kind == "TEXT":
        return "a text"
    if token.kind == "LONG_TEXT":
        return 'a text in `"""`'
    text = token.text
    return f"`{text if len(text) <= 40 else text[:37] + '...'}`"


def _wanted(spot: _Spot) -> str:
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


_TYPES = 'alternatives are labels: `"yes" | "no"`'
_IMPORT = 'write `import name from "file.rag"`'
_DIFFERS = "differing values are compared with `!=`"
_ONE_OF = 'compare with each: `name == "a" or name == "b"`'
_NONE_OF = 'compare with each: `name != "a" and name != "b"`'

#: What other languages call things, with what they are called here; a word with what stands behind it goes before.
_ELSEWHERE = {
    **dict.fromkeys(("for", "foreach", "map", "lambda"), "write `each name in list: value`"),
    **dict.fromkeys(("while", "loop", "do"), "write `repeat up to 3 { … } until test`"),
    **dict.fromkeys(("try", "catch", "except", "otherwise"), "write `value else other`"),
    **dict.fromkeys(("match", "switch"), 'write `if name == "label" { … } elif …`'),
    **dict.fromkeys(("case", "elseif", "elsif"), "write `elif test { … }`"),
    "when": "write `if test { … }`",
    **dict.fromkeys(("let", "var", "const", "set"), "write `name = value`"),
    **dict.fromkeys(("def", "func", "function", "fn"), "write `component name(ports) -> type = kind(settings)`"),
    **dict.fromkeys(("is", "equals"), "compare with `==`"),
    "is not": _DIFFERS,
    "is in": _ONE_OF,
    **dict.fromkeys(("async", "await", "parallel"), "calls that do not need each other run at once by themselves"),
    **dict.fromkeys(("yield", "emit"), "write `return stream value`"),
    **dict.fromkeys(("break", "continue"), "a loop ends by its `until`, and a pipeline by `return`"),
    **dict.fromkeys(("environ", "getenv"), 'a value from outside comes by `env("NAME")`'),
    "pass": "a block may be empty",
    "timeout": "write `value within 2 s`",
    "then": "a block stands in `{ }`",
    **dict.fromkeys(("rate unit", "traffic unit"), "write `load 2 rps`"),
    "unless": "write `if not test { … }`",
    **dict.fromkeys(("raise", "throw", "assert"), "a component fails, and `value else other` stands in for it"),
    **dict.fromkeys(("enum", "Enum", "Literal", "Union"), _TYPES),
    "Optional": 'a port that may be left out has a default: `name: text = ""`',
    **dict.fromkeys(("use", "include", "require"), _IMPORT),
    **dict.fromkeys(("export", "public", "pub"), "delete it: whatever a file declares can be imported"),
}
_ONE_NAME = "a statement binds one name, `name = value`; the parts of a record are its fields: `name.part`"
_LOOP = "write `repeat up to 3 { … }`: a loop always has a most number of rounds"
_RECORD = "a record stands in `( )`: `(name: value)`"
_PEAK = "a peak stands behind its rate: `load 2 rps peak 3 rps`"

#: The next step for a slip, by what it looks like; the first that holds.
_ADVICE: tuple[tuple[Callable[[_Spot], bool], str], ...] = (
    (lambda s: s.behind in ("REPEAT", "UP", "TO") and s.accepted <= {"UP", "TO", "NUMBER"}, _LOOP),
    (lambda s: s.behind == "WITHIN", "say how long: `within 2 s`"),
    (
        lambda s: "COLON" in s.accepted and "RPAR" not in s.accepted and s.begins_a_block,
        "after the list stands `:` and the value of an item; for more than one value, call a pipeline",
    ),
    (lambda s: s.kind == "IF" and s.behind == "ELSE", "write `elif`"),
    (
        lambda s: s.kind in ("IF", "WHERE") and "EACH" in s.said,
        "items are chosen by `where test` behind the list: `each name in list where test: value`",
    ),
    (lambda s: s.kind == "IF" and s.behind != "", "`if` is a statement: bind the name in each of its blocks"),
    (lambda s: s.kind == "ELSE" and s.behind == "OR", "write `else` alone: it stands in for what fails"),
    (lambda s: s.kind == "ELSE", "`else` stands behind the block of an `if`, or behind a value that may fail"),
    (lambda s: s.kind == "ELIF", "`elif` stands behind the block of an `if`"),
    (lambda s: s.kind == "UNTIL", "`until` stands behind the block of a `repeat`"),
    (lambda s: s.kind == "LONG_TEXT" and "TEXT" in s.accepted, 'write it on its line: `"…"`'),
    (lambda s: s.kind == "TILDE" and s.accepted <= {"_NL", "$END"}, "a size stands where the type is used"),
    (lambda s: s.kind == "FROM" and not s.behind, _IMPORT),
    (lambda s: s.kind == "DOT" and s.declares == "IMPORT", _IMPORT),
    (lambda s: s.kind == "AND" and "COMMA" in s.accepted and s.said & _LISTING != set(), "write `,`"),
    (
        lambda s: s.kind in ("LBRACE", "LPAR", "LSQB") and s.declares == "IMPORT",
        'names and file stand without brackets: `import name, other from "file.rag"`',
    ),
    (
        lambda s: s.behind == "AS" and s.kind in ("TEXT", "FROM", "COMMA", "_NL", "$END"),
        'say the new name behind `as`: `import name as other from "file.rag"`',
    ),
    (
        lambda s: s.kind == "TEXT" and s.declares == "IMPORT" and s.accepted == {"NAME"},
        'say what of it is used: `import name from "file.rag"`',
    ),
    (
        lambda s: s.kind in ("COMMA", "RPAR", "EQUAL") and s.accepted == {"COLON"},
        "say its type, or in a record its value: `name: …`",
    ),
    (
        lambda s: s.kind == "STREAM" and s.said >= {"RETURN", "STREAM"},
        "delete it: the `stream` behind `return` is of all that may be returned",
    ),
    (lambda s: s.kind == "STREAM", "write `return stream value`"),
    (
        lambda s: s.kind == "TILDE" and "UNTIL" in s.accepted,
        "an expected share stands behind the test: `until test ~ 0.3`",
    ),
    (
        lambda s: s.kind == "TILDE" and ("ELIF" in s.accepted or ("RPAR" in s.accepted and s.said & _TESTING != set())),
        "an expected share stands behind the whole test: `if a and b ~ 0.3 { … }`",
    ),
    (lambda s: (s.kind, s.behind) == ("TILDE", "ELSE"), "delete the share: `else` takes what the arms before leave"),
    (
        lambda s: s.kind == "EACH" and s.behind in ("NAME", "TEXT", "RPAR", "RSQB"),
        "the value of an item stands last: `each name in list: value`",
    ),
    (
        lambda s: s.kind == "EACH" and s.behind in ("PLUS", "COMPARISON", "AT_MOST", "AND", "OR", "NOT"),
        "put it in `( )`, or bind it to a name before",
    ),
    (lambda s: s.kind == "EACH", "a value is used by binding it: `name = each …`, or by `return`"),
    (
        lambda s: not s.behind and (s.kind, s.after) == ("NAME", "EQUAL"),
        "declare it: `component name = kind(settings)`",
    ),
    (lambda s: not s.behind, "a file holds `import`, `type`, `class`, `component` and `pipeline` declarations"),
    (
        lambda s: s.unpacks or (s.kind in ("LPAR", "LSQB") and s.token.first and s.accepted >= {"_NL", "RBRACE"}),
        _ONE_NAME,
    ),
    (
        lambda s: s.kind == "EQUAL" and "COMPARISON" in s.accepted and "RPAR" in s.accepted,
        "a named argument is given with `:`",
    ),
    (
        lambda s: s.kind in ("COMPARISON", "AT_MOST") and "AND" in s.accepted,
        "put `and` between two comparisons: `5 < name and name < 10`",
    ),
    (lambda s: s.kind == s.after == "DOT" and "LSQB" in s.accepted, SPREAD),
    (
        lambda s: (s.kind, s.after) == ("DOT", "NUMBER") and "NUMBER" in s.accepted,
        "a number begins with a digit: `0.3`",
    ),
    (lambda s: s.kind == "OR" and "ELIF" in s.accepted, "write `elif test { … }`"),
    (lambda s: s.kind == "AND" and "ELIF" in s.accepted, "put the whole test before the block: `if a and b { … }`"),
    (lambda s: s.kind == "OR" and "ELSE" in s.accepted, "write `value within 1 s else other`"),
    (
        lambda s: s.kind in ("COMPARISON", "AT_MOST") and s.behind in ("AND", "OR"),
        "compare the name with each: `name < 1 or name > 5`",
    ),
    (
        lambda s: s.kind in ("EQUAL", "COLON", "WITHIN") and "SLO" in s.said and s.behind in ("NAME", "COMPARISON"),
        "write `<=`: an objective is an upper bound",
    ),
    (lambda s: s.kind == "EQUAL" and s.behind == "COMPARISON", "compare with `==` or `!=`"),
    (lambda s: s.kind == "EQUAL" and s.after == "COMPARISON" and "AND" in s.accepted, "write `<=` or `>=`"),
    (lambda s: s.kind == "EQUAL" and "COMPARISON" in s.accepted, "compare with `==`"),
    (lambda s: s.kind == s.behind == "COMPARISON", _DIFFERS),
    (
        lambda s: ((s.kind, s.after) == ("NOT", "IN") and s.follows_value) or (s.kind, s.compared) == ("COMMA", "!="),
        _NONE_OF,
    ),
    (lambda s: s.kind == "NOT" and s.follows_value, _DIFFERS),
    (lambda s: (s.kind == "IN" and s.follows_value) or (s.kind, s.compared) == ("COMMA", "=="), _ONE_OF),
    (lambda s: s.kind == s.behind == "NOT", "twice `not` says nothing: delete both"),
    (lambda s: s.kind == "EQUAL" and "COLON" in s.accepted, "after the name stands `:`"),
    (lambda s: s.kind == "PLUS" and "EQUAL" in s.accepted, "write `name = name + …`"),
    (
        lambda s: s.kind == "COMMA" and s.accepted == {"EQUAL"} and s.declares == "PIPELINE",
        _ONE_NAME,
    ),
    (lambda s: s.kind in ("COLON", "COMPARISON") and "EQUAL" in s.accepted, "a name is bound with `=`"),
    (lambda s: "_ARROW" in s.accepted, "after the ports stands what is given: `-> text`"),
    (
        lambda s: (s.kind == "LPAR" or s.ends) and s.accepted == {"EQUAL"} and s.declares == "PIPELINE",
        "a value is used by binding it: `name = …`, or by `return`",
    ),
    (lambda s: s.kind in ("LPAR", "LSQB") and s.accepted >= {"RETURN", "REPEAT"}, _ONE_NAME),
    (lambda s: s.ends and s.behind in BEFORE_A_VALUE, "put the value on this line"),
    (lambda s: s.ends and "LBRACE" in s.accepted, "put `{` at the end of this line"),
    (
        lambda s: s.kind in ("DOT", "LSQB") and s.accepted == {"EQUAL"} and s.declares == "PIPELINE",
        "a name is bound as a whole, and a list grows by `name = name + [value]`",
    ),
    (lambda s: s.kind == "COMMA" and s.accepted == {"IN"}, "`each` names one item: `each name in list`"),
    (lambda s: (s.kind, s.earlier) == ("LPAR", "DOT"), "there are no methods: `name(value)` calls a component"),
    (
        lambda s: s.kind in ("DOT", "LPAR") and s.accepted >= {"AT_MOST", "NAME"},
        "an objective names a quantile and a metric: `slo p999 latency <= 8 s`",
    ),
    (lambda s: s.behind == "SLO", OBJECTIVE),
    (lambda s: s.kind == "NUMBER" and s.token.text.startswith("-") and s.follows_value, "there is no arithmetic"),
    (lambda s: s.kind == "NUMBER" and s.accepted >= {"LBRACE", "TILDE"}, "an expected share stands behind `~`"),
    (
        lambda s: s.kind in ("AND", "OR") and s.behind == "NUMBER" and s.earlier == "TILDE",
        "an expected share stands behind the whole test: `a and b ~ 0.3`",
    ),
    (lambda s: s.kind == "NUMBER" and "AT_MOST" in s.accepted and not s.follows_value, "put `<=` before the bound"),
    (lambda s: (s.kind, s.after) == ("LSQB", "TEXT") and s.follows_value, "a record's parts are fields: `name.part`"),
    (
        lambda s: (s.kind == "LSQB" and s.follows_value) or (s.kind, s.behind) == ("NUMBER", "DOT"),
        "there are no indices; `take(list, 1)` gives the first item",
    ),
    (lambda s: s.kind == "LSQB" and s.behind == "NAME", "a list type is its item's in brackets: `[text]`"),
    (lambda s: s.kind == s.after == "VBAR" and "AND" in s.accepted, "write `or`"),
    (
        lambda s: s.kind == "VBAR" and "AND" in s.accepted and ("LBRACE" in s.accepted or s.behind == "TEXT"),
        'put `or` between whole tests: `name == "a" or name == "b"`',
    ),
    (
        lambda s: s.kind == "VBAR" and s.follows_value,
        "give what one call makes to the next: `second(first(x))`, or bind it to a name",
    ),
    (
        lambda s: s.kind == "COMMA" and s.accepted <= {"_NL", "RBRACE", "RPAR"} and s.declares == "PIPELINE",
        "several values are a list, `[value, …]`, or a record, `(name: value, …)`",
    ),
    (lambda s: s.kind == "COMMA" and s.behind == "TEXT" and "AND" not in s.accepted, _TYPES),
    (lambda s: s.kind in ("VBAR", "OR") and s.behind in ("NAME", "TEXT", "RSQB", "RPAR"), _TYPES),
    (lambda s: s.behind == "VBAR", _TYPES),
    (lambda s: s.kind == "LBRACE" and ("CLASS" in s.accepted or s.declares == "TYPE"), "a record stands in `( )`"),
    (lambda s: s.kind == "COLON" and s.behind == "NAME" and s.earlier in BEFORE_A_VALUE, _RECORD),
    (lambda s: s.kind == "LBRACE" and "LSQB" in s.accepted and s.behind not in ("IF", "ELIF", "ELSE"), _RECORD),
    (lambda s: s.kind == "LBRACE" and s.accepted == {"EQUAL"}, "what it does stands behind `=`: `= kind(settings)`"),
    (lambda s: s.kind == "LBRACE" and s.declares == "COMPONENT", "settings stand in `( )`"),
    (
        lambda s: s.kind == "_ARROW" and "LPAR" in s.accepted and "COMPARISON" not in s.accepted,
        "ports stand in `( )`, even where there are none",
    ),
    (lambda s: s.accepted == {"LPAR"}, "settings stand in `( )`, even where there are none"),
    (lambda s: s.kind == "TEXT" and "FROM" in s.accepted, "put `from` before the file"),
    (lambda s: s.ends and "FROM" in s.accepted, 'say of which file: `import name from "file.rag"`'),
    (lambda s: s.behind == "FROM", 'put the file in quotes: `from "file.rag"`'),
    (
        lambda s: s.kind in ("TEXT", "LONG_TEXT") and s.behind == "NAME" and s.is_joined,
        "the prompt of a component puts values into a text: `{name}` stands for one",
    ),
    (lambda s: "PEAK" in s.accepted and (s.kind in ("UP", "TO") or s.token.text in ("max", "maximum")), _PEAK),
    (
        lambda s: s.kind == "NAME" and s.follows_rate and s.after != "NUMBER" and s.token.text != "per",
        "a class stands before its rate: `load NAME 2 rps`",
    ),
    (lambda s: s.kind == "NAME" and s.after != "NUMBER" and "PEAK" in s.accepted, RATE),
    (lambda s: s.kind in _BEGIN_A_VALUE and "COLON" in s.accepted and s.gives_a_name, "put `:` between the two"),
    (lambda s: s.kind in _BEGIN_A_VALUE and "COMMA" in s.accepted, "put `,` between the two"),
    (lambda s: s.kind == "PEAK", _PEAK),
    (lambda s: "LBRACE" in s.accepted, "a block stands in `{ }`"),
    (lambda s: "_NL" in s.accepted, "end the line before this, or delete it"),
)


def _elsewhere(spot: _Spot) -> str:
    """What to write for a word of another language, if there is one."""
    words = [word.text for word in (spot.token, spot.before) if word is not None and word.kind == "NAME"]
    is_argument = spot.kind in ("EQUAL", "NUMBER") and "COLON" in spot.accepted
    if spot.declares == "IMPORT" or is_argument or spot.follows_rate or not words:
        return ""
    if spot.counts:
        return _LOOP
    phrase = f"{words[0]} {spot.after.lower()}"
    return next((_ELSEWHERE[word] for word in (phrase, *words) if word in _ELSEWHERE), "")


def _advice(spot: _Spot) -> str:
    if spot.kind in ("NAME", "COLON") and spot.after == "LBRACE" and "LBRACE" in spot.accepted:
        return f"delete {_shown(spot.token)}"
    if spot.goes_on and spot.before is not None and spot.behind not in BEFORE_A_VALUE:
        word = f"{_shown(spot.before)} at the beginning of the next line"
        return f"put {word if spot.behind in CONTINUING else 'the next line behind this'}"
    if other := _elsewhere(spot):
        return other
    found = next((help for holds, help in _ADVICE if holds(spot)), "")
    needless = spot.kind in ("COLON", "COMMA", "EQUAL") and spot.after in spot.accepted and "LSQB" not in spot.accepted
    return found or (f"delete {_shown(spot.token)}" if needless else "")
