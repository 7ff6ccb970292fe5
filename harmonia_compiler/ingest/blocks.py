"""A text to blocks: headings, prose, code and tables, as spans of the text that overlap nowhere.

Understands the Markdown that documentation is written in: ATX and underlined headings, fences,
indented code, pipe tables. A text that is no Markdown has underlined headings alone, in any of the
characters that reStructuredText takes, ranked by first appearance.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]|$)")
_UNDERLINE = re.compile(r"([=\-~^\"'#*+.`:])\1+[ \t]*$")
_INDENTED = re.compile(r"(?: {4}|\t)\s*\S")
_LIST_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])\s")
#: Of what is made a heading by what follows it, as a file of one line may be, so many characters are its title.
MOST_TITLE = 4_096
_MARKS = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|<[^>]+>|[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}")


@dataclass(frozen=True, slots=True)
class Block:
    """The characters [start, end) of a text; headings have a level from 1 and a title without markup."""

    kind: Literal["heading", "prose", "code", "table"]
    start: int
    end: int
    level: int = 0
    title: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    start: int
    end: int
    text: str

    @property
    def blank(self) -> bool:
        return not self.text.strip()


def parse_blocks(text: str, *, markdown: bool) -> list[Block]:
    """The blocks of a text in order; between them are only blank lines."""
    return list(_Parser(text, markdown=markdown).blocks())


def is_list_item(line: str) -> bool:
    """Whether a line begins an item of a list."""
    return _LIST_ITEM.match(line) is not None


class _Parser:
    """One pass over the lines of one text."""

    def __init__(self, text: str, *, markdown: bool) -> None:
        self._markdown = markdown
        self._lines: list[_Line] = []
        at = 0
        for line in text.split("\n"):
            self._lines.append(_Line(at, at + len(line), line))
            at += len(line) + 1
        self._ranks: list[str] = []

    def blocks(self) -> Iterator[Block]:
        at = 0
        while at < len(self._lines):
            if self._lines[at].blank:
                at += 1
                continue
            block, at = self._one(at)
            yield block

    def _one(self, at: int) -> tuple[Block, int]:
        if found := self._heading(at):
            return found
        line = self._lines[at].text
        if self._markdown and _FENCE.match(line):
            return self._fenced(at)
        if _INDENTED.match(line) and not is_list_item(line):
            return self._while(at, "code", lambda text: bool(_INDENTED.match(text)))
        if self._markdown and line.lstrip().startswith("|"):
            return self._while(at, "table", lambda text: text.lstrip().startswith("|"))
        return self._prose(at)

    def _heading(self, at: int) -> tuple[Block, int] | None:
        line = self._lines[at]
        if self._markdown and (atx := _ATX.match(line.text)):
            return Block(
                "heading", line.start, line.end, len(atx[1]), _plain(_unclosed(line.text[atx.end() :]))
            ), at + 1
        over = not self._markdown and _UNDERLINE.match(line.text) and at + 2 < len(self._lines)
        title_at = at + 1 if over else at
        if title_at + 1 >= len(self._lines):
            return None
        title, under = self._lines[title_at], self._lines[title_at + 1]
        mark = _UNDERLINE.match(under.text)
        if mark is None or title.blank or _UNDERLINE.match(title.text) or (over and line.text[0] != mark[1]):
            return None
        if not self._is_underline(title.text, under.text, mark[1]):
            return None
        level = self._rank(mark[1] * 2 if over else mark[1])
        return Block("heading", line.start, under.end, level, _plain(title.text)), title_at + 2

    def _is_underline(self, title: str, under: str, character: str) -> bool:
        if title.startswith((" ", "\t", "|", ">")) or is_list_item(title):
            return False
        if self._markdown:
            return character in "=-" and len(under.strip()) >= 2
        return len(under.strip()) >= max(3, len(title.strip()) - 2)

    def _rank(self, mark: str) -> int:
        if self._markdown:
            return 1 if mark == "=" else 2
        if mark not in self._ranks:
            self._ranks.append(mark)
        return self._ranks.index(mark) + 1

    def _fenced(self, at: int) -> tuple[Block, int]:
        opening = _FENCE.match(self._lines[at].text)
        assert opening is not None
        closing = re.compile(rf" {{0,3}}{re.escape(opening[1][0])}{{{len(opening[1])},}}[ \t]*$")
        end = at + 1
        while end < len(self._lines) and not closing.match(self._lines[end].text):
            end += 1
        end = min(end, len(self._lines) - 1)
        return Block("code", self._lines[at].start, self._lines[end].end), end + 1

    def _while(self, at: int, kind: Literal["code", "table"], belongs: Callable[[str], bool]) -> tuple[Block, int]:
        """Lines that belong together; blank ones inside code do not end it."""
        last, end = at, at + 1
        while end < len(self._lines):
            line = self._lines[end]
            if belongs(line.text):
                last = end
            elif kind == "table" or not line.blank:
                break
            end += 1
        return Block(kind, self._lines[at].start, self._lines[last].end), last + 1

    def _prose(self, at: int) -> tuple[Block, int]:
        end = at + 1
        while end < len(self._lines) and not self._lines[end].blank:
            line = self._lines[end].text
            if self._markdown and (_FENCE.match(line) or _ATX.match(line)):
                break
            end += 1
        return Block("prose", self._lines[at].start, self._lines[end - 1].end), end


def _unclosed(title: str) -> str:
    """A title without the hashes that may close it. By hand: an expression looks through the blanks of each place."""
    title = title.strip(" \t")
    opened = title.rstrip("#")
    return opened if opened.endswith((" ", "\t")) else title


def _plain(title: str) -> str:
    """A heading's words without links, emphasis and anchors."""
    return " ".join(_MARKS.sub(lambda mark: mark[1] or "", title[:MOST_TITLE]).replace("¶", "").split())
