"""A share that is said of a branch is that of the requests which reach it, whatever else is known of what it asks."""

import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow import functions, taken
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.outcomes import Outcomes
from harmonia_compiler.flow.passes.registry import optimise

KINDS = {"label": '"a" | "b" | "c"', "truth": "bool", "number": "number"}

HEAD = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)
component good(q: text) -> bool = small("{q}")
component bad(q: text) -> bool = small("Bad? {q}")
component verdict(q: text) -> "a" | "b" | "c" = small("{q}")
component again(q: text) -> "a" | "b" | "c" = small("Again: {q}")
component level(q: text) -> number = small("{q}")
component better(q: text) -> number = small("Better: {q}")
component words(q: text) -> [text ~ 2 tokens] ~ 4 = small("{q}")
component w(t: text) -> text = small("Once: {t}")
component v(t: text) -> text = small("Twice: {t}")
"""


def _twice(made: str, *tests: str) -> str:
    """Tests of one value in a branch each, the last of which calls `w`."""
    before = "".join(f"if {test} {{ y = v(y) }}\n    " for test in tests[:-1])
    return f"x = {made}(q)\n    y = q\n    {before}if {tests[-1]} {{ return w(y) }}\n    return y"


#: The body, and how often `w` is called.
KEPT = {
    "a label that is found anew": (
        """x = verdict(q)
    if x == "a" ~ 0.3 { x = again(w(q)) }
    if x == "a" ~ 0.1 { return w(q) }
    return v(q)""",
        0.4,
    ),
    "a truth that is found anew": (
        """x = good(q)
    if x ~ 0.4 { x = bad(q) }
    if not x ~ 0.9 { return w(q) }
    return v(q)""",
        0.9,
    ),
    "a number that is found anew": (
        """x = level(q)
    if x < 3 ~ 0.2 { x = better(q) }
    if x < 3 ~ 0.15 { return w(q) }
    return v(q)""",
        0.15,
    ),
    "a label that is found anew twice": (
        """x = verdict(q)
    if x == "a" ~ 0.5 { x = again(q) }
    if x == "a" ~ 0.2 { x = verdict(v(q)) }
    if x == "a" ~ 0.1 { return w(q) }
    return v(q)""",
        0.1,
    ),
    "what is found anew, and another test": (
        """x = verdict(q)
    if x == "a" ~ 0.5 { x = again(q) }
    y = q
    if x == "a" ~ 0.2 { y = v(y) }
    if x == "a" and good(q) ~ 0.1 { return w(y) }
    return y""",
        0.1,
    ),
    "an operand that is known, behind the other": (
        """y = q
    if good(q) ~ 0.5 { y = v(q) }
    if bad(q) and good(q) ~ 0.1 { return w(y) }
    return y""",
        0.1,
    ),
    "an operand that is known, before the other": (
        """y = q
    if good(q) ~ 0.5 { y = v(q) }
    if good(q) and bad(q) ~ 0.1 { return w(y) }
    return y""",
        0.1,
    ),
    "one of two, of which one is known": (
        """y = q
    if good(q) ~ 0.5 { y = v(q) }
    if bad(q) or good(q) ~ 0.6 { return w(y) }
    return y""",
        0.6,
    ),
    "neither of two, of which one is known": (
        """y = q
    if good(q) ~ 0.5 { y = v(q) }
    if not (bad(q) or not good(q)) ~ 0.2 { return w(y) }
    return y""",
        0.2,
    ),
    "three operands": (
        """y = q
    if good(q) ~ 0.5 { y = v(q) }
    if bad(q) and level(q) > 3 and good(q) ~ 0.1 { return w(y) }
    return y""",
        0.1,
    ),
    "two bounds in a chain": (
        """x = level(q)
    if x <= 2 ~ 0.2 { return v(q) }
    elif x < 4 and x > 2 ~ 0.3 { return w(q) }
    return q""",
        0.3,
    ),
    "another label behind a loop": (
        """t = q
    repeat up to 2 {
        t = v(t)
        x = verdict(t)
    } until x != "a" ~ 0.5
    if x == "b" ~ 0.7 { return w(t) }
    return t""",
        0.7,
    ),
    "a greater bound behind a loop": (
        """t = q
    repeat up to 3 {
        t = v(t)
        x = level(t)
    } until x > 0.7 ~ 0.5
    if x > 0.9 ~ 0.4 { return w(t) }
    return t""",
        0.4,
    ),
    "two tests together, of those that two returns leave": (
        """x = verdict(q)
    if x == "a" ~ 0.2 { return q }
    if good(q) ~ 0.5 { return q }
    if x == "b" and bad(q) ~ 0.3 { return w(q) }
    return v(q)""",
        0.12,
    ),
    "all numbers but one": (_twice("level", "x == 3 ~ 0.2", "x != 3"), 0.8),
    "one number, of those above a smaller bound": (
        _twice("level", "x < 2 ~ 0.3", "x == 3 ~ 0.2", "not x < 2 and x == 3"),
        0.2,
    ),
    "one number, of those below it": (_twice("level", "x == 3 ~ 0.2", "x < 3 and x == 3"), 0.0),
    "one number and another one": (_twice("level", "x == 3 ~ 0.2", "x == 4 ~ 0.3", "x != 3 and x != 4"), 0.5),
    "numbers below a bound": (_twice("level", "x == 3 ~ 0.2", "x == 1 ~ 0.1", "x < 4 and (x == 1 or x == 3)"), 0.3),
    "one number, between what is below and above it": (_twice("level", "x < 3 ~ 0.3", "x <= 3 ~ 0.5", "x == 3"), 0.2),
    "what is no more than a number": (_twice("level", "x < 3 ~ 0.3", "x == 3 ~ 0.2", "x <= 3"), 0.5),
    "what is less than a number": (_twice("level", "x == 3 ~ 0.2", "x > 3 ~ 0.3", "x < 3"), 0.5),
    "a bound that nobody asks for itself": (_twice("level", "x < 3 ~ 0.3", "x > 3"), 0.7),
    "a bound that a name is on one path": (
        """x = level(q)
    if good(q) ~ 0.4 { x = 3 }
    y = q
    if x < 3 ~ 0.3 { y = v(y) }
    if x <= 3 ~ 0.7 { return w(y) }
    return y""",
        0.7,
    ),
    "one number behind a loop": (
        """t = q
    repeat up to 2 {
        t = v(t)
        x = level(t)
    } until x == 3 ~ 0.5
    if x != 3 { return w(t) }
    return t""",
        0.25,
    ),
    "no items and some": (_twice("words", "count(x) == 0 ~ 0.1", "count(x) > 0"), 0.9),
    "one item": (_twice("words", "count(x) <= 1 ~ 0.4", "count(x) < 1 ~ 0.1", "count(x) == 1"), 0.3),
    "less than two items": (_twice("words", "count(x) == 0 ~ 0.1", "count(x) == 1 ~ 0.2", "count(x) < 2"), 0.3),
    "no part of an item": (_twice("words", "count(x) <= 1.5 ~ 0.1", "count(x) >= 2"), 0.9),
    "less than no items": (_twice("words", "count(x) < 0 or count(x) == 0.5 or count(x) == -1"), 0.0),
    "two numbers, the other way round": (_twice("level", "x < better(q) ~ 0.3", "better(q) > x"), 0.3),
    "two numbers, or not": (_twice("level", "x < better(q) ~ 0.3", "better(q) <= x"), 0.7),
    "two numbers that are equal": (
        _twice("level", "x < better(q) ~ 0.3", "x == better(q) ~ 0.1", "better(q) < x"),
        0.6,
    ),
    "two labels, the other way round": (_twice("verdict", "x != again(q) ~ 0.3", "again(q) == x"), 0.7),
    "two truths, of which one is a negation": (_twice("good", "x == bad(q) ~ 0.3", "(not bad(q)) != x"), 0.3),
    "what cannot be, as near as can be": (
        """y = q
    if good(q) ~ 0.2 { y = v(q) }
    if bad(q) and good(q) ~ 0.6 { return w(y) }
    return y""",
        0.2,
    ),
}


def _visits(components: str, body: str, folder: Path) -> Mapping[str, float]:
    path = folder / "p.rag"
    path.write_text(f"{components}pipeline ask(q: text ~ 10 tokens) -> text {{\n    {body}\n}}\n", encoding="utf-8")
    checked = check_files([path])
    assert checked.application is not None, checked.found
    assert {one.code for one in checked.found} <= {"W0502"}
    application = optimise(checked.application)
    found = demand(application, application.flows[0])
    assert found.exact
    return found.visits


@pytest.mark.parametrize("case", KEPT)
def test_a_share_is_kept_whatever_is_known_of_what_it_asks(case: str, tmp_path: Path) -> None:
    body, expected = KEPT[case]
    assert _visits(HEAD, body, tmp_path).get("w", 0.0) == pytest.approx(expected, abs=1e-6)


def test_shares_that_many_others_leave_open_are_searched_for_so_often_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions, "_MOST_TRIES_IN_ALL", 0)
    monkeypatch.setattr(taken, "_MOST_BALANCED", 0)
    body, _ = KEPT["a truth that is found anew"]
    assert _visits(HEAD, body, tmp_path)["w"] == pytest.approx(0.96)


def test_what_is_forgotten_leaves_functions_as_they_were() -> None:
    outcomes = Outcomes(100)
    one, other = outcomes.outcome(0.2), outcomes.outcome(0.5)
    both, mark = outcomes.both(one, other), outcomes.mark()
    outcomes.either(outcomes.outcome(0.3), both)
    outcomes.either(one, other)
    outcomes.back(mark)
    assert (outcomes.count, outcomes.mark()) == (2, mark)
    third = outcomes.outcome(0.9)
    assert outcomes.probability(outcomes.both(both, third)) == pytest.approx(0.09)
    assert outcomes.probability(outcomes.either(one, other)) == pytest.approx(0.6)


#: Values by name, and whether something holds of them.
_World = tuple[tuple[str, object], ...]
_When = Callable[[Mapping[str, object]], bool]
_HOLDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}


def _test(kind: str, name: str, draw: Random) -> tuple[str, _When]:
    """A test of a name."""
    is_negated = draw.random() < 0.5
    if kind == "truth":
        return (f"not {name}", lambda of: not of[name]) if is_negated else (name, lambda of: bool(of[name]))
    if kind == "label":
        label = draw.choice("abc")
        sign = "!=" if is_negated else "=="
        return f'{name} {sign} "{label}"', lambda of: (of[name] == label) != is_negated
    return _compared(name, draw.choice([*_HOLDS]), "3")


def _compared(one: str, sign: str, other: str) -> tuple[str, _When]:
    """How a name compares with another one, or with the number 3."""
    return f"{one} {sign} {other}", lambda of: _HOLDS[sign](of[one], of.get(other, 3))


class _Drawn:
    """A random pipeline whose components answer each for itself, and what part of the requests takes each arm."""

    def __init__(self, seed: int) -> None:
        self.draw = Random(seed)
        self.components = [HEAD.splitlines()[1]]
        self.lines = ["y = q"]
        self.likely: dict[_World, float] = {(): 1.0}
        self.kinds: dict[str, str] = {}
        #: How often the call in each arm is made.
        self.said: dict[str, float] = {}
        for name in ("one", "two", "three"):
            self.kinds[name] = self.draw.choice([*KINDS])
            self.lines.append(f"{name} = {self.answer(name, lambda _: True)}(q)")
            self.say_all(name)
        for _ in range(4):
            self.step()
        self.compare()

    def answer(self, name: str, when: _When) -> str:
        """Where something holds, let a name be what a new component answers."""
        made = f"c{len(self.components)}"
        self.components.append(f'component {made}(q: text) -> {KINDS[self.kinds[name]]} = small("{{q}} {made}")')
        values: Sequence[object] = {"label": "abc", "truth": (True, False), "number": (1, 3, 5)}[self.kinds[name]]
        weights = [self.draw.randint(1, 5) for _ in values]
        found: dict[_World, float] = {}
        for world, likely in self.likely.items():
            if not when(dict(world)):
                found[world] = found.get(world, 0.0) + likely
                continue
            for each, weight in zip(values, weights, strict=True):
                there = tuple(sorted({**dict(world), name: each}.items()))
                found[there] = found.get(there, 0.0) + likely * weight / sum(weights)
        self.likely = found
        return made

    def branch(self, test: str, when: _When, anew: str | None = None, *, is_said: bool = True) -> None:
        """A branch with the share of the requests of which its test holds; a name may be found anew in it."""
        share = sum(likely for world, likely in self.likely.items() if when(dict(world)))
        made = f"w{len(self.said)}"
        self.components.append(f'component {made}(q: text) -> text = small("{{q}} {made}")')
        self.said[made] = share
        inside = "" if anew is None else f"        {anew} = {self.answer(anew, when)}(q)\n"
        said = f" ~ {share:.12f}" if is_said else ""
        self.lines.append(f"if {test}{said} {{\n        y = {made}(y)\n{inside}    }}")

    def say_all(self, name: str) -> None:
        """Say how often a name is each of what it may be."""
        if self.kinds[name] == "truth":
            self.branch(name, lambda of: bool(of[name]))
        elif self.kinds[name] == "label":
            self.branch(f'{name} == "a"', lambda of: of[name] == "a")
            self.branch(f'{name} == "b"', lambda of: of[name] == "b")
        else:
            for sign in self.draw.sample(["<", "<=", "=="], 2):
                self.branch(*_compared(name, sign, "3"))
            for sign in _HOLDS:
                self.branch(*_compared(name, sign, "3"), is_said=False)

    def compare(self) -> None:
        """Say of two numbers how they compare, and ask so in all other words."""
        numbers = [name for name, kind in self.kinds.items() if kind == "number"]
        if len(numbers) < 2:
            return
        one, other = self.draw.sample(numbers, 2)
        for first, sign, second in self.draw.sample([(one, "<", other), (one, "==", other), (other, ">=", one)], 2):
            self.branch(*_compared(first, sign, second))
        for sign in _HOLDS:
            self.branch(*_compared(one, sign, other), is_said=False)
            self.branch(*_compared(other, sign, one), is_said=False)

    def step(self) -> None:
        """Find a name anew where a test of it or of another one holds, or ask about two names together."""
        one, other = self.draw.sample([*self.kinds], 2)
        test, when = _test(self.kinds[one], one, self.draw)
        another, also = _test(self.kinds[other], other, self.draw)
        match self.draw.choice(["and", "or", "anew", "anew"]):
            case "and":
                self.branch(f"{test} and {another}", lambda of: when(of) and also(of))
            case "or":
                self.branch(f"{test} or {another}", lambda of: when(of) or also(of))
            case _:
                anew = self.draw.choice([one, other])
                self.branch(test, when, anew)
                self.say_all(anew)


@pytest.mark.parametrize("seed", range(40))
def test_each_arm_is_taken_as_often_as_is_said(seed: int, tmp_path: Path) -> None:
    drawn = _Drawn(seed)
    visits = _visits("\n".join(drawn.components) + "\n", "\n    ".join([*drawn.lines, "return y"]), tmp_path)
    assert {name: visits.get(name, 0.0) for name in drawn.said} == pytest.approx(drawn.said, abs=1e-6)
