"""Every sample checks without a finding, does what the reference says, and answers whatever happens.

Which way a real model sends a question is the model's own business; the calls of each arm are ours.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.program import Program
from harmonia_compiler.contract.types import (
    Bool,
    Labels,
    ListOf,
    Message,
    Number,
    Passage,
    Record,
    Text,
    Type,
    Value,
    Vector,
    mismatch,
)
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.policy.events import (
    Answer,
    Elapsed,
    Event,
    Fail,
    Failed,
    Finished,
    Send,
    Started,
    StartTimer,
)
from harmonia_compiler.policy.frames import State
from harmonia_compiler.policy.stepper import advance
from tests.policy.programs import replies
from tests.policy.reference import Ok, Reference

ROOT = Path(__file__).parents[2]
SAMPLES = sorted(path.relative_to(ROOT) for path in (ROOT / "samples").glob("*.rag"))

FOUND, ELSEWHERE = [{"text": "found", "source": "docs", "score": 1.0}], [{"text": "else", "source": "py", "score": 1.0}]
ANSWERS: dict[str, Value] = {
    "minilm": [0.0],
    "search": FOUND,
    "rerank": FOUND,
    "rewrite": "key words",
    "library": ELSEWHERE,
    "answer": "so it is",
}


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_has_no_finding(sample: Path) -> None:
    checked = check_files([sample])
    assert checked.found == []
    assert checked.application is not None


def _program(pipeline: str) -> Program:
    application = check_files([Path("samples") / f"{pipeline}.rag"]).application
    assert application is not None
    application = optimise(application)
    return lower(next(flow for flow in application.flows if flow.name == pipeline), application)


def _run(program: Program, grade: str) -> list[Send]:
    """Every call that is made when the grader says this, in order."""
    state, sent = State(), list[Send]()
    commands = advance(program, state, Started({"question": "why?"}))
    while commands:
        (command,) = commands
        if isinstance(command, Answer):
            assert command.value == "so it is"
            return sent
        assert isinstance(command, Send)
        sent.append(command)
        value = grade if command.component == "grade" else ANSWERS[command.component]
        commands = advance(program, state, Finished(command.call, value))
    raise AssertionError("the program stopped without an answer")


@pytest.mark.parametrize(
    ("grade", "ran", "passages"),
    [
        ("yes", ["minilm", "search", "rerank", "grade", "answer"], FOUND),
        ("no", ["minilm", "search", "rerank", "grade", "rewrite", "library", "answer"], ELSEWHERE),
    ],
)
def test_the_branch_of_corrective(grade: str, ran: list[str], passages: Value) -> None:
    sent = _run(_program("corrective"), grade)
    assert [send.component for send in sent] == ran
    assert sent[-1].inputs["passages"] == passages
    assert sent[-1].streams


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_pipeline_takes_ten_lines(sample: Path) -> None:
    """CRAG, MemoRAG, IRCoT and HippoRAG among them, as the papers draw them."""
    _, *blocks = (ROOT / sample).read_text(encoding="utf-8").split("\npipeline ")
    assert blocks
    for block in blocks:
        lines = [line for line in block.partition("\n}")[0].split("\n")[1:] if line.strip()]
        assert 0 < len(lines) <= 10


def _some(of: Type, chance: Random) -> Value:
    """A value of the type."""
    match of:
        case Labels(labels):
            return chance.choice(labels)
        case Bool():
            return chance.random() < 0.5
        case Number():
            return chance.random()
        case Vector():
            return [chance.random()]
        case ListOf(item):
            return [_some(item or Text(), chance) for _ in range(chance.randint(0, 4))]
        case Record(fields):
            return {field.name: _some(field.type, chance) for field in fields}
        case Passage():
            return {"text": f"p{chance.random()}", "source": "s", "score": chance.random()}
        case Message():
            return {"role": "user", "text": "m"}
        case _:
            return f"t{chance.random()}"


def _run_by_chance(program: Program, chance: Random) -> tuple[Value, set[str]]:
    """What a request is answered where calls give anything of their type, fail, and are late; and what was called."""
    state, called = State(), set[str]()
    arguments = {parameter.name: _some(parameter.type, chance) for parameter in program.parameters}
    pending: list[Event] = [Started(arguments)]
    while pending:
        for command in advance(program, state, pending.pop(chance.randrange(len(pending)))):
            match command:
                case Send(call, component, inputs, over=over):
                    called.add(component)
                    of = program.components[component].result
                    count = len(inputs[over[0]]) if over else 0
                    value = [_some(of, chance) for _ in range(count)] if over else _some(of, chance)
                    pending.append(Failed(call, "it broke") if chance.random() < 0.05 else Finished(call, value))
                case StartTimer(timer) if chance.random() < 0.2:
                    pending.append(Elapsed(timer))
                case Answer(value):
                    assert mismatch(value, program.result_type) is None
                    return value, called
                case Fail():
                    return None, called
    raise AssertionError("the program stopped without an answer")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_answers_whatever_its_components_give_and_uses_them_all(sample: Path) -> None:
    application = check_files([sample]).application
    assert application is not None
    application = optimise(application)
    chance = Random(7)
    for flow in application.flows:
        program = lower(flow, application)
        runs = [_run_by_chance(program, chance) for _ in range(200)]
        assert any(value is not None for value, _ in runs)
        assert set[str]().union(*(called for _, called in runs)) == set(program.components)


def _answered(program: Program, arguments: Mapping[str, Value], order: Random) -> tuple[Value, Counter[str]]:
    """What a request is answered where nothing fails and calls end in any order, and the calls that are made."""
    state, made = State(), Counter[str]()
    pending: list[Event] = [Started(arguments)]
    while pending:
        for command in advance(program, state, pending.pop(order.randrange(len(pending)))):
            match command:
                case Send(call, component, inputs, settings, over=over):
                    made[_made(component, inputs)] += 1
                    pending.append(Finished(call, replies(program.components[component], inputs, settings, over)))
                case Answer(value):
                    return value, made
    raise AssertionError("the program stopped without an answer")


def _meant(program: Program, arguments: Mapping[str, Value]) -> tuple[Value, Counter[str]]:
    """What the reference answers, and the calls that it makes."""
    made = Counter[str]()

    def answer(component: Component, inputs: Mapping[str, Value], *more: Any) -> Value:
        made[_made(component.name, inputs)] += 1
        return replies(component, inputs, *more)

    expected = Reference(program, arguments, answers=answer).run()
    assert isinstance(expected, Ok)
    return expected.value, made


def _made(component: str, inputs: Mapping[str, Value]) -> str:
    return repr((component, sorted(inputs.items())))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_does_what_the_reference_says(sample: Path) -> None:
    """With the passes and without them: the same answer, by the same calls."""
    checked = check_files([sample]).application
    assert checked is not None
    chance = Random(11)
    for application in (checked, optimise(checked)):
        for flow in application.flows:
            program = lower(flow, application)
            for _ in range(40):
                arguments = {parameter.name: _some(parameter.type, chance) for parameter in program.parameters}
                assert _answered(program, arguments, chance) == _meant(program, arguments)


def test_there_is_a_sample_for_each_shape() -> None:
    shapes = {"vanilla", "quickstart", "hyde", "fusion", "corrective", "self_rag", "adaptive", "ircot", "memorag"}
    assert {sample.stem for sample in SAMPLES} >= shapes | {"hipporag", "shared", "desk"}
