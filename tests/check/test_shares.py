"""What is said of shares that cannot hold together: of one condition, of one value in several places, behind loops."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.program import Repeat
from harmonia_compiler.diagnostics.source import Span

APPLICATION = """
component grade(q: text) -> "a" | "b" | "c" = python("m:grade")
component flag(q: text) -> bool = python("m:flag")
pipeline p(q: text) -> text {
    yes = flag(q)
    BODY
    return q
}
"""


VALUES = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 1000)
component good(q: text) -> bool = small("{q}")
component verdict(q: text) -> "a" | "b" | "c" = small("{q}")
component level(q: text) -> number = small("{q}")
component grades(q: text) -> [(v: "a" | "b" | "c", n: number, t: text ~ 5 tokens)] ~ 8 = small("{q}")
component w(q: text) -> text = small("{q}")
component merge(t: [text ~ 5 tokens] ~ 4) -> text = small("{t}")
pipeline p(q: text ~ 10 tokens) -> text {
    BODY
}
"""


def branches(made: str, *tests: str) -> str:
    """Tests of one value in a statement each."""
    statements = [f"if {test} {{ y = w(y) }}" for test in tests]
    return f"x = {made}(q)\n    y = q\n    " + "\n    ".join([*statements, "return y"])


def _loop(made: str, until: str, *after: str) -> str:
    """A loop of up to three rounds, and tests behind it."""
    statements = "\n    ".join(f"if {test} {{ t = w(t) }}" for test in after)
    return f"""t = q
    repeat up to 3 {{
        t = w(t)
        x = {made}(t)
    }} until {until}
    {statements}
    return t"""


def _kept(first: str, *tests: str) -> str:
    """Lists of what a first test has kept."""
    lists = " + ".join(f"(each g in x where {test}: w(g.t))" for test in tests)
    return f"x = each g in grades(q) where {first}: g\n    return merge({lists})"


#: Asks about two values, which may be one.
TWICE = """
pipeline twice(one: "a" | "b" | "c", other: "a" | "b" | "c", q: text ~ 10 tokens) -> text {
    y = q
    if one == "a" ~ 0.7 { y = w(y) }
    if other == "a" ~ 0.2 { y = w(y) }
    return y
}
"""

