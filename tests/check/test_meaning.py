"""Whatever a pipeline says, executing its flow gives what reading it line by line gives, and calls nothing else.

So it does after the passes, whichever of them are left out.
"""

from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.types import Value
from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.flow.passes.registry import PASSES, optimise
from harmonia_compiler.flow.takes import Takes
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.policy.events import Answer, Fail, Failed, Finished, Send, Started, items_of
from harmonia_compiler.policy.frames import State
from harmonia_compiler.policy.stepper import advance
from harmonia_compiler.syntax.parser import parse
from tests.check.programs import Failure, Writer, reply
from tests.check.reading import Reference, made
from tests.examples import examples

#: Hypothesis likes small choices, which give programs that do next to nothing: it draws a seed alone.
CHANCE = st.integers(0, 2**32 - 1).map(Random)
#: Functions as if one request could ask for many of them, so that there is something to batch.
MANY_AT_ONCE = {
    "python": replace(
        kinds()["python"], encode_many=kinds()["embedder"].encode_many, decode_many=kinds()["embedder"].decode_many
    )
}
#: Tests that take longer than what they are about: what some branch calls is then worth beginning early.
TAKES = Takes({"f": 1.0, "g": 2.0, "ok": 50.0, "kind": 50.0, "many": 3.0, "part": 4.0, "all": 2.0, "note": 5.0}, 0.2)


def as_written(application: Application) -> Application:
    """No pass at all."""
    return application


def executed(
    path: Path,
    text: str,
    argument: Value,
    order: Random,
    *,
    fails: bool,
    passes: Callable[[Application], Application] = as_written,
) -> tuple[Value, list[str]]:
    """The answer of the flow, None where it fails, and the calls that were sent; they end in any order."""
    path.write_text(text, encoding="utf-8")
    found = check_files([path])
    assert found.application is not None, found.found
    application = passes(found.application)
    flow = next(flow for flow in application.flows if flow.name == "p")
    program = lower(flow, application)
    state = State()
    calls: list[str] = []
    pending: list[Any] = [Started({"q": argument})]
    while pending:
        for command in advance(program, state, pending.pop(order.randrange(len(pending)))):
            match command:
                case Send(call, component):
                    each = items_of(command)
                    calls += [made(component, inputs) for inputs in each]
                    try:
                        values = [reply(component, inputs, fails=fails) for inputs in each]
                    except Failure:
                        pending.append(Failed(call, "it broke"))
                    else:
                        pending.append(Finished(call, values if command.over else values[0]))
                case Answer(value):
                    return value, calls
                case Fail():
                    return None, calls
    raise AssertionError("no answer")


def compare(
    folder: Path,
    random: Random,
    *,
    effects: bool,
    passes: Callable[[Application], Application] = as_written,
    guesses: bool = False,
) -> None:
    """Write a program, and compare what it does with what it means; `guesses` are calls that may turn out in vain."""
    text = Writer(random, effects).program()
    fails = not effects
    reference = Reference(parse(Source("a.rag", text), Findings()), fails=fails)
    try:
        expected = reference.answer("p", "start")
    except Failure:
        expected = None
    if not reference.sure:
        return
    value, calls = executed(folder / "a.rag", text, "start", random, fails=fails, passes=passes)
    assert value == expected, text
    if expected is not None and not guesses:
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
@given(random=CHANCE)
def test_a_flow_answers_what_its_text_says_where_calls_fail(random: Random, folder: Path) -> None:
    compare(folder, random, effects=False)


@examples(150)
@given(random=CHANCE)
def test_calls_that_are_not_pure_are_made_as_the_text_says(random: Random, folder: Path) -> None:
    compare(folder, random, effects=True)


@pytest.mark.parametrize("effects", [False, True])
@examples(100)
@given(
    random=CHANCE,
    without=st.just(set()) | st.sets(st.sampled_from([each.name for each in PASSES]), max_size=3),
    timed=st.booleans(),
)
def test_the_passes_change_neither_answers_nor_what_is_not_pure(
    folder: Path,
    *,
    effects: bool,
    random: Random,
    without: Collection[str],
    timed: bool,
) -> None:
    def passes(application: Application) -> Application:
        return optimise(application, without, kinds=MANY_AT_ONCE, takes=TAKES if timed else None)

    compare(folder, random, effects=effects, passes=passes, guesses=timed)
