"""The examples of the language's reference are files, and do what the reference says."""

import re
from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.syntax.tables import grammar_folder

EXAMPLES: dict[str, str] = dict(
    re.findall(
        r"^```rag (\S+)\n(.*?)^```$",
        (grammar_folder() / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)
_EXPECTED = re.compile(r'# (?:error: \[(?=E)|warning: \[(?=W))([EW]\d{4})\] "(.*)"$')


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_fine_but_for_what_it_announces(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for other, text in EXAMPLES.items():
        Path(other).write_text(text, encoding="utf-8")
    expected = [
        (number, announced[1], announced[2])
        for number, line in enumerate(EXAMPLES[name].split("\n"), 1)
        if (announced := _EXPECTED.search(line))
    ]
    found = [
        (item.span.source.position(item.span.start)[0], item.code, item.message)
        for item in check_files([Path(name)]).found
        if item.span is not None
    ]
    assert found == expected


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5
