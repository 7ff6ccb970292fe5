"""Ordering the calls of twice as many branches is about twice the work: counted in lines executed, not in time."""

from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow import guards
from harmonia_compiler.flow.bits import Unions, bits
from harmonia_compiler.flow.calls import call_graph
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.expand import Expanded, expand
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.questions import Questions
from harmonia_compiler.flow.said import Said
from tests.executed import executed

HEAD = """
component a(q: text) -> text = python("m:a")
component ok(q: text) -> bool = python("m:ok")
component level(q: text) -> number = python("m:level")
pipeline p(q: text ~ 20 tokens) -> text {
    x = q
    is_so = ok(q)
    n = level(q)
"""
RETURNING = "a return among two arms on which it goes on, again and again"
SHAPES = {
    "a name bound anew on each test of its own": "if ok(q) ~ 0.3 {{ x = a(x) }}",
    "one value tested again and again": "if is_so ~ 0.3 {{ x = a(x) }}",
    "a return in an arm, again and again": "if is_so ~ 0.3 {{ if ok(q) ~ 0.1 {{ return a(x) }} }}",
    RETURNING: "if is_so ~ 0.3 {{ if ok(q) ~ 0.4 {{ return a(x) }} elif ok(q) ~ 0.2 {{ x = a(x) }} else {{ x = q }} }}",
    "more and more bounds of one value": "if n < {each} ~ {share:.6f} {{ x = a(x) }}",
}
FEW = 25
#: What twice as many add is little more than twice as much; where each looks at all others, it is 4 times as much.
MOST_GROWTH = 3.0


def read(shape: str, many: int) -> Application:
    lines = (SHAPES[shape].format(each=each + 1, share=(each + 1) / (many + 1)) for each in range(many))
    Path("a.rag").write_text("\n".join((HEAD, *lines, "return x\n}")), encoding="utf-8")
    application = check_files([Path("a.rag")]).application
    assert application is not None
    return application


@pytest.mark.parametrize("shape", SHAPES)
def test_work_grows_with_the_branches(shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work of finding what each call waits for, and what the source says of tests."""
    monkeypatch.chdir(tmp_path)

    def work(expanded: Expanded) -> None:
        questions = Questions(expanded)
        call_graph(expanded.flow)
        Said(expanded, questions.plain, questions.one_of_rounds, questions.places)

    # What is loaded once is loaded by the first one.
    flows = [expand(read(shape, many).flows[0]) for many in (5, FEW, 2 * FEW, 4 * FEW)]
    _, few, some, many = (executed(partial(work, each)) for each in flows)
    assert many - some < MOST_GROWTH * (some - few)


def test_what_is_so_on_ways_is_found_once_for_all_that_they_lead_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ways branch at each of these, inside of those before: looked through one by one, they double with each."""
    monkeypatch.chdir(tmp_path)

    def work(expanded: Expanded) -> None:
        questions = Questions(expanded)
        Said(expanded, questions.plain, questions.one_of_rounds, questions.places)

    flows = [expand(read(RETURNING, many).flows[0]) for many in (3, 4, 8)]
    _, few, many = (executed(partial(work, each)) for each in flows)
    assert many < 8 * few


@given(st.lists(st.integers(0, 2**70), min_size=1, max_size=40), st.lists(st.integers(0), max_size=8))
def test_a_union_is_that_of_all_its_sets(sets: list[int], masks: list[int]) -> None:
    unions = Unions(sets)
    for mask in masks:
        of = mask & (1 << len(sets)) - 1
        assert {*bits(unions.of(of))} == {each for number in bits(of) for each in bits(sets[number])}


LOOPS = """
component cl(q: text) -> "a" | "b" | "c" = python("m:cl")
component of(k: "a" | "b" | "c") -> text = python("m:of")
pipeline p(q: text ~ 9 tokens) -> text {{
    k = cl(q)
    repeat up to {many} {{
        repeat up to 2 {{
            if k == "a" {{ j = "b" }} else {{ j = cl(q) }}
        }} until j == "b"
        k = j
    }}
    return of(k)
}}
"""


def test_work_is_bounded_where_a_loop_within_a_loop_asks_what_the_round_before_has_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found where an arm is left out holds for one place alone: it doubles with each round from some on."""
    monkeypatch.setattr(guards, "_MOST_STEPS", (10_000, 4_000, 4_000))

    def work(many: int) -> int:
        (path := tmp_path / "a.rag").write_text(LOOPS.format(many=many))
        application = check_files([path]).application
        assert application is not None
        return executed(lambda: demand(application, application.flows[0]))

    assert work(24) < 4 * work(12)
