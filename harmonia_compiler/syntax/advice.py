"""The next step for a token that cannot stand where it stands, by what it looks like."""

from collections.abc import Callable

from harmonia_compiler.syntax.brackets import CONTINUING
from harmonia_compiler.syntax.lexer import OBJECTIVE, RATE, SPREAD
from harmonia_compiler.syntax.repair import BEFORE_A_VALUE
from harmonia_compiler.syntax.spot import Spot, shown

_TESTING = frozenset({"IF", "ELIF", "UNTIL", "WHERE"})
#: Several things stand behind these with `,` between them.
_LISTING = frozenset({"IMPORT", "SLO", "LOAD"})
_BEGIN_A_VALUE = frozenset({"NAME", "TEXT", "LONG_TEXT", "NUMBER", "TRUE", "FALSE", "NOT", "EACH"})
#: What a call may be given first, and the name of what is called with what stands before it.
_GIVEN = frozenset({"NAME", "TEXT", "LONG_TEXT", "NUMBER", "TRUE", "FALSE"})
_CALLED = frozenset({("NAME", "EQUAL"), ("NAME", "RETURN"), ("NAME", "STREAM")})
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
_ADVICE: tuple[tuple[Callable[[Spot], bool], str], ...] = (
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
    (
        lambda s: (s.kind, s.behind) == ("_ARROW", "RPAR") and s.declares == "COMPONENT",
        "ports and what is given stand before `=`: `component name(ports) -> type = kind(settings)`",
    ),
    (lambda s: s.kind == "TEXT" and "FROM" in s.accepted, "put `from` before the file"),
    (lambda s: s.ends and "FROM" in s.accepted, 'say of which file: `import name from "file.rag"`'),
    (lambda s: s.behind == "FROM", 'put the file in quotes: `from "file.rag"`'),
    (
        lambda s: s.kind in ("TEXT", "LONG_TEXT") and s.behind == "NAME" and s.is_joined,
        "the prompt of a component puts values into a text: `{name}` stands for one",
    ),
    (
        lambda s: (
            s.kind in _GIVEN
            and (s.behind, s.earlier) in _CALLED
            and s.after != "EQUAL"
            and {"LPAR", "_NL"} <= s.accepted
        ),
        "what a call is given stands in `( )`: `name(value)`",
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


def meant_otherwise(spot: Spot) -> str:
    """What to write for what is no slip of the finger: a word of a text, or one of another language."""
    if spot.behind == "TEXT" and spot.is_joined and (spot.kind == "LBRACE" or spot.token.text[:1].isalnum()):
        return 'within a text a quote is written `\\"`, and a text in `"""` may hold any'
    return _elsewhere(spot)


def _elsewhere(spot: Spot) -> str:
    words = [word.text for word in (spot.token, spot.before) if word is not None and word.kind == "NAME"]
    is_argument = spot.kind in ("EQUAL", "NUMBER") and "COLON" in spot.accepted
    if spot.declares == "IMPORT" or is_argument or spot.follows_rate or not words:
        return ""
    if spot.counts:
        return _LOOP
    phrase = f"{words[0]} {spot.after.lower()}"
    return next((_ELSEWHERE[word] for word in (phrase, *words) if word in _ELSEWHERE), "")


def advice(spot: Spot) -> str:
    """What to write instead; nothing where it does not look like anything known."""
    if spot.kind in ("NAME", "COLON") and spot.after == "LBRACE" and "LBRACE" in spot.accepted:
        return f"delete {shown(spot.token)}"
    if spot.goes_on and spot.before is not None and spot.behind not in BEFORE_A_VALUE:
        word = f"{shown(spot.before)} at the beginning of the next line"
        return f"put {word if spot.behind in CONTINUING else 'the next line behind this'}"
    if other := meant_otherwise(spot):
        return other
    found = next((help for holds, help in _ADVICE if holds(spot)), "")
    needless = spot.kind in ("COLON", "COMMA", "EQUAL") and spot.after in spot.accepted and "LSQB" not in spot.accepted
    return found or (f"delete {shown(spot.token)}" if needless else "")
