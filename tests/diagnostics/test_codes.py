"""Codes in the source, their pages, and the fixtures that show them agree in both directions."""

import re
from collections import Counter
from pathlib import Path

import pytest

import harmonia_compiler
from harmonia_compiler.check.files import check_files
from harmonia_compiler.diagnostics.pages import codes, page, title

PACKAGE = Path(harmonia_compiler.__file__).parent
TESTS = Path(__file__).parent.parent
BROKEN = TESTS / "broken"

_IN_SOURCE = re.compile(r'"([EW]\d{4})\b')
_BLOCK = re.compile(r"^```rag (wrong|right)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: Codes of checking `.rag` files: E01xx to E06xx, and the warnings with these numbers.
_CHECKING = re.compile(r"[EW]0[1-6]\d\d")
#: What no file that is kept here can show, for lack of space.
TOO_LARGE_TO_KEEP = {"E0108"}
#: Codes that tests name because there are none.
NO_CODES = {"E9999"}

EXAMPLES = [
    pytest.param(code, what, text, id=f"{code} {what}")
    for code in codes()
    for what, text in _BLOCK.findall(page(code) or "")
]


def in_source() -> set[str]:
    return {code for module in PACKAGE.rglob("*.py") for code in _IN_SOURCE.findall(module.read_text(encoding="utf-8"))}


def in_fixtures() -> set[str]:
    return {
        code
        for path in BROKEN.glob("*.rag")
        for code in re.findall(r"\[([EW]\d{4})\]", path.read_text("utf-8", "replace"))
    }


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    assert set(codes()) == in_source()


def test_every_code_of_checking_has_a_broken_file() -> None:
    checking = {code for code in in_source() if _CHECKING.fullmatch(code)}
    assert checking - TOO_LARGE_TO_KEEP == in_fixtures()


def test_every_other_code_is_named_in_a_test_and_tests_name_no_others() -> None:
    texts = [module.read_text(encoding="utf-8") for module in TESTS.rglob("*.py") if module != Path(__file__)]
    named = {code for text in texts for code in re.findall(r"\b[EW]\d{4}\b", text)}
    others = {code for code in in_source() if not _CHECKING.fullmatch(code)}
    assert not sorted(others - named)
    assert named - in_source() <= NO_CODES


@pytest.mark.parametrize("code", codes())
def test_a_page_begins_with_its_title_and_explains(code: str) -> None:
    text = page(code)
    assert text is not None
    first, _, rest = text.partition("\n")
    assert first == f"# {code}: {title(code)}"
    assert len(rest.split()) >= 10


def test_titles_are_distinct() -> None:
    assert [shared for shared, times in Counter(map(title, codes())).items() if times > 1] == []


@pytest.mark.parametrize(("code", "what", "text"), EXAMPLES)
def test_examples_of_pages_do_what_they_say(
    code: str, what: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("example.rag")
    path.write_text(text, encoding="utf-8")
    found = {item.code for item in check_files([path]).found}
    assert found == ({code} if what == "wrong" else set())


@pytest.mark.parametrize("name", ["", "E", "E9999", "../E0101", "E0101.md", "e0101"])
def test_no_other_text_is_a_page(name: str) -> None:
    assert page(name) is None
