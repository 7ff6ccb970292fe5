"""Random programs whose shares follow from how likely answers are: what is planned is what follows for each call.

A world is what all values are; what the calls answer is independent of each other. Every branch says its share, which
is worked out from the worlds that reach it: so shares never contradict each other, whatever is asked where.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.passes.registry import PASSES, optimise

HEAD = """component small = llm("SmolLM2-135M-Instruct", max_tokens: 8)
component good(q: text) -> bool = small("Good? {q}")
component sort(q: text) -> "a" | "b" | "c" = small("Sort {q}")
component level(q: text) -> number = small("Level {q}")
component other(q: text) -> number = small("Other {q}")
component graded(q: text) -> (n: number, t: text) = small("Grade {q}")
"""
NUMBERS = (-1, 0, 1.5, 3, 4)
#: The names of values, how each is bound, and what it may be: of `a` and `b` it is what `a` is more than `b`.
VALUES: Mapping[str, tuple[str, Sequence[object]]] = {
    "t": ("t = good(q)", (True, False)),
    "l": ("l = sort(q)", "abc"),
    "n": ("n = level(q)", NUMBERS),
    "r.n": ("r = graded(q)", NUMBERS),
    "a - b": ("a = level(q)\n    b = other(q)", (-1, 0, 1)),
}
_COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}

Holds = Callable[[object], bool]


class World(NamedTuple):
    """What all values are, and how likely that is."""

    values: Mapping[str, object]
    likely: float


class Program:
    """One random program. `calls` says of each component how often it is called."""

    def __init__(self, seed: int) -> None:
        self.draw = Random(seed)
        self.names = self.draw.sample([*VALUES], self.draw.randint(1, 3))
        weights = [{value: self.draw.choice([1, 1, 2, 5, 9]) for value in VALUES[name][1]} for name in self.names]
        worlds = [World({}, 1.0)]
        for name, of in zip(self.names, weights, strict=True):
            worlds = [
                World({**world.values, name: value}, world.likely * weight / sum(of.values()))
                for world, (value, weight) in product(worlds, of.items())
            ]
        self.returning = self.draw.choice([0.0, 0.2, 0.4])
        self.calls: dict[str, float] = {}
        self.lines: list[str] = []
        on = self.block(worlds, self.draw.randint(1, 3), "    ")
        if on:
            self.call(on, "    return")

    @property
    def text(self) -> str:
        """The program."""
        components = (f'component {name}(q: text) -> text = small("{name} {{q}}")' for name in self.calls)
        bound = "\n    ".join(VALUES[name][0] for name in self.names)
        head = f"pipeline p(q: text ~ 10 tokens) -> text {{\n    load 1 rps\n    {bound}\n    y = q"
        return "\n".join([HEAD, *components, head, *self.lines, "}\n"])

    def call(self, worlds: Sequence[World], to: str) -> None:
        """Call what nothing else calls."""
        name = f"w{len(self.calls)}"
        self.calls[name] = _likely(worlds)
        self.lines.append(f"{to} {name}(y)")

    def block(self, worlds: Sequence[World], depth: int, indent: str) -> Sequence[World]:
        """Statements that these worlds reach; gives those that go on behind."""
        for _ in range(self.draw.randint(1, 2)):
            if depth and worlds and self.draw.random() < 0.8:
                worlds = self.branch(worlds, depth, indent)
        return worlds

    def arm(self, worlds: Sequence[World], depth: int, indent: str) -> Sequence[World]:
        """The block of an arm, which calls something before or behind its branches."""
        if self.draw.random() < self.returning:
            self.call(worlds, f"{indent}return")
            return ()
        is_before = self.draw.random() < 0.5
        if is_before:
            self.call(worlds, f"{indent}y =")
        worlds = self.block(worlds, depth - 1, indent)
        if worlds and not is_before:
            self.call(worlds, f"{indent}y =")
        return worlds

    def branch(self, worlds: Sequence[World], depth: int, indent: str) -> Sequence[World]:
        """A chain of tests of which each may hold or not."""
        left, on, begins = worlds, list[World](), "if"
        for _ in range(self.draw.randint(1, 3)):
            text, name, holds = self.test()
            taken = [world for world in left if holds(world.values[name])]
            if not 0 < len(taken) < len(left):
                continue
            self.lines.append(f"{indent}{begins} {text} ~ {_likely(taken) / _likely(worlds)!r} {{")
            on += self.arm(taken, depth, f"{indent}    ")
            left, begins = [world for world in left if not holds(world.values[name])], "} elif"
        if begins == "if":
            return worlds
        if self.draw.random() < 0.4:
            self.lines.append(f"{indent}}} else {{")
            left = [*self.arm(left, depth, f"{indent}    ")]
        self.lines.append(f"{indent}}}")
        return [*on, *left]

    def test(self) -> tuple[str, str, Holds]:
        """A test in some words, the name of what it asks about, and when it holds."""
        name = self.draw.choice(self.names)
        if name == "t":
            text = self.draw.choice(["t", "not t", "t == true", "t != true"])
            return text, name, operator.truth if text in ("t", "t == true") else operator.not_
        compared = self.draw.choice(["==", "!="] if name == "l" else [*_COMPARED])
        bound: object = 0 if name == "a - b" else self.draw.choice([*VALUES[name][1], *((2,) if name != "l" else ())])
        left, right = ("a", "b") if name == "a - b" else (name, f'"{bound}"' if name == "l" else str(bound))
        turn = self.draw.random() < 0.4
        text = f"{right} {_TURNED[compared]} {left}" if turn else f"{left} {compared} {right}"

        def holds(value: object) -> bool:
            return _COMPARED[compared](value, bound)

        if self.draw.random() < 0.15:
            return f"not ({text})", name, lambda value: not holds(value)
        return text, name, holds


def _likely(worlds: Sequence[World]) -> float:
    return sum(world.likely for world in worlds)


def agrees(seed: int, folder: Path, without: Sequence[str] = ()) -> None:
    """Of a random program, each call is planned as often as it is made, and no warning doubts its shares."""
    program, path = Program(seed), folder / "p.rag"
    path.write_text(program.text)
    checked = check_files([path])
    assert checked.application is not None, checked.found
    assert not [one for one in checked.found if one.code in ("W0501", "W0504")], f"seed {seed}\n{program.text}"
    application = optimise(checked.application, without=tuple(without))
    found = demand(application, application.flows[0])
    visits = {name: found.visits.get(name, 0.0) for name in program.calls}
    assert not found.exact or visits == pytest.approx(program.calls, abs=1e-6), f"seed {seed}\n{program.text}"


@pytest.mark.parametrize("some", range(4))
def test_calls_are_planned_as_often_as_they_are_made(some: int, tmp_path: Path) -> None:
    for seed in range(50 * some, 50 * some + 50):
        agrees(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("without", [None, *(one.name for one in PASSES)])
def test_so_they_are_whichever_pass_is_left_out(without: str | None, tmp_path: Path) -> None:
    for seed in range(1_000, 1_400):
        agrees(seed, tmp_path, [] if without is None else [without])
