"""Chains of tests that combine several values: all shares hold that some independent values leave them.

In a round of a loop and for each item of a list a value is drawn anew, by the same shares each time.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow.demand import Demand, demand
from harmonia_compiler.flow.passes.registry import optimise

HEAD = """component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)
component good(q: text) -> bool = small("Good? {q}")
component kind(q: text) -> bool = small("Kind? {q}")
component odd(q: text) -> bool = small("Odd? {q}")
component sort(q: text) -> "a" | "b" | "c" = small("Sort {q}")
component parts(q: text) -> [text ~ 3 tokens] ~ 4 = small("Parts {q}")
component joined(q: text, all: [text]) -> text ~ 8 tokens = small("Join {q} {all}")
component w1(q: text) -> text ~ 8 tokens = small("1 {q}")
component w2(q: text) -> text ~ 8 tokens = small("2 {q}")
component w3(q: text) -> text ~ 8 tokens = small("3 {q}")
component w4(q: text) -> text ~ 8 tokens = small("4 {q}")
component end(q: text) -> text ~ 8 tokens = small("End {q}")
"""
VALUES = "g = good(y)\nk = kind(y)\no = odd(y)\ns = sort(y)\nz = y\n"

#: Where a chain stands: the body of the pipeline around it, and how often it is reached.
PLACES = {
    "once": ("y = q\n{0}\nreturn end(z)", 1.0),
    "in each round": ("y = q\nrepeat up to 2 {{\n{0}\ny = end(z)\n}}\nreturn y", 2.0),
    "for each item": ("return joined(q, each y in parts(q): item(y))", 4.0),
}


class _World(NamedTuple):
    """What the values are, and how likely that is."""

    values: Mapping[str, bool | str]
    likely: float


Holds = Callable[[Mapping[str, bool | str]], bool]


def _worlds(draw: Random) -> list[_World]:
    """All that independent values may be."""
    truths = {name: draw.choice([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]) for name in "gko"}
    odds = [draw.choice([1, 2, 3, 5]) for _ in "abc"]
    found = [_World({"s": label}, weight / sum(odds)) for label, weight in zip("abc", odds, strict=True)]
    for name, share in truths.items():
        found = [
            _World({**world.values, name: is_so}, world.likely * (share if is_so else 1.0 - share))
            for world in found
            for is_so in (True, False)
        ]
    return found


def _asked(draw: Random) -> tuple[str, str, Holds]:
    """Of which value a test is, how it is written, and when it holds."""
    name, is_so = draw.choice("gkos"), draw.random() < 0.75
    if name == "s":
        label = draw.choice("abc")
        return name, f's {"==" if is_so else "!="} "{label}"', lambda values: (values["s"] == label) == is_so
    return name, name if is_so else f"not {name}", lambda values: values[name] == is_so


def _test(draw: Random) -> tuple[str, Holds, list[Holds]]:
    """A test of one value or, mostly, of two; and those."""
    value, text, holds = _asked(draw)
    other, more, also = _asked(draw)
    if value == other or draw.random() < 1 / 3:
        return text, holds, [holds]
    if draw.random() < 0.5:
        return f"{text} and {more}", lambda values: holds(values) and also(values), [holds, also]
    return f"{text} or {more}", lambda values: holds(values) or also(values), [holds, also]


def _chain(seed: int) -> tuple[str, list[float]] | None:
    """A chain of tests, and how often each arm is taken; None where a test is certain."""
    draw = Random(seed)
    left, lines, shares = _worlds(draw), list[str](), list[float]()
    for number in range(1, draw.choice([3, 4, 5])):
        text, holds, each = _test(draw)
        if any(len({one(world.values) for world in left}) < 2 for one in (holds, *each)):
            return None
        taken = [world for world in left if holds(world.values)]
        shares.append(sum(world.likely for world in taken))
        lines.append(f"{'if' if number == 1 else '} elif'} {text} ~ {shares[-1]!r} {{\nz = w{number}(y)")
        left = [world for world in left if not holds(world.values)]
    return "\n".join([VALUES, *lines, "}"]), shares


def _demand(body: str, folder: Path, item: str = "") -> Demand:
    text = f"{HEAD}pipeline p(q: text ~ 8 tokens) -> text {{\nload 1 rps\n{body}\n}}\n"
    path = folder / "p.rag"
    path.write_text(text + (f"pipeline item(y: text) -> text {{\n{item}\nreturn z\n}}\n" if item else ""))
    checked = check_files([path])
    assert checked.application is not None, checked.found
    application = optimise(checked.application)
    return demand(application, next(flow for flow in application.flows if flow.load is not None))


@pytest.mark.parametrize("seeds", [range(50), pytest.param(range(50, 150), marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_said_of_combined_tests_holds(place: str, seeds: range, tmp_path: Path) -> None:
    around, times = PLACES[place]
    for seed in seeds:
        if (chain := _chain(seed)) is None:
            continue
        body, shares = chain
        asked = _demand(around.format(body), tmp_path, body if place == "for each item" else "")
        found = [asked.visits.get(f"w{number}", 0.0) / times for number in range(1, len(shares) + 1)]
        assert found == pytest.approx(shares, abs=1e-5), f"seed {seed}\n{body}"
        assert not asked.missed


def test_a_round_that_returns_takes_its_arms_as_often_as_is_said(tmp_path: Path) -> None:
    """As where an answer is returned that is relevant and supported."""
    body = """y = q
    repeat up to 3 {
        y = w1(y)
        g = good(y)
        k = kind(y)
        if g and k ~ 0.3 { return w2(y) } elif g ~ 0.05 { y = w3(y) } else { y = w4(y) }
    }
    return y"""
    visits, rounds = _demand(body, tmp_path).visits, 1.0 + 0.7 + 0.7**2
    assert [visits[f"w{number}"] for number in range(1, 5)] == pytest.approx(
        [rounds, 0.3 * rounds, 0.05 * rounds, 0.65 * rounds]
    )


def test_rounds_end_as_often_as_is_said_behind_a_combined_test(tmp_path: Path) -> None:
    body = """y = q
    repeat up to 2 {
        x = w1(y)
        g = good(x)
        k = kind(x)
        if g or k ~ 0.8 { y = w2(x) } else { return w3(x) }
    } until g ~ 0.4
    return w4(y)"""
    visits = _demand(body, tmp_path).visits
    assert [visits[f"w{number}"] for number in range(1, 5)] == pytest.approx([1.48, 1.184, 0.296, 0.704])


def test_what_stands_behind_rounds_holds_with_what_is_said_in_them(tmp_path: Path) -> None:
    body = """y = q
    repeat up to 2 {
        x = w1(y)
        g = good(x)
        k = kind(x)
        if g and k ~ 0.3 { y = w2(x) } elif g ~ 0.05 { y = w3(x) } else { y = w4(x) }
    } until k ~ 0.8571428571428571
    z = y
    if g and k ~ 0.34285714285714286 { z = end(y) }
    return z"""
    visits, rounds = _demand(body, tmp_path).visits, 1.0 + 1.0 / 7.0
    assert [visits[name] for name in ("w1", "w2", "w3", "w4", "end")] == pytest.approx(
        [rounds, 0.3 * rounds, 0.05 * rounds, 0.65 * rounds, 0.35 * 48.0 / 49.0]
    )


@pytest.mark.parametrize("place", PLACES)
def test_a_test_that_says_nothing_stays_as_it_is_before_those_that_do(place: str, tmp_path: Path) -> None:
    around, times = PLACES[place]
    chain = f"""{VALUES}if o {{
        z = end(y)
    }} else {{
        x = y
        if g or k ~ 0.91 {{ x = w1(y) }}
        z = x
        if g and not k ~ 0.81 {{ z = w2(x) }}
    }}"""
    asked = _demand(around.format(chain), tmp_path, chain if place == "for each item" else "")
    assert asked.visits["w1"] / times == pytest.approx(0.5 * 0.91)
    assert asked.visits["w2"] / times == pytest.approx(0.5 * 0.81)
    assert not asked.missed


def test_what_nothing_is_said_of_stays_as_it_is(tmp_path: Path) -> None:
    """Where shares are found from other ones than at first: whether an attempt succeeds, and what is guessed."""
    body = """x = w1(q) within 900 s else w2(q)
    g = good(x)
    if g { return w3(x) }
    s = sort(x)
    is_b = s == "b"
    y = x
    if s == "c" ~ 0.25 {
        y = w4(y)
        s = sort(y)
    }
    z = y
    if s == "a" ~ 0.7386363636363636 {
        z = end(y)
    } elif s == "b" ~ 0.14772727272727273 {
        if is_b ~ 0.8461538461538461 { return y }
    }
    return z"""
    visits = _demand(body, tmp_path).visits
    assert [visits[f"w{number}"] for number in range(1, 5)] == pytest.approx([1.0, 0.01, 0.5, 0.125])
    assert visits["end"] == pytest.approx(0.5 * 0.7386363636363636)


def test_values_of_a_request_and_of_a_round_are_found_together(tmp_path: Path) -> None:
    body = """v = odd(q)
    y = q
    repeat up to 3 {
        x = w1(y)
        g = good(x)
        z = x
        if g or v ~ 0.75 { z = w2(x) }
        u = z
        if g and not v ~ 0.5 { u = w3(z) }
        y = u
    }
    if v { return w4(y) }
    return y"""
    asked = _demand(body, tmp_path)
    assert [asked.visits[f"w{number}"] for number in range(1, 5)] == pytest.approx([3.0, 2.25, 1.5, 0.25])
    assert not asked.missed


def test_many_rounds_say_no_more_than_is_written(tmp_path: Path) -> None:
    body = """y = q
    repeat up to 40 {
        g = good(y)
        k = kind(y)
        if g and k ~ 0.3 { y = w1(y) } elif g ~ 0.1 { y = w2(y) } else { y = w3(y) }
    }
    return y"""
    visits = _demand(body, tmp_path).visits
    assert [visits[f"w{number}"] for number in range(1, 4)] == pytest.approx([12.0, 4.0, 24.0])


def test_an_until_says_nothing_of_the_last_round(tmp_path: Path) -> None:
    """Nobody asks it there, and what else asks the same need not be asked by those of whom it is said."""
    body = """v = odd(q)
    x = q
    if v ~ 0.5 { x = w1(q) }
    repeat up to 2 {
        g = good(x)
        z = x
        if not g ~ 0.6666666666666666 { z = w2(x) }
        u = z
        if v { u = w3(z) } elif g { return w4(z) }
        x = u
    } until g ~ 0.2
    return x"""
    asked = _demand(body, tmp_path)
    rounds = 1.0 + 0.5 * 2.0 / 3.0 * 2.0
    assert asked.visits["w2"] == pytest.approx(rounds * 2.0 / 3.0)
    assert not asked.missed


def test_rounds_end_as_often_as_is_said_where_others_return_in_an_arm(tmp_path: Path) -> None:
    """Of those that go on some cannot have returned: in each round a third is good, also in the last one."""
    body = """o = odd(q)
    x = q
    if o ~ 0.5 { x = w1(q) }
    repeat up to 2 {
        g = good(x)
        if o { x = w2(x) } elif g { return w3(x) }
    } until g ~ 0.2
    return x"""
    visits = _demand(body, tmp_path).visits
    assert [visits[f"w{number}"] for number in range(1, 4)] == pytest.approx([0.5, 5 / 6, 5 / 18])


@pytest.mark.parametrize("place", PLACES)
def test_what_no_independent_values_leave_is_told(place: str, tmp_path: Path) -> None:
    """What is said first holds; the next arm is planned by what is left, and that is told as it is written."""
    around, times = PLACES[place]
    chain = f"{VALUES}if g and k ~ 0.4 {{\nz = w1(y)\n}} elif not g and not k ~ 0.3 {{\nz = w2(y)\n}}"
    asked = _demand(around.format(chain), tmp_path, chain if place == "for each item" else "")
    assert asked.visits["w1"] == pytest.approx(0.4 * times)
    (missed,) = asked.missed
    assert missed.at.source.text[missed.at.start : missed.at.end].strip("~ ") == "0.3"
    assert missed.said == 0.3
    assert missed.found == pytest.approx(asked.visits["w2"] / times)
    assert missed.found < 0.2


def test_what_is_missed_is_told_in_the_order_of_the_source_and_not_negated(tmp_path: Path) -> None:
    body = """g = good(q)
    y = q
    if not g ~ 0.8 { y = w1(y) }
    if g ~ 0.6 { y = w2(y) }
    if not g ~ 0.3 { y = w3(y) }
    return y"""
    missed = _demand(body, tmp_path).missed
    assert [one.said for one in missed] == [0.6, 0.3]
    assert [one.found for one in missed] == pytest.approx([0.2, 0.8])
