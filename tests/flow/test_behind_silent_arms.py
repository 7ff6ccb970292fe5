"""What is said of an arm behind silent ones is of all that reach its branch: planned so, or told to be missed.

Held against worlds in which values are independent, of which shares are taken or not.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow.demand import Demand, demand
from harmonia_compiler.flow.passes.registry import optimise

HEAD = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)
component sort(q: text) -> "a" | "b" | "c" = small("{q}")
component good(q: text) -> bool = small("{q}")
component bad(q: text) -> bool = small("Bad? {q}")
component u(t: text) -> text = small("First: {t}")
component v(t: text) -> text = small("Twice: {t}")
component w(t: text) -> text = small("Once: {t}")
pipeline ask(q: text ~ 10 tokens) -> text {
    k = sort(q)
    g = good(q)
    h = bad(q)
    y = q
"""

#: A label, and whether it is good, and bad.
_World = tuple[str, bool, bool]

TESTS: Mapping[str, Callable[[_World], bool]] = {
    "g": lambda of: of[1],
    "not g": lambda of: not of[1],
    "h": lambda of: of[2],
    "g and h": lambda of: of[1] and of[2],
    "g or h": lambda of: of[1] or of[2],
    "not g and h": lambda of: not of[1] and of[2],
    'k == "a"': lambda of: of[0] == "a",
    'k == "a" and g': lambda of: of[0] == "a" and of[1],
    'k == "a" or g': lambda of: of[0] == "a" or of[1],
}

#: How often each label comes, and each truth holds.
_WORLD: Mapping[_World, float] = {
    (label, good, bad): likely * (0.6 if good else 0.4) * (0.3 if bad else 0.7)
    for label, likely in (("a", 0.5), ("b", 0.3), ("c", 0.2))
    for good in (True, False)
    for bad in (True, False)
}

#: Two tests, the second one of which no label is left for where the first one takes this one from all others.
_BOTH = [
    (one, other)
    for one, other in itertools.permutations(TESTS, 2)
    if one not in ('k == "a"', 'k == "a" or g') or "k" not in other
]
#: Of these, the ones of which the second one may hold where the first one does not.
_PAIRS = [(one, other) for one, other in _BOTH if any(TESTS[other](of) and not TESTS[one](of) for of in _WORLD)]


def _planned(folder: Path, lines: Sequence[str]) -> Demand:
    path = folder / "p.rag"
    path.write_text(HEAD + "".join(f"    {line}\n" for line in lines) + "}\n", encoding="utf-8")
    checked = check_files([path])
    assert checked.application is not None, checked.found
    application = optimise(checked.application)
    return demand(application, application.flows[0])


def _chain(first: str, second: str, share: float) -> list[str]:
    return [f"if {first} {{ return v(y) }}", f"elif {second} ~ {share!r} {{ return w(y) }}", "return y"]


def _share(test: str, but: str | None = None) -> float:
    """How often a test holds, and another one does not."""
    return sum(likely for of, likely in _WORLD.items() if TESTS[test](of) and not (but and TESTS[but](of)))


@pytest.mark.parametrize("before", [None, *TESTS])
@pytest.mark.parametrize(("first", "second"), _PAIRS)
def test_what_independent_values_can_keep_is_kept(before: str | None, first: str, second: str, tmp_path: Path) -> None:
    share = _share(second, but=first)
    said = {"w": share} if before is None else {"u": _share(before), "w": share}
    lines = [] if before is None else [f"if {before} ~ {said['u']!r} {{ y = u(y) }}"]
    found = _planned(tmp_path, [*lines, *_chain(first, second, share)])
    assert {name: found.visits[name] for name in said} == pytest.approx(said, abs=1e-6)
    assert found.missed == ()


@pytest.mark.parametrize("share", [0.45, 0.6, 0.9])
@pytest.mark.parametrize(("first", "second"), _BOTH)
def test_what_is_not_kept_is_told(first: str, second: str, share: float, tmp_path: Path) -> None:
    found = _planned(tmp_path, _chain(first, second, share))
    visits = found.visits.get("w", 0.0)
    if found.missed:
        [missed] = found.missed
        assert missed.said == share
        assert missed.found == pytest.approx(visits, abs=1e-6)
    else:
        assert visits == pytest.approx(share, abs=1e-6)


def test_however_many_shares_are_written_it_is_told_which_are_missed(tmp_path: Path) -> None:
    many = 61
    found = _planned(tmp_path, [*["if g { y = v(y) } elif g and h ~ 0.25 { y = w(y) }"] * many, "return y"])
    assert "w" not in found.visits
    assert [(one.said, one.found) for one in found.missed] == [(0.25, 0.0)] * many
