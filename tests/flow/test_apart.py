"""Shares of one value that differ from arm to arm of another value's tests, or behind a return, are each kept."""

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow.demand import Demand, demand
from harmonia_compiler.flow.passes.registry import optimise

HEAD = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)
component good(q: text) -> bool = small("{q}")
component bad(q: text) -> bool = small("Bad? {q}")
component verdict(q: text) -> "a" | "b" | "c" = small("{q}")
component level(q: text) -> number = small("{q}")
component w(t: text) -> text = small("Once: {t}")
component v(t: text) -> text = small("Twice: {t}")
"""

#: The body, and how often `w` and `v` are called.
KEPT: dict[str, tuple[str, float, float]] = {
    "from arm to arm": (
        """g = good(q)
    x = verdict(q)
    y = q
    if g ~ 0.5 {
        if x == "a" ~ 0.9 { y = w(y) }
    } else {
        if x == "a" ~ 0.4 { y = v(y) }
    }
    return y""",
        0.45,
        0.2,
    ),
    "equal calls in both arms": (
        """g = good(q)
    x = verdict(q)
    y = q
    if g ~ 0.5 {
        if x == "a" ~ 0.9 { y = w(q) }
    } else {
        if x == "a" ~ 0.4 { y = w(q) }
    }
    return v(y)""",
        0.65,
        1.0,
    ),
    "behind a return": (
        """g = good(q)
    y = q
    if g ~ 0.4 { y = v(y) }
    if verdict(q) == "a" ~ 0.5 { return y }
    if g ~ 0.25 { y = w(y) }
    return y""",
        0.125,
        0.4,
    ),
    "behind two returns": (
        """g = good(q)
    y = q
    if g ~ 0.5 { y = v(y) }
    if verdict(q) == "a" ~ 0.5 { return y }
    if bad(q) ~ 0.5 { return y }
    if g ~ 0.2 { y = w(y) }
    return y""",
        0.05,
        0.5,
    ),
    "of all, and in an arm, which leaves the others fewer": (
        """g = good(q)
    x = verdict(q)
    y = q
    if g ~ 0.3 { y = v(y) }
    if x == "a" ~ 0.5 {
        if g ~ 0.4 { y = w(y) }
    } elif g ~ 0.1 { y = w(y) }
    return y""",
        0.3,
        0.3,
    ),
    "labels that sum to more than 1": (
        """g = good(q)
    x = verdict(q)
    y = q
    if x == "a" ~ 0.6 { y = v(y) }
    if g ~ 0.5 {
        if x == "b" ~ 0.7 { y = w(y) }
    }
    return y""",
        0.35,
        0.6,
    ),
    "behind tests of the same value": (
        """g = good(q)
    x = verdict(q)
    y = q
    if g ~ 0.5 {
        if x == "a" ~ 0.2 { y = v(y) } elif x == "b" ~ 0.6 { y = w(y) }
    } else {
        if x == "a" ~ 0.6 { y = v(y) } elif x == "b" ~ 0.2 { y = w(y) }
    }
    return y""",
        0.4,
        0.4,
    ),
    "in arms of a test that is made of two": (
        """g = good(q)
    h = bad(q)
    x = level(q)
    y = q
    if g and h ~ 0.2 {
        if x < 3 ~ 0.9 { y = w(y) }
    } else {
        if x < 3 ~ 0.1 { y = v(y) }
    }
    return y""",
        0.18,
        0.08,
    ),
    "behind a return of those of whom two tests hold": (
        """g = good(q)
    x = verdict(q)
    y = q
    if g ~ 0.25 { y = w(y) }
    if x == "a" ~ 0.4 { if bad(q) ~ 0.25 { return y } }
    if g ~ 0.2 { y = v(y) }
    return y""",
        0.25,
        0.18,
    ),
    "behind an arm that combines the value with another one": (
        """g = good(q)
    h = bad(q)
    y = q
    if g and h ~ 0.3 { y = w(y) } elif g ~ 0.1 { y = v(y) }
    return y""",
        0.3,
        0.1,
    ),
    "behind the return of an arm of one value, where another one combines it": (
        """g = good(q)
    x = verdict(q)
    y = q
    if x == "a" and g ~ 0.2 { y = w(y) } elif x == "a" ~ 0.1 { return v(y) }
    if g ~ 0.5 { y = w(y) }
    return y""",
        0.2 + 0.45,
        0.1,
    ),
    "where either value is told by the other": (
        """g = good(q)
    h = bad(q)
    y = q
    if g ~ 0.5 { if h ~ 0.9 { y = v(y) } }
    if h ~ 0.6 { if g ~ 0.75 { y = w(y) } }
    return y""",
        0.45,
        0.45,
    ),
    "behind a silent arm, within another test": (
        """g = good(q)
    x = verdict(q)
    y = q
    if x == "a" ~ 0.25 { y = w(y) } elif x == "b" ~ 0.5 { y = w(y) }
    if g ~ 0.5 { y = w(y) }
    if g {
        if x == "b" { y = v(y) } elif x == "c" ~ 0.25 { y = w(y) }
    }
    return y""",
        0.75 + 0.5 + 0.125,
        0.25,
    ),
    "behind silent arms of which one rests on the other": (
        """g = good(q)
    x = verdict(q)
    y = q
    if x == "a" ~ 0.25 { y = w(y) } elif x == "b" ~ 0.5 { y = w(y) }
    if g ~ 0.2 { y = w(y) }
    if not g { y = w(y) } elif x == "c" { y = v(y) } elif g ~ 0.15 { y = w(y) }
    return y""",
        0.75 + 0.2 + 0.8 + 0.15,
        0.05,
    ),
    "behind a silent arm and another one that rests on it": (
        """g = good(q)
    x = level(q)
    y = q
    if x > 0 ~ 0.6 { y = w(y) }
    if x <= -1 ~ 0.3 { y = w(y) }
    if x > 0 { y = w(y) } elif g ~ 0.36 { y = v(y) } elif x <= -1 ~ 0.03 { y = w(y) }
    if g { y = v(y) }
    return y""",
        0.6 + 0.3 + 0.6 + 0.03,
        0.36 + 0.9,
    ),
    "behind a silent arm that asks what stood before, and what is older than that": (
        """g = good(q)
    x = level(q)
    y = q
    if g ~ 0.5 { y = w(y) }
    if x < 2 ~ 0.6 { y = w(y) }
    if x == 4 ~ 0.2 { y = w(y) } elif x < 2 {
        if g { return v(y) }
        y = w(y)
    } elif g ~ 0.1 { y = v(y) }
    return y""",
        0.5 + 0.6 + 0.2 + 0.3,
        0.3 + 0.1,
    ),
    "behind a silent arm of which a later branch tells": (
        """g = good(q)
    x = verdict(q)
    y = q
    if g ~ 0.25 { y = w(y) } elif x == "a" { y = v(y) } elif x == "b" ~ 0.3 { y = w(y) }
    if x == "a" ~ 0.5 { y = w(y) } elif x == "b" ~ 0.4 { y = w(y) }
    return y""",
        0.25 + 0.3 + 0.9,
        0.375,
    ),
    "behind a silent arm, in a branch whose last arm returns": (
        """g = good(q)
    x = verdict(q)
    y = q
    if x == "a" ~ 0.25 { y = w(y) } elif x == "b" ~ 0.5 { y = w(y) }
    if g ~ 0.5 { y = w(y) }
    if not g { y = w(y) } elif x == "c" ~ 0.125 { y = v(y) } elif g and x != "a" { return w(q) }
    return y""",
        0.25 + 0.25 + 0.25 + 0.5 + 0.25,
        0.125,
    ),
    "behind a silent arm that tells on which way requests have come": (
        """g = good(q)
    x = verdict(q)
    y = q
    if g ~ 0.5 { y = w(y) } elif x == "a" ~ 0.25 { return y }
    if x != "a" { y = w(y) } elif bad(q) ~ 0.1 { y = v(y) }
    return y""",
        0.5 + 0.5,
        0.075,
    ),
    "behind the return of the same value, in another one's arm": (
        """g = good(q)
    y = q
    if not bad(q) ~ 0.4 { if g ~ 0.25 { return v(y) } }
    if g ~ 0.2 { y = w(y) }
    return y""",
        0.18,
        0.1,
    ),
    "behind returns of the same value, of a label": (
        """g = good(q)
    x = verdict(q)
    y = q
    if g ~ 0.5 {
        if x == "a" ~ 0.25 { return v(y) }
        if x == "b" ~ 0.5 { return v(y) }
    }
    if x == "b" ~ 0.3 { y = w(y) }
    return y""",
        0.3 * (1 - 0.125 - 0.1875),
        0.125 + 0.1875,
    ),
    "behind the return of the same value, and of all": (
        """g = good(q)
    y = q
    if g ~ 0.28 { y = w(y) }
    if not bad(q) ~ 0.4 { if g ~ 0.25 { return v(y) } }
    if g ~ 0.2 { y = w(y) }
    return y""",
        0.28 + 0.18,
        0.1,
    ),
    "behind the return of the same value, of numbers below each other": (
        """n = level(q)
    y = q
    if n < 4 ~ 0.5 { y = v(y) }
    if n < 2 ~ 0.3 { y = v(y) }
    if good(q) ~ 0.5 { if n < 2 ~ 0.5 { return y } }
    if n < 2 ~ 0.066666666666666666 { y = w(y) }
    return y""",
        0.05,
        0.8,
    ),
    "behind the return of a test that is made of the same value": (
        """g = good(q)
    x = verdict(q)
    y = q
    if x == "a" ~ 0.25 { y = w(y) } elif x == "b" ~ 0.5 { y = v(y) }
    if g and x != "c" ~ 0.375 { return y }
    if x == "c" ~ 0.4 { y = w(y) }
    return y""",
        0.25 + 0.25,
        0.5,
    ),
    "behind a test that is made of the same value, with a name": (
        """g = good(q)
    x = verdict(q)
    y = q
    both = g and x != "c"
    if x == "a" ~ 0.25 { y = w(y) } elif x == "b" ~ 0.5 { y = v(y) }
    if both ~ 0.375 { y = w(y) } elif x == "c" ~ 0.25 { y = w(y) }
    return y""",
        0.25 + 0.375 + 0.25,
        0.5,
    ),
    "in eight rounds, which end by the same value": (
        """t = q
    repeat up to 8 {
        g = good(t)
        x = verdict(t)
        if g ~ 0.5 {
            if x == "a" ~ 0.9 { t = w(t) }
        } else {
            if x == "a" ~ 0.4 { t = v(t) }
        }
    } until x == "c" ~ 0.1
    return t""",
        0.45 * sum(0.9**each for each in range(8)),
        0.2 * sum(0.9**each for each in range(8)),
    ),
    "in more rounds than shares may differ": (
        """t = q
    repeat up to 51 {
        g = good(t)
        x = verdict(t)
        if g ~ 0.5 {
            if x == "a" ~ 0.9 { t = w(t) }
        } else {
            if x == "a" ~ 0.4 { t = v(t) }
        }
    } until bad(t) ~ 0.02
    return t""",
        0.45 * sum(0.98**each for each in range(51)),
        0.2 * sum(0.98**each for each in range(51)),
    ),
    "in the rounds of a loop": (
        """t = q
    repeat up to 2 {
        g = good(t)
        x = verdict(t)
        if g ~ 0.5 {
            if x == "a" ~ 0.9 { t = w(t) }
        } else {
            if x == "a" ~ 0.4 { t = v(t) }
        }
    } until bad(t) ~ 0.5
    return t""",
        0.675,
        0.3,
    ),
}


def _demand(components: str, body: str, folder: Path) -> Demand:
    path = folder / "p.rag"
    path.write_text(f"{components}pipeline ask(q: text ~ 10 tokens) -> text {{\n    {body}\n}}\n", encoding="utf-8")
    checked = check_files([path])
    assert checked.application is not None, checked.found
    assert {one.code for one in checked.found} <= {"W0502"}
    application = optimise(checked.application)
    found = demand(application, application.flows[0])
    assert found.exact
    return found


@pytest.mark.parametrize("case", KEPT)
def test_each_share_is_of_the_requests_that_reach_it(case: str, tmp_path: Path) -> None:
    body, *expected = KEPT[case]
    visits = _demand(HEAD, body, tmp_path).visits
    assert [visits.get(name, 0.0) for name in "wv"] == pytest.approx(expected, abs=1e-6)


def test_answers_are_drawn_as_often_as_over_all_requests(tmp_path: Path) -> None:
    body, _, _ = KEPT["from arm to arm"]
    found = _demand(HEAD, body, tmp_path)
    shares = {share for tests in found.likely.values() for test, share in tests.items() if test == "a"}
    assert [*shares] == pytest.approx([0.65])


def test_shares_that_need_each_other_are_planned_by_the_first(tmp_path: Path) -> None:
    """How often either holds can be known by the other alone, and the other way round."""
    body = """g = good(q)
    h = bad(q)
    y = q
    if g ~ 0.5 { if h ~ 0.9 { y = v(y) } }
    if h ~ 0.5 { if g ~ 0.2 { y = w(y) } }
    return y"""
    assert _demand(HEAD, body, tmp_path).visits["v"] == pytest.approx(0.45)


#: What three calls answer together, and how likely.
_World = Mapping[str, object]
_When = Callable[[_World], bool]

#: Tests of each.
TESTS: Mapping[str, Mapping[str, _When]] = {
    "g": {"g": lambda of: of["g"] is True, "not g": lambda of: of["g"] is False},
    "x": {
        'x == "a"': lambda of: of["x"] == "a",
        'x == "b"': lambda of: of["x"] == "b",
        'x != "c"': lambda of: of["x"] != "c",
    },
    "n": {"n < 2": lambda of: of["n"] == 1, "n < 4": lambda of: of["n"] != 5, "n >= 4": lambda of: of["n"] == 5},
}


def _everyone(_: _World) -> bool:
    return True


def _both(when: _When, among: _When) -> _When:
    return lambda of: when(of) and among(of)


def _but(when: _When, among: _When) -> _When:
    return lambda of: not when(of) and among(of)


class _Drawn:
    """A random pipeline of three calls whose answers go together at random, with the shares that follow from that."""

    def __init__(self, seed: int) -> None:
        self.draw = Random(seed)
        weights = {
            (g, x, n): self.draw.choice([1, 1, 2, 5, 9]) for g in (True, False) for x in "abc" for n in (1, 3, 5)
        }
        total = sum(weights.values())
        self.worlds = [({"g": g, "x": x, "n": n}, weight / total) for (g, x, n), weight in weights.items()]
        self.components = [HEAD]
        self.lines = ["g = good(q)", "x = verdict(q)", "n = level(q)", "y = q"]
        #: How often the call in each arm is made.
        self.said: dict[str, float] = {}
        behind: _When = _everyone
        statements = self.draw.choice(
            [["tree", "n", "x"], ["n", "x", "return", "x", "n"], ["n", "inner", "n"], ["x", "n", "inner", "n"]]
        )
        for each in statements:
            match each:
                case "tree":
                    self.branch("g", behind, ["x", "n"])
                case "return":
                    test = self.draw.choice([*TESTS["g"]])
                    self.lines.append(f"if {test} ~ {self.share(TESTS['g'][test], behind):.12f} {{ return y }}")
                    behind = _but(TESTS["g"][test], behind)
                case "inner":
                    test, other = (self.draw.choice([*TESTS[name]]) for name in "gx")
                    first = _both(TESTS["g"][test], behind)
                    share = self.share(TESTS["x"][other], first)
                    self.lines.append(f"if {test} ~ {self.share(TESTS['g'][test], behind):.12f} {{")
                    self.lines.append(f"if {other} ~ {share:.12f} {{ return y }} }}")
                    behind = _but(_both(TESTS["x"][other], first), behind)
                case _:
                    self.branch(each, behind, [])

    def likely(self, when: _When) -> float:
        return sum(likely for world, likely in self.worlds if when(world))

    def share(self, when: _When, among: _When) -> float:
        return self.likely(_both(when, among)) / self.likely(among)

    def branch(self, name: str, among: _When, inside: list[str]) -> None:
        """Branches on each test of a name among some requests, in whose arms others are tested."""
        for test in self.draw.sample([*TESTS[name]], 1 if inside else self.draw.randint(1, len(TESTS[name]))):
            when = TESTS[name][test]
            made = f"w{len(self.said)}"
            self.components.append(f'component {made}(q: text) -> text = small("{{q}} {made}")\n')
            self.said[made] = self.likely(_both(when, among))
            self.lines += [f"if {test} ~ {self.share(when, among):.12f} {{", f"y = {made}(y)"]
            for at, other in enumerate(inside):
                if self.draw.random() < 0.7:
                    self.branch(other, _both(when, among), inside[at + 1 :])
            self.lines.append("} else {")
            for at, other in enumerate(inside):
                if self.draw.random() < 0.7:
                    self.branch(other, _but(when, among), inside[at + 1 :])
            self.lines[-1:] = ["}"] if self.lines[-1] == "} else {" else [self.lines[-1], "}"]


@pytest.mark.parametrize("seed", range(40))
def test_each_arm_is_taken_as_often_as_answers_that_go_together_say(seed: int, tmp_path: Path) -> None:
    drawn = _Drawn(seed)
    visits = _demand("".join(drawn.components), "\n    ".join([*drawn.lines, "return y"]), tmp_path).visits
    assert {name: visits.get(name, 0.0) for name in drawn.said} == pytest.approx(drawn.said, abs=1e-6)
