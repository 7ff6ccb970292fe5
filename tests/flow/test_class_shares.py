"""What the loads of the classes say of a request's class holds wherever that is tested, in whatever words."""

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.flow.text import show_flow

LOADS = {"i": 0.6, "b": 0.3, "x": 0.1}

HEAD = """
class i()
class b()
class x()
component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)
component good(q: text) -> bool = small("{q}")
component w(t: text) -> text = small("Once: {t}")
component v(t: text) -> text = small("Twice: {t}")
component z(t: text) -> text = small("Thrice: {t}")
pipeline called(q: text ~ 10 tokens, k: class) -> text {
    if k == "b" { return v(q) } elif k == "x" { return z(q) }
    return w(q)
}
"""

#: The body, and how often `w`, `v` and `z` are called.
FOLLOWING: dict[str, tuple[str, float, float, float]] = {
    "returns one behind the other": (
        'if c == "i" { return w(q) }\nif c == "b" { return v(q) }\nreturn z(q)',
        0.6,
        0.3,
        0.1,
    ),
    "an arm": ('if c != "i" {\n if c == "b" { return v(q) }\n return z(q)\n}\nreturn w(q)', 0.6, 0.3, 0.1),
    "an `else`": ('if c == "i" { return w(q) } else {\n if c == "b" { return v(q) }\n return z(q)\n}', 0.6, 0.3, 0.1),
    "a chain": ('if c == "i" { return w(q) } elif c == "b" { return v(q) } else { return z(q) }', 0.6, 0.3, 0.1),
    "a negation": ('if not (c == "b") { return w(q) }\nreturn v(q)', 0.7, 0.3, 0.0),
    "one of two": ('if c == "b" or c == "x" { return v(q) }\nreturn w(q)', 0.6, 0.4, 0.0),
    "a name for the test": ('a = c == "b"\nif a { return v(q) }\nreturn w(q)', 0.7, 0.3, 0.0),
    "a pipeline that is called": ("return called(q, c)", 0.6, 0.3, 0.1),
    "the end of a loop": ('y = q\nrepeat up to 3 { y = w(y) } until c == "b"\nreturn y', 0.3 + 0.7 * 3, 0.0, 0.0),
    "a port that is bound anew in an arm": (
        'if good(q) ~ 0.5 { c = "b" }\nif c == "b" { return v(q) }\nreturn w(q)',
        0.35,
        0.65,
        0.0,
    ),
    "a test of something else before it": (
        'if good(q) ~ 0.8 { return w(q) } elif c == "b" { return v(q) }\nreturn z(q)',
        0.8,
        0.06,
        0.14,
    ),
    "a test of something else behind it": (
        'if c == "b" { return v(q) } elif good(q) ~ 0.4 { return w(q) }\nreturn z(q)',
        0.4,
        0.3,
        0.3,
    ),
    "behind a test of something else and before an arm of which something is said": (
        'if good(q) ~ 0.2 { return w(q) } elif c == "b" { return v(q) } elif c == "i" ~ 0.48 { return z(q) }\nreturn q',
        0.2,
        0.24,
        0.48,
    ),
    "the same in an arm": (
        'if c == "i" { return q }\nif c == "b" { return v(q) } elif good(q) ~ 0.2 { return w(q) }\nreturn z(q)',
        0.08,
        0.3,
        0.02,
    ),
    "another share in an arm, which leaves the rest fewer": (
        'y = q\nif good(q) ~ 0.5 {\n if c == "b" ~ 0.5 { y = w(q) }\n}\nif c == "b" { return v(y) }\nreturn z(y)',
        0.25,
        0.3,
        0.7,
    ),
    "another share, which cannot be": ('if c == "b" ~ 0.7 { return v(q) }\nreturn w(q)', 0.7, 0.3, 0.0),
}


def _written(body: str, path: Path) -> Path:
    load = ", ".join(f"{name} {rate} rps" for name, rate in LOADS.items())
    path.write_text(f"{HEAD}pipeline p(q: text ~ 10 tokens, c: class) -> text {{\nload {load}\n{body}\n}}\n")
    return path


def _application(body: str, path: Path) -> Application:
    checked = check_files([_written(body, path)], {})
    assert checked.application is not None, checked.found
    return checked.application


def _visits(application: Application) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for call in demand(application, application.flows[-1]).calls:
        found[call.component] = found.get(call.component, 0.0) + call.visits
    return {name: found.get(name, 0.0) for name in "wvz"}


