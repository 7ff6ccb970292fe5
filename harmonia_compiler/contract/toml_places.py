"""On which line of a TOML document each of its values stands; the standard parser gives values alone."""

import re
from bisect import bisect_right
from collections import Counter

import msgspec

Path = tuple[str | int, ...]

_KEY = re.compile(r"""\s*([A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')\s*""")
#: A text in any of the four ways in which TOML writes one.
STRING = re.compile(r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.DOTALL)
_BLANK = re.compile(r"(?:\s|#[^\n]*)+")


class Places(msgspec.Struct):
    """Lines, counted from 1, of the values of a document that the standard parser has accepted."""

    lines: dict[Path, int] = msgspec.field(default_factory=dict)

    def line(self, *path: str | int) -> int:
        """The line of a value; of the nearest value around it where it has none of its own."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def places(text: str) -> Places:
    """Where the tables, keys and list items of a document stand, in time proportional to its length."""
    return _Walk(text).places()


class _Walk:
    """One way through a document, from its start to its end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._found = Places()
        self._items: Counter[Path] = Counter()

    def places(self) -> Places:
        """Statement by statement."""
        text, at = self._text, 0
        table: Path = ()
        while at < len(text):
            if blank := _BLANK.match(text, at):
                at = blank.end()
            elif text[at] == "[":
                is_list = text.startswith("[[", at)
                keys, end = _keys(text, at + (2 if is_list else 1))
                table = self._table(keys, is_list=is_list)
                self._found.lines[table] = self._line(at)
                line_end = text.find("\n", end)
                at = len(text) if line_end < 0 else line_end
            else:
                keys, end = _keys(text, at)
                path = (*table, *keys)
                for depth in range(len(table) + 1, len(path) + 1):
                    self._found.lines.setdefault(path[:depth], self._line(at))
                at = self._value(end + 1, path)
        return self._found

    def _table(self, keys: list[str], *, is_list: bool) -> Path:
        """The path of a header: within the last item of every list of tables on the way."""
        path: Path = ()
        for depth, key in enumerate(keys, 1):
            path = (*path, key)
            items = self._items[path]
            if depth == len(keys) and is_list:
                self._items[path] += 1
                path = (*path, items)
            elif items:
                path = (*path, items - 1)
        return path

    def _value(self, at: int, path: Path) -> int:
        """Past the value that starts here; the items of a list get lines of their own."""
        text, depth, items, wants_item = self._text, 0, 0, False
        while at < len(text):
            if depth and (blank := _BLANK.match(text, at)):
                at = blank.end()
                continue
            char = text[at]
            if not depth and char in "\n#":
                return at
            if depth == 1 and wants_item and char not in ",]":
                self._found.lines[(*path, items)] = self._line(at)
                items, wants_item = items + 1, False
            if string := STRING.match(text, at):
                at = string.end()
                continue
            if char in "[{":
                depth += 1
                wants_item = depth == 1 and char == "["
            elif char in "]}":
                depth -= 1
            elif char == "," and depth == 1:
                wants_item = True
            at += 1
        return at

    def _line(self, at: int) -> int:
        return bisect_right(self._starts, at)


def _keys(text: str, at: int) -> tuple[list[str], int]:
    """A dotted key, and the place of the `=` or `]` after it."""
    keys: list[str] = []
    while key := _KEY.match(text, at):
        keys.append(key.group(1).strip("\"'"))
        at = key.end()
        if not text.startswith(".", at):
            break
        at += 1
    return keys, at
