"""Labels of which nothing is said: each as often as each other one, by what is said of the rest, wherever it is said.

What is planned is held against random programs that are run for each label that a value may be.
"""

import itertools
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow.demand import Demand, demand
from harmonia_compiler.flow.passes.registry import optimise

LABELS = "abcde"


class Arm(NamedTuple):
    """A test for one of these labels, what is said of it, and the call that its block makes."""

    labels: str
    call: str
    share: float | None = None
    is_negated: bool = False

    @property
    def text(self) -> str:
        said = "" if self.share is None else f" ~ {self.share!r}"
        return " or ".join(f'v {"!=" if self.is_negated else "=="} "{label}"' for label in self.labels) + said


class Branch(NamedTuple):
    """Its arms, whether they return, and whether it stands inside of a branch on another value."""

    arms: list[Arm]
    returns: bool = False
    is_inside: bool = False


class Program:
    """A random one: a value, branches that say something of its labels, and others that ask for them."""

    def __init__(self, seed: int) -> None:
        self._random = random = Random(seed)
        self._calls = itertools.count(1)
        self._labels = LABELS[: random.randint(3, 5)]
        self._flag = random.choice([0.2, 0.5, 0.9])
        said = random.sample(self._labels, random.randint(1, len(self._labels) - 1))
        weights = [random.randint(1, 6) for _ in range(len(said) + 1)]
        of_each = {label: weight / sum(weights) for label, weight in zip(said, weights, strict=False)}
        #: The label that ends a loop which the value comes from, if it does; the only one that something is said of.
        self._until = said[0] if random.random() < 0.25 else None
        if self._until is not None:
            of_each = {self._until: of_each[self._until]}
        rest = (1.0 - sum(of_each.values())) / (len(self._labels) - len(of_each))
        self._likely = {label: of_each.get(label, rest) for label in self._labels}
        telling = [] if self._until is not None else [self._saying(label) for label in of_each]
        branches = [*telling, *(self._silent(self._labels) for _ in range(random.randint(1, 3)))]
        random.shuffle(branches)
        if self._until is None and random.random() < 0.3:
            branches = self._behind_a_return(said[0], of_each)
        self._branches = branches

    def _call(self) -> str:
        return f"w{next(self._calls)}"

    def _saying(self, label: str, of: float = 1.0) -> Branch:
        """One that says how often the value is a label, of so many: alone, or beside a silent arm."""
        share, call = self._likely[label] / of, self._call()
        others = [one for one in self._labels if one != label]
        other = Arm(
            "".join(self._random.sample(others, min(len(others), self._random.choice([1, 1, 2])))), self._call()
        )
        arm = Arm(label, call, share)
        each = [Arm(one, self._call()) for one in others]
        ways = [[arm], [arm, other], [other, arm], [*each, arm], [Arm(label, call, 1.0 - share, is_negated=True)]]
        return Branch(self._random.choice(ways))

    def _silent(self, labels: str) -> Branch:
        """One that says nothing, maybe inside of another one."""
        asked = self._random.sample(labels, self._random.randint(1, len(labels) - 1))
        is_inside = self._random.random() < 0.3
        if len(asked) == 1 and self._random.random() < 0.4:
            return Branch([Arm(asked[0], self._call(), is_negated=True)], is_inside=is_inside)
        if len(asked) > 2 and self._random.random() < 0.4:
            asked[:2] = ["".join(asked[:2])]
        return Branch([Arm(one, self._call()) for one in asked], is_inside=is_inside)

    def _behind_a_return(self, first: str, said: dict[str, float]) -> list[Branch]:
        """A branch that returns for one label, and others behind it, of those that are left."""
        gone, self._labels = self._labels, self._labels.replace(first, "")
        left = 1.0 - said[first]
        telling = [self._saying(label, left) for label in said if label != first]
        branches = [*telling, *(self._silent(self._labels) for _ in range(2))]
        self._random.shuffle(branches)
        self._labels = gone
        return [Branch([Arm(first, self._call(), said[first])], returns=True), *branches]

    @property
    def text(self) -> str:
        type_ = " | ".join(f'"{label}"' for label in self._labels)
        lines = [
            'component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)',
            f'component label(q: text) -> {type_} = small("label {{q}}")',
            'component flag(q: text) -> bool = small("flag {q}")',
            *(f'component w{at}(q: text) -> text = small("{{q}} {at}")' for at in range(next(self._calls))),
            "pipeline p(q: text ~ 9 tokens) -> text {",
            "    y = q",
        ]
        if self._until is None:
            lines.append("    v = label(q)")
        else:
            share = self._likely[self._until]
            lines.append(
                f'    repeat up to 2 {{\n y = w0(y)\n v = label(y)\n }} until v == "{self._until}" ~ {share!r}'
            )
        for arms, returns, is_inside in self._branches:
            texts = [f"{arm.text} {{ {'return' if returns else 'y ='} {arm.call}(y) }}" for arm in arms]
            branch = f"if {' elif '.join(texts)}"
            lines.append(f"    if flag(q) ~ {self._flag} {{ {branch} }}" if is_inside else f"    {branch}")
        return "\n".join((*lines, "    return w0(y)", "}"))

    @property
    def visits(self) -> dict[str, float]:
        """How often each call is made."""
        found: dict[str, float] = {}
        ends = 0.0 if self._until is None else self._likely[self._until]
        for label, likely in self._likely.items():
            at_last = (1.0 - ends) * likely + (ends if label == self._until else 0.0)
            for call, often in self._made(label):
                found[call] = found.get(call, 0.0) + at_last * often
        if self._until is not None:
            found["w0"] += 2.0 - ends
        return found

    def _made(self, value: str) -> list[tuple[str, float]]:
        found: list[tuple[str, float]] = []
        for arms, returns, is_inside in self._branches:
            taken = next((arm for arm in arms if (value in arm.labels) != arm.is_negated), None)
            if taken is not None:
                found.append((taken.call, self._flag if is_inside else 1.0))
                if returns:
                    return found
        return [*found, ("w0", 1.0)]


def planned(text: str, folder: Path) -> Demand:
    path = folder / "p.rag"
    path.write_text(text)
    checked = check_files([path])
    assert checked.application is not None, f"{checked.found}\n{text}"
    assert not [one for one in checked.found if one.code in ("W0501", "W0504")], f"{checked.found}\n{text}"
    application = optimise(checked.application)
    return demand(application, application.flows[0])


def comes_as(text: str, expected: dict[str, float], folder: Path, which: str) -> None:
    """A program's calls are planned as often as they are made, exactly, and no share is missed."""
    found = planned(text, folder)
    visits = {name: found.visits.get(name, 0.0) for name in expected}
    assert visits == pytest.approx(expected, abs=1e-6), f"{which}\n{text}"
    assert found.exact, f"{which}\n{text}"
    assert not found.missed, f"{which}\n{text}"


def agrees(seed: int, folder: Path) -> None:
    program = Program(seed)
    comes_as(program.text, program.visits, folder, f"seed {seed}")


@pytest.mark.parametrize("seed", range(30))
def test_each_silent_label_comes_as_often_as_each_other(seed: int, tmp_path: Path) -> None:
    agrees(seed, tmp_path)


@pytest.mark.slow
def test_in_many_more_they_do(tmp_path: Path) -> None:
    for seed in range(1_000, 2_000):
        agrees(seed, tmp_path)
