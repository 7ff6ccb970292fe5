"""Broken files: each gives exactly the findings that stand in it, no more and no fewer.

They announce them as the programs of the specs do: `tests/specs/literate.py` says how.
"""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from tests.specs.literate import announced, described, given_settings

FOLDER = Path(__file__).parent.parent / "broken"
FILES = sorted(FOLDER.glob("*.rag"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_findings_are_exactly_those_announced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    text = path.read_text(encoding="utf-8", errors="replace")
    checked = check_files([Path(path.name)], given_settings(text))
    expected = announced(path.name, text)
    assert expected, "a broken file says what is wrong with it"
    assert described(checked.found) == expected
    assert (checked.application is None) == any(item.is_error for item in checked.found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_error_offers_a_next_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    found = check_files([Path(path.name)], given_settings(path.read_text(encoding="utf-8", errors="replace"))).found
    assert found
    for item in found:
        assert not item.message.endswith("."), item
        assert "\n" not in item.message + item.help, item
        assert item.help, item


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 20
