"""On which line of a TOML document each of its values stands; the standard parser gives values alone."""

import re
from dataclasses import dataclass, field

Path = tuple[str | int, ...]

_KEY = re.compile(r"""\s*([A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')\s*""")
_STRING = re.compile(r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.DOTALL)
_BLANK = re.compile(r"(?:\s|#[^\n]*)+")
_ERROR_LINE = re.compile(r"line (\d+)")


@dataclass(slots=True)
class Places:
    """Lines, counted from 1, of the values of a document that the standard parser has accepted."""

    lines: dict[Path, int] = field(default_factory=dict)

    def line(self, *path: str | int) -> int:
        """The line of a value; of the nearest value around it where it has none of its own."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def error_line(message: str, text: str) -> int:
    """The line that the standard parser names in a complaint; the last one where it names the end."""
    found = _ERROR_LINE.search(message)
    return int(found.group(1)) if found else text.count("\n") + 1


def places(text: str) -> Places:
    """Where the tables, keys and list items of a document stand."""
    found = Places()
    table: Path = ()
    at = 0
    while at < len(text):
        if blank := _BLANK.match(text, at):
            at = blank.end()
        elif text[at] == "[":
            is_list = text.startswith("[[", at)
            keys, end = _keys(text, at + (2 if is_list else 1))
            table = _table(found, keys, is_list=is_list)
            found.lines[table] = _line(text, at)
            at = text.find("\n", end) if "\n" in text[end:] else len(text)
        else:
            keys, end = _keys(text, at)
            path = (*table, *keys)
            for depth in range(len(table) + 1, len(path) + 1):
                found.lines.setdefault(path[:depth], _line(text, at))
            at = _value(text, end + 1, path, found)
    return found


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


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


def _table(found: Places, keys: list[str], *, is_list: bool) -> Path:
    """The path of a header: within the last item of every list of tables on the way."""
    path: Path = ()
    for depth, key in enumerate(keys, 1):
        path = (*path, key)
        items = sum(known[:-1] == path and isinstance(known[-1], int) for known in found.lines)
        if depth == len(keys) and is_list:
            path = (*path, items)
        elif items:
            path = (*path, items - 1)
    return path


def _value(text: str, at: int, path: Path, found: Places) -> int:
    """Past the value that starts here; the items of a list get lines of their own."""
    depth, items, wants_item = 0, 0, False
    while at < len(text):
        if depth and (blank := _BLANK.match(text, at)):
            at = blank.end()
            continue
        char = text[at]
        if not depth and char in "\n#":
            return at
        if depth == 1 and wants_item and char not in ",]":
            found.lines[(*path, items)] = _line(text, at)
            items, wants_item = items + 1, False
        if string := _STRING.match(text, at):
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
