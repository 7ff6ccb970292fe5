"""Every sample checks without a finding, and the branch of `corrective.rag` goes both ways.

Which way a real model sends a question is the model's own business; the calls of each arm are ours.
"""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.program import Program
from harmonia_compiler.contract.types import Value
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.policy.events import Answer, Finished, Send, Started
from harmonia_compiler.policy.frames import State
from harmonia_compiler.policy.stepper import advance

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
