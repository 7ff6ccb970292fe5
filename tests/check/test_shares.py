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


@pytest.mark.parametrize(
    ("body", "note"),
    [
        ('if yes ~ 0.2 { return "flagged" }', "here it is 0.2"),
        (
            'if grade(q) == "a" ~ 0.2 { return "x" } elif yes ~ 0.2 { return "flagged" }',
            "here it is 0.2, and so 0.25 of the requests that are asked",
        ),
    ],
)
def test_the_first_share_is_quoted_as_written(body: str, note: str, tmp_path: Path) -> None:
    path = tmp_path / "p.rag"
    body = f"{body}\n    if yes ~ 0.3 {{ return q }}"
    path.write_text(APPLICATION.replace("BODY", body), encoding="utf-8")
    (found,) = check_files([path]).found
    assert (found.code, [each.text for each in found.notes]) == ("W0501", [note])


VALUES = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 8)
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


def _branches(made: str, *tests: str) -> str:
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


#: The body; of each share that does not fit its code, itself, what its test holds for, and what it does not fit with.
DISPUTED = {
    "labels that sum to more than 1": (
        _branches("verdict", 'x == "a" ~ 0.7', 'x == "b" ~ 0.6'),
        [("W0504", "0.6", "0.3", ["0.7"])],
    ),
    "all labels, which sum to less than 1": (
        _branches("verdict", 'x == "a" ~ 0.2', 'x == "b" ~ 0.3', 'x == "c" ~ 0.3'),
        [("W0504", "0.3", "0.5", ["0.2", "0.3"])],
    ),
    "a label and its negation": (
        _branches("verdict", 'x == "a" ~ 0.2', 'x != "a" ~ 0.7'),
        [("W0501", "0.7", "", ["0.2"])],
    ),
    "a smaller part below a greater bound": (
        _branches("level", "x < 5 ~ 0.5", "x < 8 ~ 0.4"),
        [("W0504", "0.4", "0.5", ["0.5"])],
    ),
    "a chain and a statement": (
        _branches("verdict", 'x == "a" ~ 0.4 { y = w(q) } elif x == "b" ~ 0.4', 'x == "c" ~ 0.5'),
        [("W0504", "0.4", "0.167", ["0.4", "0.5"])],
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
    "what a return has taken": (
        """x = level(q)
    if x > 3 ~ 0.2 { return q }
    if x > 3 ~ 0.3 { return w(q) }
    return w(w(q))""",
        [("W0504", "0.3", "0", ["0.2"])],
    ),
    "what was kept, again": (
        _kept('g.v == "a" ~ 0.5', 'g.v == "a" ~ 0.2', "g.n > 3 ~ 0.3"),
        [("W0504", "0.2", "1", ["0.5"])],
    ),
    "the label of `until` behind its loop": (
        _loop("verdict", 'x == "a" ~ 0.4', 'x == "a" ~ 0.4'),
        [("W0504", "0.4", "0.784", ["0.4"])],
    ),
    "the truth of `until` behind its loop": (
        _loop("good", "x ~ 0.5", "not x ~ 0.5"),
        [("W0504", "0.5", "0.125", ["0.5"])],
    ),
    "labels behind a loop": (
        _loop("verdict", "good(t)", 'x == "a" ~ 0.7', 'x == "b" ~ 0.6'),
        [("W0504", "0.6", "0.3", ["0.7"])],
    ),
    "two tests together and each of them": (
        """x = good(q)
    n = level(q)
    y = q
    if x ~ 0.5 { y = w(y) }
    if n > 3 ~ 0.4 { y = w(y) }
    if x and n > 3 ~ 0.3 { y = w(y) }
    return y""",
        [("W0504", "0.3", "0.2", ["0.5", "0.4"])],
    ),
}

AGREED = {
    "labels that sum to 1": _branches("verdict", 'x == "a" ~ 0.2', 'x == "b" ~ 0.3', 'x == "c" ~ 0.5'),
    "bounds one below the other": _branches("level", "x < 5 ~ 0.5", "x < 8 ~ 0.6", "x >= 8 ~ 0.4"),
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
