"""Broken files: each gives exactly the findings that stand in it, no more and no fewer.

An expectation is a comment: `# error: [E0201] "message"` for the line on which it stands, `# error at 3: …` for
another line, `# error in FILE at 3: …` for another file, `# error elsewhere: …` for a finding about no file.
`# set: name=value` gives the value of a setting.
"""

import re
from collections import Counter
from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.diagnostics.diagnostic import Diagnostic

FOLDER = Path(__file__).parent.parent / "broken"
FILES = sorted(FOLDER.glob("*.rag"))

_EXPECTED = re.compile(
    r"# (?P<severity>error|warning)(?: in (?P<file>\S+))?(?: at (?P<line>\d+)|(?P<elsewhere> elsewhere))?: "
    r'\[(?P<code>[EW]\d{4})\] "(?P<message>.*?)"(?=\s*$|\s+# (?:error|warning))',
)
_SETTING = re.compile(r"^# set: (?P<name>\w+)=(?P<value>.*)$", re.MULTILINE)

Place = tuple[str, int]


def expectations(path: Path) -> Counter[tuple[Place, str, str, str]]:
    """(file, line), severity, code and message of each finding that a file announces."""
    expected: Counter[tuple[Place, str, str, str]] = Counter()
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), 1):
        for found in _EXPECTED.finditer(line):
            place = (found["file"] or path.name, int(found["line"] or number))
            if found["elsewhere"]:
                place = ("", 0)
            expected[place, found["severity"], found["code"], found["message"]] += 1
    return expected


def described(item: Diagnostic) -> tuple[Place, str, str, str]:
    """A finding in the form of an expectation."""
    place = ("", 0)
    if item.span is not None and not item.span.source.name.startswith("--set"):
        place = (item.span.source.name, item.span.source.position(item.span.start)[0])
    return place, "error" if item.is_error else "warning", item.code, item.message


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_findings_are_exactly_those_announced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    text = path.read_text(encoding="utf-8", errors="replace")
    settings = {found["name"]: found["value"] for found in _SETTING.finditer(text)}
    checked = check_files([Path(path.name)], settings)
    expected = expectations(path)
    assert expected, "a broken file says what is wrong with it"
    assert Counter(map(described, checked.found)) == expected
    assert (checked.application is None) == any(item.is_error for item in checked.found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_error_offers_a_next_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    for item in check_files([Path(path.name)]).found:
        assert not item.message.endswith("."), item
        assert "\n" not in item.message + item.help, item
        assert item.help, item


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 20