#: The body; of each share that does not fit its code, itself, what its test holds for, and what it does not fit with.
DISPUTED = {
    "labels that sum to more than 1": (
        branches("verdict", 'x == "a" ~ 0.7', 'x == "b" ~ 0.6'),
        [("W0504", "0.6", "0.3", ["0.7"])],
    ),
    "all labels, which sum to less than 1": (
        branches("verdict", 'x == "a" ~ 0.2', 'x == "b" ~ 0.3', 'x == "c" ~ 0.3'),
        [("W0504", "0.3", "0.5", ["0.2", "0.3"])],
    ),
    "a label and its negation": (
        branches("verdict", 'x == "a" ~ 0.2', 'x != "a" ~ 0.7'),
        [("W0501", "0.7", "", ["0.2"])],
    ),
    "a truth, and in the same chain its negation": (
        branches("good", "x ~ 0.6 { y = w(q) } elif not x ~ 0.3"),
        [("W0501", "0.3", "", ["0.6"])],
    ),
    "a bound, and in the same chain what is beyond it": (
        branches("level", "x > 1 ~ 0.6 { y = w(q) } elif x <= 1 ~ 0.3"),
        [("W0501", "0.3", "", ["0.6"])],
    ),
    "a smaller part below a greater bound": (
        branches("level", "x < 5 ~ 0.5", "x < 8 ~ 0.4"),
        [("W0504", "0.4", "0.5", ["0.5"])],
    ),
    "a chain and a statement": (
        branches("verdict", 'x == "a" ~ 0.4 { y = w(q) } elif x == "b" ~ 0.4', 'x == "c" ~ 0.5'),
        [("W0504", "0.5", "0.2", ["0.4", "0.4"])],
    ),
    "among those that a return of which nothing is said leaves": (
        """x = verdict(q)
    if x == "a" { return q }
    y = q
    if x == "b" ~ 0.6 { y = w(y) }
    if x == "c" ~ 0.6 { y = w(y) }
    return y""",
        [("W0504", "0.6", "0.4", ["0.6"])],
    ),
    "bounds of a chain and a statement": (
        branches("level", "x < 3 ~ 0.2 { y = w(q) } elif x < 5 ~ 0.3", "x < 4 ~ 0.6"),
        [("W0504", "0.6", "0.5", ["0.2", "0.3"])],
    ),
    "bounds of a chain downwards and a statement": (
        branches("level", "x > 5 ~ 0.2 { y = w(q) } elif x > 3 ~ 0.3", "x <= 4 ~ 0.9"),
        [("W0504", "0.9", "0.8", ["0.2", "0.3"])],
    ),
    "a label behind one of which its chain says nothing": (
        branches("verdict", 'x == "a" { y = w(q) } elif x == "b" ~ 0.6', 'x == "a" ~ 0.7'),
        [("W0504", "0.7", "0.4", ["0.6"])],
    ),
    "a truth, twice in an arm": (
        """x = good(q)
    y = q
    if verdict(q) == "a" ~ 0.5 {
        if x ~ 0.3 { y = w(y) }
        if not x ~ 0.3 { y = w(y) }
    }
    return y""",
        [("W0501", "0.3", "", ["0.3"])],
    ),
    "a truth, twice in a round": (
        """x = good(q)
    t = q
    repeat up to 3 {
        t = w(t)
        if x ~ 0.3 { t = w(t) }
        if x ~ 0.4 { t = w(t) }
    } until good(t) ~ 0.4
    return t""",
        [("W0501", "0.4", "", ["0.3"])],
    ),
    "a name that rounds bind to what is outside": (
        """y = verdict(q)
    t = q
    repeat up to 3 {
        t = w(t)
        x = y
    } until good(t)
    if x == "a" ~ 0.7 { t = w(t) }
    if y == "b" ~ 0.6 { t = w(t) }
    return t""",
        [("W0504", "0.6", "0.3", ["0.7"])],
    ),
    "items of one list": (
        _kept("g.n > 3", 'g.v == "a" ~ 0.6', 'g.v == "b" ~ 0.7'),
        [("W0504", "0.7", "0.4", ["0.6"])],
    ),
    "items of equal calls": (
        "return merge((each g in grades(q) where g.n > 3 ~ 0.9: g.t) + (each g in grades(q) where g.n > 3 ~ 0.5: g.t))",
        [("W0501", "0.5", "", ["0.9"])],
    ),
    "equal calls": (
        """y = q
    if good(q) ~ 0.2 { y = w(q) }
    z = y
    if good(q) ~ 0.7 { z = w(q) }
    return merge([y, z])""",
        [("W0501", "0.7", "", ["0.2"])],
    ),
    "labels of equal calls": (
        """y = q
    if verdict(q) == "a" ~ 0.8 { y = w(y) }
    if verdict(q) == "b" ~ 0.7 { y = w(y) }
    return y""",
        [("W0504", "0.7", "0.2", ["0.8"])],
    ),
    "two tests together, twice": (
        """x = good(q)
    n = level(q)
    y = q
    if x and n > 3 ~ 0.5 { y = w(y) }
    if x and n > 3 ~ 0.3 { y = w(y) }
    return y""",
        [("W0501", "0.3", "", ["0.5"])],
    ),
    "more than what is written leaves": (
        branches("verdict", 'x == "a" ~ 0.333', 'x == "b" ~ 0.333', 'x == "c" ~ 0.32'),
        [("W0504", "0.32", "0.334", ["0.333", "0.333"])],
    ),
    "the label of `until` behind its loop": (
        _loop("verdict", 'x == "a" ~ 0.4', 'x == "a" ~ 0.4'),
        [("W0504", "0.4", "0.784", ["0.4"])],
    ),
    "the truth of `until` behind its loop": (
        _loop("good", "x ~ 0.5", "not x ~ 0.5"),
        [("W0504", "0.5", "0.125", ["0.5"])],
    ),
    "a number and all others": (branches("level", "x == 3 ~ 0.2", "x != 3 ~ 0.7"), [("W0501", "0.7", "", ["0.2"])]),
    "numbers that sum to more than 1": (
        branches("level", "x == 3 ~ 0.7", "x == 4 ~ 0.6"),
        [("W0504", "0.6", "0.3", ["0.7"])],
    ),
    "a number more often than what is below a greater bound": (
        branches("level", "x < 5 ~ 0.5", "x == 3 ~ 0.6"),
        [("W0504", "0.6", "0.5", ["0.5"])],
    ),
    "less below a bound than one number": (
        branches("level", "x == 3 ~ 0.6", "x <= 3 ~ 0.5"),
        [("W0504", "0.5", "0.6", ["0.6"])],
    ),
    "a number, and more below and above it than it leaves": (
        branches("level", "x < 3 ~ 0.4", "x > 3 ~ 0.4", "x == 3 ~ 0.4"),
        [("W0504", "0.4", "0.2", ["0.4", "0.4"])],
    ),
    "more above a number than it and what is below it leave": (
        branches("level", "x == 3 ~ 0.4", "x < 3 ~ 0.4", "x > 3 ~ 0.4"),
        [("W0504", "0.4", "0.2", ["0.4", "0.4"])],
    ),
    "more below a number than it and what is above it leave": (
        branches("level", "x == 3 ~ 0.4", "x > 3 ~ 0.4", "x < 3 ~ 0.4"),
        [("W0504", "0.4", "0.2", ["0.4", "0.4"])],
    ),
    "numbers of a chain and a statement": (
        branches("level", "x == 3 ~ 0.4 { y = w(q) } elif x == 4 ~ 0.4", "x > 4 ~ 0.5"),
        [("W0504", "0.5", "0.2", ["0.4", "0.4"])],
    ),
    "a bound of a chain behind a number": (
        branches("level", "x == 3 ~ 0.2 { y = w(q) } elif x < 5 ~ 0.3", "x <= 5 ~ 0.4"),
        [("W0504", "0.4", "0.5", ["0.2", "0.3"])],
    ),
    "a bound of a chain behind another one and a number": (
        branches("level", "x > 5 ~ 0.2 { y = w(q) } elif x == 4 ~ 0.3 { y = w(q) } elif x > 3 ~ 0.1", "x > 3 ~ 0.5"),
        [("W0501", "0.5", "", ["0.2", "0.3", "0.1"])],
    ),
    "a number behind a bound of a chain, and behind all others": (
        branches("level", "x > 5 ~ 0.2 { y = w(q) } elif x == 4 ~ 0.3", "x != 4 ~ 0.5"),
        [("W0501", "0.5", "", ["0.2", "0.3"])],
    ),
    "no items and some": (
        branches("grades", "count(x) == 0 ~ 0.1", "count(x) > 0 ~ 0.8"),
        [("W0501", "0.8", "", ["0.1"])],
    ),
    "two items, and no more than two": (
        branches("grades", "count(x) < 2 ~ 0.3", "count(x) == 2 ~ 0.2", "count(x) >= 3 ~ 0.4"),
        [("W0504", "0.4", "0.5", ["0.3", "0.2"])],
    ),
    "the number of `until` behind its loop": (
        _loop("level", "x == 3 ~ 0.5", "x != 3 ~ 0.5"),
        [("W0504", "0.5", "0.125", ["0.5"])],
    ),
    "two numbers, the other way round": (
        branches("level", "x < level(w(q)) ~ 0.2", "level(w(q)) > x ~ 0.3"),
        [("W0501", "0.3", "", ["0.2"])],
    ),
    "two numbers, of which one is less, or both are equal": (
        branches("level", "x < level(w(q)) ~ 0.2", "level(w(q)) == x ~ 0.3", "level(w(q)) <= x ~ 0.4"),
        [("W0501", "0.4", "", ["0.2", "0.3"])],
    ),
    "two numbers that are equal more often than neither is less": (
        branches("level", "x < level(w(q)) ~ 0.6", "level(w(q)) < x ~ 0.3", "level(w(q)) == x ~ 0.2"),
        [("W0504", "0.2", "0.1", ["0.6", "0.3"])],
    ),
    "two labels, or others": (
        branches("verdict", "x == verdict(w(q)) ~ 0.2", "verdict(w(q)) != x ~ 0.7"),
        [("W0501", "0.7", "", ["0.2"])],
    ),
    "labels behind a loop": (
        _loop("verdict", "good(t)", 'x == "a" ~ 0.7', 'x == "b" ~ 0.6'),
        [("W0504", "0.6", "0.3", ["0.7"])],
    ),
}

