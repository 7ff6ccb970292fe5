"""The page that explains a code: why it is an error, an example, the mend."""

import re
from pathlib import Path

_FOLDER = Path(__file__).parent / "pages"
_CODE = re.compile(r"[EW]\d{4}")
_TITLE = re.compile(r"# (?P<code>[EW]\d{4}): (?P<title>.+)")


def codes() -> list[str]:
    """Every code that has a page, in order."""
    return sorted(page.stem for page in _FOLDER.glob("*.md"))


def page(code: str) -> str | None:
    """The page of a code, as Markdown; None where there is none."""
    if not _CODE.fullmatch(code):
        return None
    try:
        return (_FOLDER / f"{code}.md").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def title(code: str) -> str:
    """The title of a code's page, without the code; empty where the page has none."""
    found = _TITLE.match(page(code) or "")
    return found["title"].strip() if found else ""
