"""What is said of a loop whose block binds a name to what cannot be read: all that is wrong, and no guess.

Such a name may be anything in later rounds, so that what it is before the loop says little about it.
"""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files

HEAD = """
component small = llm("SmolLM2-135M-Instruct")
component f(q: text) -> text ~ 9 tokens = small("{q}")
component ok(q: text) -> bool = small("{q}")
component all(q: [text ~ 9 tokens] ~ 3) -> text ~ 9 tokens = small("{q}")
component kind(q: text) -> "a" | "b" | "c" = small("{q}")
component of(q: text, k: "a" | "b" | "c") -> text ~ 9 tokens = small("{q}{k}")
component counted(q: text, n: number) -> text ~ 9 tokens = small("{q}{n}")
component py(q: text) -> text ~ 9 tokens = python("m:f")
"""
#: A pipeline that others do not call, and what is wrong with it.
OTHER = "pipeline other(q: text ~ 9 tokens) -> text { return ff(q) }\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pipeline(body: str) -> str:
    return f"pipeline p(q: text ~ 9 tokens) -> text {{\n{body}\n}}\n"


def errors(text: str) -> list[str]:
    """Of each error its code, and what stands at its place."""
    Path("a.rag").write_text(HEAD + text, encoding="utf-8")
    found = check_files([Path("a.rag")]).found
    places = [(item.code, item.span) for item in found if item.is_error]
    return [f"{code} {span.source.text[span.start : span.end]}" for code, span in places if span is not None]


#: What rests on what a name is in the first round alone, beside a mistake in what it is bound to.
GUESSES = {
    "a label": 'repeat up to 3 {\nif k == "b" { x = f(x) }\nk = zzz(x)\n}\nreturn x',
    "a label behind the test": 'repeat up to 3 {\nj = k\nx = f(x)\nk = zzz(x)\n} until j == "b"\nreturn x',
    "a label of another name": 'repeat up to 3 {\nj = k\nk = zzz(x)\nif j == "b" { x = f(x) }\n}\nreturn x',
    "a label after the loop": 'repeat up to 3 {\nj = k\nk = zzz(x)\n}\nif j == "b" { x = f(x) }\nreturn x',
    "a list without items": "repeat up to 3 {\nx = all(each i in xs: f(i))\nxs = zzz(x)\n}\nreturn x",
    "an `elif`": 'repeat up to 3 {\nif k == "a" { x = f(x) } elif k != "a" { x = q }\nk = zzz(x)\n}\nreturn x',
    "an `else`": 'repeat up to 3 {\nif k == "a" { x = f(x) } else { x = q }\nk = zzz(x)\n}\nreturn x',
    "a name that every path binds": (
        'repeat up to 3 {\nif k == "a" { y = q } elif k == "b" { y = f(q) } elif k == "c" { y = x }\n'
        "x = f(y)\nk = zzz(x)\n}\nreturn x"
    ),
    "a stream": "repeat up to 3 {\nif ok(q) { return stream k }\nk = zzz(q)\n}\nreturn q",
    "a loop in a loop": 'repeat up to 3 {\nrepeat up to 3 {\nif k == "b" { x = f(x) }\n}\nk = zzz(x)\n}\nreturn x',
    "a loop around a loop": 'repeat up to 3 {\nrepeat up to 3 {\nif k == "b" { x = f(x) }\nk = zzz(x)\n}\n}\nreturn x',
}


@pytest.mark.parametrize("body", GUESSES.values(), ids=GUESSES)
def test_what_a_name_may_be_in_later_rounds_is_not_guessed(body: str) -> None:
    assert errors(pipeline('k = "a"\nx = q\nxs = []\n' + body)) == ["E0202 zzz"]


