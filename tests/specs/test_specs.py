"""Every program of the specs gives exactly the findings that it announces, and the flow that stands behind it."""

from pathlib import Path

import pytest

from harmonia_compiler.flow.text import show_flow
from tests.specs.literate import Program, described, documents, read

DOCUMENTS = documents()
PROGRAMS = [
    pytest.param(program, id=f"{document.name}: {section.title or 'head'} ({number})")
    for document in DOCUMENTS
    for section in document.sections
    for number, program in enumerate(section.programs, 1)
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_gives_what_it_announces(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checked = program.checked(tmp_path)
    assert described(checked.found) == program.expected()
    assert (checked.application is None) == any(item.is_error for item in checked.found)
    for item in checked.found:
        assert item.help, item
        assert "\n" not in item.message + item.help, item
        assert not item.message.endswith("."), item


@pytest.mark.parametrize("name", [document.name for document in DOCUMENTS])
def test_its_flows(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(__file__).parent / f"{name}.md"
    document = read(path)
    text = document.text
    programs = [program for section in document.sections for program in section.programs]
    for number, program in reversed([*enumerate(programs)]):
        if program.flow is not None:
            folder = tmp_path / str(number)
            folder.mkdir()
            monkeypatch.chdir(folder)
            application = program.checked(folder).application
            assert application is not None, f"a program with a flow has no errors: {program.files[program.given[-1]]}"
            end = program.flow.start + len(program.flow.text)
            text = text[: program.flow.start] + show_flow(application.flows[-1]) + text[end:]
    if request.config.getoption("--bless"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text
