"""The examples of the language's reference are files, and do what the reference says.

`requests.txt` has a few requests of each pipeline: below the arguments a line for each event, which is the value of a
call or how it ends otherwise, and what is to be done then.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.types import ListOf, Passage, Value
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.policy.events import Answer, Command, Send
from harmonia_compiler.syntax.tables import grammar_folder
from tests.policy.driven import Request
from tests.specs.literate import announced, described

EXAMPLES: dict[str, str] = dict(
    re.findall(
        r"^```rag (\S+)\n(.*?)^```$",
        (grammar_folder() / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)
REQUESTS = [
    pytest.param(part.strip().split("\n"), id=" ".join(part.split()[:2]))
    for part in re.sub(
        r"^#.*\n", "", (Path(__file__).parent / "requests.txt").read_text(encoding="utf-8"), flags=re.MULTILINE
    ).split("\n\n")
]
#: What is about what is wrong, and what has no pipeline.
NOT_RUN = {"wrong.rag", "library.rag"}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in EXAMPLES.items():
        Path(name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_fine_but_for_what_it_announces(name: str) -> None:
    assert described(check_files([Path(name)]).found) == announced(name, EXAMPLES[name])


@pytest.mark.parametrize("lines", REQUESTS)
def test_a_request_of_an_example_goes_as_it_says(lines: list[str]) -> None:
    said = re.fullmatch(r"(\S+) (\w+) (.*)", lines[0])
    assert said, lines[0]
    application = check_files([Path(said[1])]).application
    assert application is not None
    flow = next(flow for flow in application.flows if flow.name == said[2])
    asked = Shown(lower(flow, application), dict(_arguments(said[3])))
    happened = [f"  {line.strip().partition(' >')[0]} >" for line in lines[1:]]
    told = [f"{event} {', '.join(asked.after(event.strip(' >')))}".rstrip() for event in happened]
    assert told == lines[1:]
    assert asked.state.ended


def test_every_pipeline_of_an_example_is_asked() -> None:
    declared = {
        f"{name} {pipeline}"
        for name, text in EXAMPLES.items()
        for pipeline in re.findall(r"^pipeline (\w+)", text, re.MULTILINE)
        if name not in NOT_RUN
    }
    assert {request.id for request in REQUESTS} == declared
    assert {name.split()[0] for name in declared} | NOT_RUN == EXAMPLES.keys()


class Shown(Request):
    """A request whose calls are shown with what they are given; passages go by their texts."""

    def after(self, event: str) -> list[str]:
        """What is to be done after an event as it is written."""
        name, _, what = event.partition(" ")
        match what or name:
            case "start":
                return self.start()
            case "late":
                return self.elapse()
            case "fails":
                return self.fail(name)
            case "begins":
                return self.begin(name)
            case value:
                return self.finish(name, self.value(name, json.loads(value)))

    def value(self, name: str, value: Any) -> Value:
        if self.program.components[self.sends[name].component].result != ListOf(Passage()):
            return value
        return [{"text": text, "source": "s", "score": 1.0} for text in value]

    def told(self, command: Command) -> str:
        return f"answer {shown(command.value)}" if isinstance(command, Answer) else super().told(command)

    def sent(self, name: str, send: Send) -> str:
        return f"{'stream ' if send.streams else ''}{name}({', '.join(map(shown, send.inputs.values()))})"


def shown(value: Value) -> str:
    """A value as a short text."""
    match value:
        case {"text": text}:
            return str(text)
        case dict():
            return "(" + ", ".join(f"{name}: {shown(part)}" for name, part in value.items()) + ")"
        case list():
            return "[" + ", ".join(map(shown, value)) + "]"
        case _:
            return str(value)


def _arguments(text: str) -> Iterator[tuple[str, Value]]:
    """`name: value, other: value`, each value as JSON."""
    reader = json.JSONDecoder()
    while text:
        name, _, text = text.partition(": ")
        value, end = reader.raw_decode(text)
        yield name, value
        text = text[end:].removeprefix(", ")