#: What is wrong whatever names are in later rounds.
WRONG = {
    "what it is bound to": ("x = q\nrepeat up to 3 { x = each i in q: f(i) } until ok(q)\nreturn f(q)", ["E0323 q"]),
    "what it is bound to, of itself": ("x = q\nrepeat up to 3 { x = each i in x: f(i) }\nreturn x", ["E0323 x"]),
    "two names": (
        "x = q\nrepeat up to 3 {\nx = each i in x: f(i)\ny = zzz(q)\n}\nreturn x",
        ["E0323 x", "E0202 zzz"],
    ),
    "its type in the first round": (
        "k = 3\nx = q\nrepeat up to 3 {\nx = of(q, k)\nk = zzz(x)\n}\nreturn x",
        ["E0301 k", "E0202 zzz"],
    ),
    "a type that grows in the loop around": (
        'j = "a"\nz = q\nrepeat up to 3 {\nrepeat up to 3 { z = zzz(counted(z, j)) }\nj = kind(q)\n}\nreturn q',
        ["E0202 zzz", "E0301 j"],
    ),
    "a label of a call": (
        'x = q\nrepeat up to 3 {\nif kind(q) == "zz" { y = q } else { y = f(q) }\nx = zzz(x)\n}\nreturn f(y)',
        ['E0308 "zz"', "E0202 zzz"],
    ),
    "what stands behind a return": (
        "x = q\nrepeat up to 3 {\nif ok(q) {\nreturn q\ny = q\n}\nx = zzz(x)\n}\nreturn f(q)",
        ["E0402 y = q", "E0202 zzz"],
    ),
    "a list that is empty elsewhere": (
        "x = q\nys = []\nrepeat up to 3 {\nzs = each i in ys: f(i)\nx = zzz(all(zs))\n}\nreturn x",
        ["E0328 ys", "E0202 zzz"],
    ),
    "what does not stream": (
        "x = q\nrepeat up to 3 {\nif ok(q) { return stream py(q) }\nx = zzz(x)\n}\nreturn f(q)",
        ["E0404 py(q)", "E0202 zzz"],
    ),
    "two types in turn": (
        'k = "a"\nx = q\nrepeat up to 3 {\nif k == "b" { x = f(x) }\nk = 3\n}\nreturn x',
        ["E0324 k"],
    ),
    "two types in turn, in loops in a loop": (
        "x = q\nrepeat up to 3 {\ny = f(x)\nrepeat up to 3 {\nrepeat up to 3 { x = [q] }\n}\n} until ok(y)\nreturn y",
        ["E0324 x"],
    ),
    "two types on two paths": (
        'k = "a"\nx = q\nrepeat up to 3 {\nif k == "b" { x = f(x) }\nif ok(q) { k = "a" } else { k = 3 }\n}\nreturn x',
        ["E0311 k"],
    ),
    "two types on two paths, in a loop in a loop": (
        "x = q\nrepeat up to 3 {\ny = f(x)\nrepeat up to 2 { if ok(y) { x = q } else { x = 3 } }\n}\nreturn y",
        ["E0311 x"],
    ),
}


@pytest.mark.parametrize(("body", "expected"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_in_a_loop_is_said(body: str, expected: list[str]) -> None:
    assert errors(pipeline(body)) == expected
    assert errors(OTHER + pipeline(body)) == ["E0202 ff", *expected]
    assert errors(pipeline(body) + OTHER) == [*expected, "E0202 ff"]


def test_a_name_that_nothing_reads_may_have_two_types_in_a_loop() -> None:
    two = 'if ok(q) { x = "a" } else { x = 3 }'
    assert errors(pipeline(f"x = q\nrepeat up to 3 {{\n{two}\ny = f(q)\n}} until ok(y)\nreturn y")) == []


def test_what_could_not_be_streamed_in_the_first_round_may_be_in_the_next() -> None:
    streams = 'if k == "a" { x = "there" } else { x = f(q) }\nif ok(x) { return stream x }'
    assert errors(pipeline(f'k = "a"\nrepeat up to 3 {{\n{streams}\nk = kind(q)\n}}\nreturn q')) == []


def test_a_test_that_no_first_round_passes_may_choose_items_in_the_next() -> None:
    chosen = 'xs = each i in [x] where k != "a": i\nk = kind(all(xs))'
    assert errors(pipeline(f'k = "a"\nx = q\nrepeat up to 3 {{\n{chosen}\n}} until ok(x)\nreturn f(k)')) == []