AGREED = {
    "labels that sum to 1": branches("verdict", 'x == "a" ~ 0.2', 'x == "b" ~ 0.3', 'x == "c" ~ 0.5'),
    "bounds one below the other": branches("level", "x < 5 ~ 0.5", "x < 8 ~ 0.6", "x >= 8 ~ 0.4"),
    "less than a number, and no more": branches("level", "x < 5 ~ 0.5", "x <= 5 ~ 0.7", "x == 5 ~ 0.2"),
    "numbers that sum to 1": branches("level", "x == 1 ~ 0.5", "x == 2 ~ 0.5", "x < 1.5 ~ 0.5"),
    "a number twice in a chain": branches("level", "x == 1 ~ 0.2 { y = w(q) } elif x == 1 ~ 0.1", "x == 2 ~ 0.8"),
    "a number above those that its chain leaves": branches(
        "level", "x > 5 ~ 0.2 { y = w(q) } elif x == 6 ~ 0.3", "x == 6 ~ 0.1"
    ),
    "a bound behind a number of which its chain says nothing": branches(
        "level", "x == 1 { y = w(q) } elif x < 3 ~ 0.3", "x < 3 ~ 0.9"
    ),
    "items, of which there is no part": branches("grades", "count(x) < 2 ~ 0.3", "count(x) <= 1 ~ 0.3"),
    "two numbers, and two others": branches("level", "x < level(w(q)) ~ 0.2", "x > level(w(w(q))) ~ 0.9"),
    "labels behind returns": """x = verdict(q)
    if x == "a" ~ 0.7 { return q }
    if x == "b" ~ 0.6 { return w(q) }
    return w(w(q))""",
    "the test of `until` behind its loop": _loop("verdict", 'x == "a" ~ 0.4', 'x == "a" ~ 0.784'),
    "another label behind the loop": _loop("verdict", 'x == "a" ~ 0.4', 'x == "b" ~ 0.1'),
    "what is only guessed of `until`": _loop("good", "x", "x ~ 0.2"),
    "two tests together, of those that a return leaves": """x = good(q)
    n = level(q)
    if x ~ 0.5 { return q }
    y = q
    if n > 3 ~ 0.4 { y = w(y) }
    if (not x) and n > 3 ~ 0.4 { y = w(y) }
    return y""",
    "a name that is handed from round to round": """x = "c"
    t = q
    repeat up to 3 {
        t = w(t)
        if x == "a" ~ 0.1 { t = w(t) }
        x = verdict(t)
    } until x == "b" ~ 0.95
    return t""",
    "an arm that stands behind one of which nothing is said": """x = verdict(q)
    yes = good(q)
    y = q
    if x == "a" { y = w(q) } elif yes ~ 0.4 { y = w(y) }
    if x == "a" ~ 0.2 { y = w(y) }
    if yes ~ 0.5 { y = w(y) }
    return y""",
    "two tests together and each of them": """x = good(q)
    n = level(q)
    y = q
    if x ~ 0.5 { y = w(y) }
    if n > 3 ~ 0.4 { y = w(y) }
    if x and n > 3 ~ 0.3 { y = w(y) }
    return y""",
    "what a return in an arm leaves": """x = verdict(q)
    g = good(q)
    y = q
    if x == "a" ~ 0.5 {
        y = w(y)
        if g ~ 0.4 { return y }
    }
    if g ~ 0.25 { y = w(y) }
    return y""",
    "what a return leaves": """g = good(q)
    y = q
    if g ~ 0.6 { y = w(y) }
    if verdict(q) == "a" ~ 0.5 { return y }
    if g ~ 0.2 { y = w(y) }
    return y""",
    "what a return in a loop leaves": """g = good(q)
    t = q
    if g ~ 0.6 { t = w(t) }
    repeat up to 3 {
        t = w(t)
        if verdict(t) == "a" ~ 0.5 { return t }
    } until good(t)
    if g ~ 0.2 { t = w(t) }
    return t""",
    "two arms": """x = verdict(q)
    g = good(q)
    y = q
    if x == "a" ~ 0.5 {
        if g ~ 0.6 { y = w(y) }
    } elif g ~ 0.05 { y = w(w(y)) }
    if x == "b" {
        if g ~ 0.1 { y = w(y) }
    } else {
        if g ~ 0.9 { y = w(y) }
    }
    return y""",
    "what is asked before and in an arm": """x = verdict(q)
    g = good(q)
    y = q
    if g ~ 0.3 { y = w(y) }
    if x == "a" ~ 0.5 {
        if g ~ 0.4 { y = w(y) }
    }
    if g ~ 0.3 { y = w(y) }
    return y""",
    "an arm whose test stands first, and one that stands in it later": """x = verdict(q)
    g = good(q)
    y = q
    if g ~ 0.3 { y = w(y) }
    if x == "a" ~ 0.5 {
        z = y
        if g ~ 0.2 { z = w(z) }
        return w(z)
    }
    return q""",
    "rounds and what is before them": """g = good(q)
    t = q
    if g ~ 0.3 { t = w(t) }
    repeat up to 3 {
        t = w(t)
        if g ~ 0.4 { t = w(t) }
    } until good(t) ~ 0.4
    return t""",
    "lists that are asked for items of which one is asked": """x = each g in grades(q) where g.n < 9 ~ 0.5: g
    return merge(each g in x where g.n > 3 ~ 0.3: merge(each h in x where h.n > 3 ~ 0.5: w(h.t)))""",
    "what stands in for a value": """x = grades(q)
    y = merge(each g in x where g.n > 3 ~ 0.3: g.t)
    return w(y) within 1 s else merge(each g in x where g.n > 3 ~ 0.5: g.t)""",
    "what is asked where another test holds": """x = grades(q)
    y = q
    if good(merge(each g in x where g.n > 3 ~ 0.3: g.t)) ~ 0.3 { y = w(y) }
    if good(q) and good(merge(each g in x where g.n > 3 ~ 0.5: g.t)) { y = w(y) }
    return y""",
    "labels of two digits": branches("verdict", 'x == "a" ~ 0.33', 'x == "b" ~ 0.33', 'x == "c" ~ 0.33'),
    "bounds of two digits": branches("level", "x < 5 ~ 0.34", "x < 8 ~ 0.33"),
    "a share of two digits behind a loop": _loop("good", "x ~ 0.3", "x ~ 0.66"),
    "a label beside that of `until`, of two digits": _loop("verdict", 'x == "a" ~ 0.3', 'x == "b" ~ 0.35'),
    "rounds that are all alike": """x = verdict(q)
    t = q
    repeat up to 3 {
        t = w(t)
    } until x == "a" ~ 0.4
    y = x
    if x == "a" ~ 0.4 { t = w(t) }
    return t""",
    "bounds of a chain whose first says nothing": branches(
        "level", "x < 3 { y = w(q) } elif x < 5 ~ 0.3", "x < 4 ~ 0.6"
    ),
    "a label behind a test of another value": """x = verdict(q)
    y = q
    if good(q) ~ 0.5 { y = w(q) } elif x == "a" ~ 0.4 { y = w(y) }
    if x == "b" ~ 0.7 { y = w(y) }
    return y""",
    "not a label behind another": branches(
        "verdict", 'x == "a" ~ 0.2 { y = w(q) } elif x != "b" ~ 0.3', 'x == "b" ~ 0.5'
    ),
    "two calls": """x = verdict(q)
    y = verdict(w(q))
    if x == "a" ~ 0.7 { return q }
    if y == "b" ~ 0.7 { return q }
    return w(q)""",
    "a name that is bound on two paths": """x = verdict(q)
    if good(q) ~ 0.5 { x = verdict(w(q)) }
    y = q
    if x == "a" ~ 0.7 { y = w(y) }
    return y""",
}