@pytest.mark.parametrize("case", FOLLOWING)
def test_shares_of_tests_of_the_class_follow_from_its_loads(case: str, tmp_path: Path) -> None:
    body, *expected = FOLLOWING[case]
    visits = _visits(optimise(_application(body, tmp_path / "p.rag")))
    assert [*visits.values()] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("body", "shares"),
    [
        ('if c == "i" { return w(q) }\nif c == "b" { return v(q) }\nreturn z(q)', ["0.75", "0.6"]),
        ('if c != "i" {\n if "b" == c { return v(q) }\n return z(q)\n}\nreturn w(q)', ["0.75", "0.4"]),
        ('if c == "b" or c == "x" { return v(q) }\nreturn w(q)', ["0.4"]),
        ('if not (c == "b") { return v(q) } elif good(q) ~ 0.2 { return z(q) }\nreturn w(q)', ["0.666667", "0.7"]),
        ('if c == "b" and good(q) { return v(q) }\nreturn w(q)', ["0.5"]),
    ],
)
def test_a_flow_shows_what_the_loads_leave_a_test_where_it_stands(body: str, shares: list[str], tmp_path: Path) -> None:
    text = show_flow(_application(body, tmp_path / "p.rag").flows[-1])
    found = [line.partition(" ~ ")[2].split()[0] for line in text.splitlines() if " select " in line and " ~ " in line]
    assert found[-len(shares) :] == shares


@pytest.mark.parametrize(
    ("share", "codes"), [("0.4", {"W0504"}), ("0.2", {"W0504"}), ("0.3", set()), ("1.2", {"E0501"})]
)
def test_another_share_of_the_last_class_is_a_warning(share: str, codes: set[str], tmp_path: Path) -> None:
    """The loads say which one it is: 0.3 of the requests are `b`."""
    body = f'if c == "i" {{ return w(q) }} elif c == "x" {{ return v(q) }} elif c == "b" ~ {share} {{ return z(q) }}'
    found = check_files([_written(body, tmp_path / "p.rag")], {}).found
    assert {one.code for one in found} == codes


#: Tests that have names.
NAMED = "\n".join(["y = q", *(f'is_{name} = c == "{name}"' for name in LOADS)])

#: What a statement calls for a request of each class, in order, and whether it ends there.
_Called = Callable[[str], tuple[list[str], bool]]


def _test(random: Random, depth: int = 2) -> tuple[str, Callable[[str], bool]]:
    """A test of the class, and what it says of each."""
    kind = random.choice(("==", "!=", "name", "name", "not", "or", "and") if depth else ("==", "name", "name", "name"))
    if kind in ("==", "!=", "name"):
        name = random.choice([*LOADS])
        return f"is_{name}" if kind == "name" else f'(c {kind} "{name}")', lambda of: (of == name) == (kind != "!=")
    one, says_one = _test(random, depth - 1)
    if kind == "not":
        return f"(not {one})", lambda of: not says_one(of)
    other, says_other = _test(random, depth - 1)
    if kind == "or":
        return f"({one} or {other})", lambda of: says_one(of) or says_other(of)
    return f"({one} and {other})", lambda of: says_one(of) and says_other(of)


def _statements(random: Random, names: list[int], depth: int = 2) -> tuple[str, _Called]:
    """Some statements over the class."""
    parts: list[tuple[str, _Called]] = []
    for _ in range(random.randint(1, 3)):
        test, says = _test(random)
        body, called = _statements(random, names, depth - 1) if depth else _call(random)
        if random.random() < 0.5:
            names[0] += 1
            head = f"a{names[0]} = {test}\nif a{names[0]} {{\n{body}\n}}"
        else:
            head = f"if {test} {{\n{body}\n}}"

        def run(of: str, says: Callable[[str], bool] = says, called: _Called = called) -> tuple[list[str], bool]:
            return called(of) if says(of) else ([], False)

        parts.append((head, run))

    def both(of: str) -> tuple[list[str], bool]:
        found: list[str] = []
        for _, run in parts:
            more, ends = run(of)
            found += more
            if ends:
                return found, True
        return found, False

    return "\n".join(text for text, _ in parts), both


def _call(random: Random) -> tuple[str, _Called]:
    name, ends = random.choice("wvz"), random.random() < 0.4
    return (f"return {name}(y)" if ends else f"y = {name}(y)"), lambda _: ([name], ends)


def test_plans_of_random_tests_of_the_class_are_as_counted_out(tmp_path: Path) -> None:
    random, planned = Random(7), 0
    for _ in range(200):
        body, called = _statements(random, [0])
        checked = check_files([_written(f"{NAMED}\n{body}\nreturn y", tmp_path / "p.rag")], {})
        # A test that no class is left for is an error.
        if checked.application is None:
            continue
        planned += 1
        counted = dict.fromkeys("wvz", 0.0)
        for name, share in LOADS.items():
            for each in called(name)[0]:
                counted[each] += share
        for application in (checked.application, optimise(checked.application)):
            assert _visits(application) == pytest.approx(counted, abs=1e-9), body
    assert planned > 50
