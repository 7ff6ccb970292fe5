"""Whatever a pipeline says, executing its flow gives what reading it line by line gives, and calls nothing else."""

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.types import Value
from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.policy.events import Answer, Fail, Failed, Finished, Send, Started
from harmonia_compiler.policy.frames import State
from harmonia_compiler.policy.stepper import advance
from harmonia_compiler.syntax.parser import parse
from tests.check.programs import Failure, Writer, reply
from tests.check.reading import Reference, made
from tests.examples import examples


def executed(path: Path, text: str, argument: Value, order: Random, *, fails: bool) -> tuple[Value, list[str]]:
    """The answer of the flow, None where it fails, and the calls that were sent; they end in any order."""
    path.write_text(text, encoding="utf-8")
    found = check_files([path])
    assert found.application is not None, found.found
    flow = next(flow for flow in found.application.flows if flow.name == "p")
    program = lower(flow, found.application)
    state = State()
    calls: list[str] = []
    pending: list[Any] = [Started({"q": argument})]
    while pending:
        for command in advance(program, state, pending.pop(order.randrange(len(pending)))):
            match command:
                case Send(call, component, inputs):
                    calls.append(made(component, inputs))
                    try:
                        pending.append(Finished(call, reply(component, inputs, fails=fails)))
                    except Failure:
                        pending.append(Failed(call, "it broke"))
                case Answer(value):
                    return value, calls
                case Fail():
                    return None, calls
    raise AssertionError("no answer")


def compare(folder: Path, random: Random, *, effects: bool) -> None:
    """Write a program, and compare what it does with what it means."""
    text = Writer(random, effects).program()
    fails = not effects
    reference = Reference(parse(Source("a.rag", text), Findings()), fails=fails)
    try:
        expected = reference.answer("p", "start")
    except Failure:
        expected = None
    if not reference.sure:
        return
    value, calls = executed(folder / "a.rag", text, "start", random, fails=fails)
    assert value == expected, text
    if expected is not None:
        assert not Counter(calls) - Counter(reference.calls), text
    if effects:
        notes = [call for call in calls if call.startswith("note")]
        meant = [call for call in reference.calls if call.startswith("note")]
        in_order = "each" not in text
        assert (notes if in_order else sorted(notes)) == (meant if in_order else sorted(meant)), text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@examples(150)
@given(random=st.randoms(use_true_random=False))
def test_a_flow_answers_what_its_text_says_where_calls_fail(random: Random, folder: Path) -> None:
    compare(folder, random, effects=False)


@examples(150)
@given(random=st.randoms(use_true_random=False))
def test_calls_that_are_not_pure_are_made_as_the_text_says(random: Random, folder: Path) -> None:
    compare(folder, random, effects=True)
