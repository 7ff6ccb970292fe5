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
    "a type that grows for ever": ("x = []\nrepeat up to 3 { x = [x] }\nreturn f(q)", ["E0324 x"]),
    "a type that grows for ever, beside two types": (
        "x = []\ny = q\nrepeat up to 3 {\nx = [x]\nif ok(y) { y = 3 }\n}\nreturn f(q)",
        ["E0324 x", "E0311 y"],
    ),
    "two types on two paths, and the first one": (
        "x = 3\nrepeat up to 3 {\ny = f(x)\nif ok(y) { x = q }\n}\nreturn y",
        ["E0301 x", "E0311 x"],
    ),
    "the same parts in another order": (
        "r = (a: q, b: f(q))\nrepeat up to 3 {\nif ok(q) { r = (b: q, a: q) }\n}\nreturn f(r.a)",
        ["E0311 r"],
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


#: A name that some path through a loop binds to another type, beside what is before the loop and where it is read.
TWO_TYPES = {
    "a label": ('x = "a"\nrepeat up to 3 {\nif ok(q) { x = 3 }\n}\nreturn f(x)', ["x"]),
    "beside another name": ("x = q\nrepeat up to 3 {\nif ok(q) { x = 3 } else { y = q }\n}\nreturn f(x)", ["x"]),
    "a list": ("x = q\nrepeat up to 3 {\nif ok(q) { x = [q] }\n}\nreturn f(x)", ["x"]),
    "read before it is bound": ("x = q\nrepeat up to 3 {\ny = f(x)\nif ok(y) { x = [q] }\n}\nreturn y", ["x"]),
    "read by `until`": ("x = q\nrepeat up to 3 {\ny = f(q)\nif ok(y) { x = 3 }\n} until ok(x)\nreturn y", ["x"]),
    "read behind": ("x = q\nrepeat up to 3 {\nif ok(q) { x = 3 }\ny = f(x)\n}\nreturn y", ["x"]),
    "in an inner loop": (
        "x = q\nrepeat up to 3 {\nrepeat up to 3 {\nif ok(q) { x = 3 }\n}\n}\nreturn f(x)",
        ["x"],
    ),
    "read around an inner loop": (
        "x = q\nrepeat up to 3 {\ny = f(x)\nrepeat up to 3 {\nif ok(q) { x = 3 }\n}\n}\nreturn y",
        ["x"],
    ),
    "on both paths": ('x = q\nrepeat up to 3 {\nif ok(q) { x = 3 } else { x = "b" }\n}\nreturn f(x)', ["x"]),
    "for each item": ("x = q\nrepeat up to 3 {\nif ok(q) { x = 3 }\n}\nreturn all(each i in [q]: f(x))", ["x"]),
    "that nothing reads": ("x = q\nrepeat up to 3 {\nif ok(q) { x = 3 }\nz = f(q)\n} until ok(z)\nreturn f(q)", []),
    "a record": ("r = (a: q)\nrepeat up to 3 {\nif ok(q) { r = (a: 3) }\n}\nreturn f(r.a)", ["r"]),
    "an `elif`": ("x = q\nrepeat up to 3 {\nif ok(q) { x = 3 } elif ok(f(q)) { x = q }\n}\nreturn f(x)", ["x"]),
    "two loops in a row": (
        "x = q\nrepeat up to 3 { if ok(q) { x = 3 } }\nrepeat up to 3 { x = f(x) }\nreturn x",
        ["x"],
    ),
}


@pytest.mark.parametrize(("body", "names"), TWO_TYPES.values(), ids=TWO_TYPES)
def test_two_types_are_said_where_the_name_is_read(body: str, names: list[str]) -> None:
    expected = [f"E0311 {name}" for name in names]
    assert errors(pipeline(body)) == expected
    assert errors(OTHER + pipeline(body)) == ["E0202 ff", *expected]
    assert errors(pipeline(body) + OTHER) == [*expected, "E0202 ff"]


def test_two_types_are_said_at_the_reading_and_not_where_the_name_is_bound() -> None:
    for reading in ("y = f(x)\nif ok(y) { x = 3 }\n}\nreturn y", "if ok(q) { x = 3 }\n}\nreturn f(x)"):
        Path("a.rag").write_text(HEAD + pipeline(f"x = q\nrepeat up to 3 {{\n{reading}"), encoding="utf-8")
        (span,) = (item.span for item in check_files([Path("a.rag")]).found)
        assert span is not None
        assert span.source.text[span.start - 2 : span.end] == "f(x"


#: A test that asks for a label that the name does not have, and binds by it what later rounds know.
LABELS = {
    "its own name": 'k = kind(q)\nrepeat up to 3 {\nif k == "z" { k = kind(of(q, k)) }\n}\nreturn q',
    "behind another": 'k = kind(q)\nx = q\nrepeat up to 3 {\nx = f(x)\nif k == "z" { k = kind(of(x, k)) }\n}\nreturn x',
    "of a written label": (
        'k = "a"\nx = q\nrepeat up to 3 {\nif k == "z" { x = of(x, k)\nk = kind(x) } else { x = f(x) }\n}\nreturn x'
    ),
    "with `until`": (
        'k = "a"\nx = q\nrepeat up to 3 {\nx = f(x)\nif k == "z" { k = kind(of(x, k)) }\n} until ok(x)\nreturn x'
    ),
    "in `until`": 'k = "a"\nx = q\nrepeat up to 3 {\nx = f(x)\nk = kind(x)\n} until k == "z"\nreturn of(x, k)',
    "in `where`": 'k = kind(q)\nx = q\nrepeat up to 3 {\nx = all(each i in [x] where k == "z": of(i, k))\n}\nreturn x',
    "in `where`, bound": (
        "k = kind(q)\nx = q\nrepeat up to 3 {\n"
        'k = kind(all(each i in [x] where k == "z": of(i, k)))\nx = f(x)\n}\nreturn of(x, k)'
    ),
    "of a part": (
        'r = (l: "a", t: q)\nrepeat up to 3 {\nk = r.l\n'
        'if k == "z" { r = (l: kind(of(r.t, k)), t: q) } else { r = (l: r.l, t: f(r.t)) }\n}\nreturn r.t'
    ),
    "a name that some paths bind": 'k = "a"\nrepeat up to 3 {\nif k == "z" { y = q }\nk = kind(y)\n}\nreturn q',
    "a name that all paths bind": (
        'k = kind(q)\nrepeat up to 3 {\nif k == "z" { y = q } else { y = f(q) }\nk = kind(y)\n}\nreturn q'
    ),
    "in a test in the arm": (
        'k = "a"\nj = k\nx = q\nrepeat up to 3 {\nif j == "z" {\n'
        "if ok(q) { x = of(q, j) } elif ok(x) { k = k }\nj = k\n}\n}\nreturn q"
    ),
    "in a test of the arm": (
        'k = "a"\nj = k\nrepeat up to 3 {\nif j == "z" {\nif ok(of(q, j)) { k = k }\nj = k\n}\n}\nreturn q'
    ),
    "two of one name": 'k = "a"\nrepeat up to 3 {\nif k == "a" and k == "z" {\nk = kind(of(q, k))\n}\n}\nreturn q',
    "taken before": (
        "k = kind(q)\nx = q\nrepeat up to 3 {\nx = f(x)\n"
        'if k == "a" { x = f(x) } elif k == "z" { k = kind(of(x, k)) }\n}\nreturn x'
    ),
}


@pytest.mark.parametrize("body", LABELS.values(), ids=LABELS)
def test_a_label_that_a_name_does_not_have_is_said(body: str) -> None:
    assert errors(pipeline(body)) == ['E0308 "z"']
    assert errors(OTHER + pipeline(body)) == ["E0202 ff", 'E0308 "z"']
    assert errors(pipeline(body) + OTHER) == ['E0308 "z"', "E0202 ff"]


@pytest.mark.parametrize(
    ("test", "error"),
    [
        ("q", "E0307 q"),
        ('ok(q) == "a"', 'E0309 ok(q) == "a"'),
        ('kind(q) == "z"', 'E0308 "z"'),
        ("zzz(q)", "E0202 zzz"),
        ("f(q)", "E0307 f(q)"),
    ],
)
def test_a_test_that_asks_no_name_for_a_label_hides_no_label_that_is_wrong(test: str, error: str) -> None:
    body = f"k = more(q)\nif {test} {{ return f(q) }}\nreturn of(q, k)"
    more = 'component more(q: text) -> "a" | "w" = small("{q}")\n'
    assert errors(more + pipeline(body)) == [error, "E0301 k"]


@pytest.mark.parametrize("test", ['kk == "a"', 'k == "z"', "k", 'k == "z" and ok(q)', 'not (kk != "a")'])
def test_what_labels_a_test_that_is_refused_would_have_left_is_not_guessed(test: str) -> None:
    body = f"k = more(q)\nif {test} {{ return of(q, k) }}\nreturn of(q, k)"
    more = 'component more(q: text) -> "a" | "w" = small("{q}")\n'
    (only,) = errors(more + pipeline(body))
    assert not only.startswith("E0301")


def test_a_label_may_come_by_the_arm_that_asks_for_it() -> None:
    for given in ("kind(q)", "kind(of(q, k))"):
        assert errors(pipeline(f'k = "a"\nrepeat up to 3 {{\nif k == "b" {{ k = {given} }}\n}}\nreturn q')) == []


@pytest.mark.parametrize("body", GUESSES.values(), ids=GUESSES)
def test_what_is_wrong_in_a_declaration_that_is_named_is_said_there_alone(body: str) -> None:
    broken = 'component zzz(q: text) -> text = smal("{q}")\n'
    text = 'k = "a"\nx = q\nxs = []\n' + body
    assert errors(broken + pipeline(text)) == ["E0201 smal"]
    calls = "pipeline zzz(q: text) -> text { return ff(q) }\n"
    assert errors(calls + pipeline(text)) == ["E0202 ff"]
    assert errors(pipeline(text) + calls) == ["E0202 ff"]
    Path("b.rag").write_text("component zzz(", encoding="utf-8")
    imported = 'import zzz from "b.rag"\n'
    assert "E0308" not in {error.split()[0] for error in errors(imported + pipeline(text))}
    value = pipeline(text).replace("zzz(x)", "zzz").replace("zzz(q)", "zzz")
    assert "E0308" not in {error.split()[0] for error in errors(imported + value)}


#: States one after the other, each of which a round finds: at their places the name that is asked and what is bound.
STATES = {
    "a name": ('k = "0"', "", "k", 'k = "{}"', ""),
    "a part": ('r = (k: "0")', "", "r.k", 'r = (k: "{}")', ""),
    "a copy of a part": ('r = (k: "0")', "k = r.k\n", "k", 'r = (k: "{}")', ""),
    "a copy": ('k = "0"', "", "k", 'j = "{}"\nk = j', ""),
    "a copy of a part of a copy": ('r = (k: "0")', "k = r.k\n", "k", 'j = "{}"\nr = (k: j)', ""),
    "a copy behind": ('k = "0"\nj = k', "", "j", 'k = "{}"', "\nj = k"),
}


@pytest.mark.parametrize("states", STATES.values(), ids=STATES)
def test_labels_grow_with_patience(states: tuple[str, str, str, str, str]) -> None:
    before, first, asked, bound, last = states
    arms = " el".join(f'if {asked} == "{at}" {{\n{bound.format(at + 1)}\nx = f(x)\n}}' for at in range(40))
    loop = f"{before}\nx = q\nrepeat up to 50 {{\n{first}{arms}{last}\n}}\nreturn f(x)"
    assert errors(pipeline(loop)) == []


def test_a_name_may_have_more_states_than_a_loop_has_rounds() -> None:
    arms = " el".join(f'if k == "s{at}" {{ k = "s{at + 1}" }}' for at in range(150))
    assert errors(pipeline(f'k = "s0"\nx = q\nrepeat up to 100 {{\nx = f(x)\n{arms}\n}}\nreturn x')) == []


def test_a_name_that_nothing_reads_may_have_two_types_in_a_loop() -> None:
    two = 'if ok(q) { x = "a" } else { x = 3 }'
    assert errors(pipeline(f"x = q\nrepeat up to 3 {{\n{two}\ny = f(q)\n}} until ok(y)\nreturn y")) == []


def test_what_could_not_be_streamed_in_the_first_round_may_be_in_the_next() -> None:
    streams = 'if k == "a" { x = "there" } else { x = f(q) }\nif ok(x) { return stream x }'
    assert errors(pipeline(f'k = "a"\nrepeat up to 3 {{\n{streams}\nk = kind(q)\n}}\nreturn q')) == []


def test_a_test_that_no_first_round_passes_may_choose_items_in_the_next() -> None:
    chosen = 'xs = each i in [x] where k != "a": i\nk = kind(all(xs))'
    assert errors(pipeline(f'k = "a"\nx = q\nrepeat up to 3 {{\n{chosen}\n}} until ok(x)\nreturn f(k)')) == []