def _found(body: str, folder: Path) -> list[tuple[str, str, str, list[str]]]:
    path = folder / "p.rag"
    path.write_text(VALUES.replace("BODY", body), encoding="utf-8")
    checked = check_files([path])
    assert checked.application is not None, checked.found
    found = []
    for one in checked.found:
        if one.code in ("W0501", "W0504"):
            assert one.span is not None
            assert one.help
            holds = one.message.partition("holds for ")[2].partition(" ")[0]
            shares = [_text(note.span) for note in one.notes]
            found.append((one.code, _text(one.span), holds, shares))
    return found


def _text(span: Span) -> str:
    return span.source.text[span.start : span.end]


@pytest.mark.parametrize("case", DISPUTED)
def test_shares_that_cannot_hold_together_are_told(case: str, tmp_path: Path) -> None:
    body, expected = DISPUTED[case]
    assert _found(body, tmp_path) == expected


@pytest.mark.parametrize(
    ("calls", "codes"),
    [
        (("x, x",), ["W0501"]),
        (("x, x", "x, z"), []),
        (("x, z", "x, x"), []),
    ],
)
def test_shares_of_a_pipeline_that_is_called_for_several_values_are_left_alone(
    calls: tuple[str, ...], codes: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "p.rag"
    given = ", ".join(f"twice({each}, q)" for each in calls)
    body = f"x = verdict(q)\n    z = verdict(w(q))\n    return merge([w(w(q)), {given}])"
    path.write_text(TWICE + VALUES.replace("BODY", body), encoding="utf-8")
    found = check_files([path]).found
    assert [one.code for one in found if one.code in ("W0501", "W0504", "E0204")] == codes


@pytest.mark.parametrize("case", AGREED)
def test_shares_that_may_hold_together_are_left_alone(case: str, tmp_path: Path) -> None:
    assert _found(AGREED[case], tmp_path) == []


@pytest.mark.parametrize(
    ("body", "share"),
    [
        ("if flag(x) ~ 0.3 { return x }", 0.3),
        ("if flag(x) ~ 0.3 { return x }\n if flag(q) ~ 0.5 { return q }", 0.65),
        ("if flag(x) ~ 0.3 {\n if flag(q) ~ 0.5 { return q }\n return x\n }", 0.3),
        ("if flag(x) ~ 0.3 {\n if flag(q) ~ 0.5 { return q }\n x = grade(x)\n }", 0.15),
    ],
)
def test_a_round_is_the_last_as_often_as_any_of_its_branches_returns(body: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / "p.rag"
    text = APPLICATION.replace("BODY", f"x = grade(q)\n repeat up to 3 {{\n x = grade(x)\n {body}\n }}")
    path.write_text(text.replace("yes = flag(q)\n", ""), encoding="utf-8")
    application = check_files([path]).application
    assert application is not None
    (flow,) = application.flows
    assert [node.share for node in flow.nodes if isinstance(node.operation, Repeat)] == [pytest.approx(share)]
