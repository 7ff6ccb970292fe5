"""Each pass against its text fixture, and every pass against the reference interpreter."""

import re
from dataclasses import replace
from pathlib import Path
from pkgutil import iter_modules

import pytest
from hypothesis import given, settings

from harmonia_compiler.contract.types import fits
from harmonia_compiler.flow import passes as package
from harmonia_compiler.flow.graph import Flow
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.flow.passes.definition import Context, Pass
from harmonia_compiler.flow.passes.registry import PASSES, apply, optimise, selected, unmet
from harmonia_compiler.flow.text import show_flow
from tests.flow.library import KINDS, application, read_flow
from tests.flow.random_flows import flows
from tests.policy.reference import run

FIXTURES = Path(__file__).parent / "passes"


def _cases() -> list[object]:
    cases: list[object] = []
    for each in PASSES:
        text = (FIXTURES / f"{each.name}.txt").read_text(encoding="utf-8")
        for case in re.split(r"^# ", text, flags=re.MULTILINE)[1:]:
            title, _, body = case.partition("\n")
            before, after = body.split("---\n")
            cases.append(pytest.param(each, before, after.strip() + "\n", id=f"{each.name}: {title}"))
    return cases


def _rewrite(each: Pass, flow: Flow) -> Flow:
    return each.rewrite(flow, Context(application(flow), KINDS))


@pytest.mark.parametrize(("each", "before", "after"), _cases())
def test_the_pass_gives_the_text_of_its_fixture(each: Pass, before: str, after: str) -> None:
    assert show_flow(_rewrite(each, read_flow(before))) == after


def test_every_pass_and_no_other_has_its_file_its_fixture_and_its_place() -> None:
    modules = {found.name for found in iter_modules(package.__path__)} - {"definition", "registry"}
    assert modules == {each.name for each in PASSES} == {path.stem for path in FIXTURES.iterdir()}


@given(flows())
@settings(max_examples=150, deadline=None)
def test_every_pass_keeps_answers_and_types_and_is_idempotent(flow: Flow) -> None:
    arguments = {"question": "why?"}
    expected, _ = run(lower(flow, application(flow)), arguments)
    for each in PASSES:
        after = _rewrite(each, flow)
        assert _rewrite(each, after) == after
        assert run(lower(after, application(after)), arguments)[0] == expected
        assert after.nodes[after.result].type == flow.nodes[flow.result].type
        assert replace(after, nodes=(), result=0) == replace(flow, nodes=(), result=0)
    together = optimise(application(flow), kinds=KINDS)
    assert run(lower(together.flows[0], together), arguments)[0] == expected
    assert optimise(together, kinds=KINDS) == together


@given(flows())
@settings(max_examples=100, deadline=None)
def test_no_pass_adds_calls_but_for_embeddings(flow: Flow) -> None:
    arguments = {"question": "why?"}
    expanded = apply(PASSES[:1], flow, Context(application(flow), KINDS))
    _, before = run(lower(expanded, application(flow)), arguments)
    _, after = run(lower(optimise(application(flow), kinds=KINDS).flows[0], application(flow)), arguments)
    assert len(after) <= len(before)


def test_a_label_still_fits_where_a_text_is_wanted_after_merging() -> None:
    flow = read_flow("""
        pipeline p(question: text) -> text
          %0 = parameter question : text
          %1 = call route(question: %0) : "none" | "one" | "many"
          %2 = call rewrite(question: %1) : text
          return %2
        """)
    after = optimise(application(flow), kinds=KINDS).flows[0]
    assert fits(after.nodes[1].type, after.nodes[0].type)


def test_each_pass_finds_what_it_needs() -> None:
    assert unmet(PASSES) == []
    assert unmet(PASSES[1:]) == ["common_subexpressions needs 'explicit vectors'"]


def test_leaving_a_pass_out_leaves_out_what_needs_its_gift() -> None:
    assert [each.name for each in selected({"expand_retrieval"})] == ["dead_code"]
    assert [each.name for each in selected({"dead_code"})] == ["expand_retrieval", "common_subexpressions"]


def test_stopping_after_a_pass_keeps_the_earlier_ones() -> None:
    assert [each.name for each in selected(last="common_subexpressions")] == [
        "expand_retrieval",
        "common_subexpressions",
    ]


def test_an_unknown_pass_is_named() -> None:
    with pytest.raises(ValueError, match="no pass is called inline"):
        selected({"inline"})
