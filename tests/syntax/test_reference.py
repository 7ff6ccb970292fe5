"""The examples of the language's reference are files, and do what the reference says."""

import re
from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.syntax.tables import grammar_folder
from tests.specs.literate import announced, described

EXAMPLES: dict[str, str] = dict(
    re.findall(
        r"^```rag (\S+)\n(.*?)^```$",
        (grammar_folder() / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_fine_but_for_what_it_announces(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for other, text in EXAMPLES.items():
        Path(other).write_text(text, encoding="utf-8")
    assert described(check_files([Path(name)]).found) == announced(name, EXAMPLES[name])


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5
