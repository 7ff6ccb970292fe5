"""How findings look: a code frame for people, an object for programs.

Neither shows a key or a password, whoever wrote it where: findings end up in logs.
"""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.diagnostics.keys import Masked, masked
from harmonia_compiler.diagnostics.source import Source, Span

FORMAT_VERSION = 1

_RED, _YELLOW, _BLUE, _CYAN, _BOLD, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[34m", "\x1b[36m", "\x1b[1m", "\x1b[0m"
_TAB = "    "
#: Columns of a source line that are shown; a longer line is cut around what is marked.
_WIDEST = 140
_BEFORE = 60


class _Painter(Protocol):
    """Colours a piece of text, or leaves it."""

    def __call__(self, text: str, colour: str, *, bold: bool = False) -> str: ...


class _Label(msgspec.Struct, frozen=True):
    """A part of one line that is marked, with what is said about it."""

    line: int
    start: int
    end: int
    text: str
    is_primary: bool


def render(item: Diagnostic, *, colour: bool = False) -> str:
    """A finding as a frame: message, place, the lines with what is marked in them, one help."""
    paint = _paint if colour else _leave
    severity = "error" if item.is_error else "warning"
    shade = _RED if item.is_error else _YELLOW
    lines = [paint(f"{severity}[{item.code}]", shade, bold=True) + paint(f": {_said(item.message)}", "", bold=True)]
    width = _gutter(item)
    if item.span is not None:
        source = item.span.source
        labels = [_label(item.span, "", is_primary=True)]
        labels += [_label(note.span, note.text, is_primary=False) for note in item.notes if note.span.source == source]
        lines += _frame("-->", item.span, labels, width, shade, paint)
        for note in item.notes:
            if note.span.source != source:
                label = _label(note.span, note.text, is_primary=False)
                lines += _frame(":::", note.span, [label], width, shade, paint)
    if item.help:
        sign = paint("=", _BLUE, bold=True)
        lines.append(f"{' ' * width} {sign} {paint('help', _CYAN, bold=True)}: {_said(item.help)}")
    return "\n".join(lines) + "\n"


def as_object(item: Diagnostic) -> dict[str, Any]:
    """A finding as plain data; lines and columns count from 1, ends are exclusive."""
    shown: dict[str, Any] = {
        "code": item.code,
        "severity": "error" if item.is_error else "warning",
        "message": masked(item.message),
        "help": masked(item.help),
        "notes": [{"message": masked(note.text), **_place(note.span)} for note in item.notes],
    }
    return shown | (_place(item.span) if item.span is not None else {})


def count(found: Iterable[Diagnostic], left_out: int = 0) -> str:
    """How many errors and warnings there are, in words, and how many more that are not among them."""
    items = list(found)
    errors = sum(item.is_error for item in items)
    counts = [(errors, "error"), (len(items) - errors, "warning")]
    words = [f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in counts if number]
    shown = " and ".join(words) or "no errors"
    return f"{shown}, and {left_out:,} more that {'is' if left_out == 1 else 'are'} not shown" if left_out else shown


def _place(span: Span) -> dict[str, Any]:
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    return {
        # Programs look for the file: what it is called is no secret of its text.
        "file": span.source.name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }


def _gutter(item: Diagnostic) -> int:
    """Columns that the longest line number takes."""
    spans = [item.span, *(note.span for note in item.notes)]
    return max((len(str(span.source.position(span.start)[0])) for span in spans if span is not None), default=1)


def _label(span: Span, text: str, *, is_primary: bool) -> _Label:
    """A mark on the first line of a span; at least one column wide, so that an end of line can be marked."""
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    length = len(span.source.line(line))
    end = end_column - 1 if end_line == line else length
    return _Label(line, column - 1, max(end, column), text, is_primary)


def _frame(arrow: str, span: Span, labels: list[_Label], width: int, shade: str, paint: _Painter) -> list[str]:
    line, column = span.source.position(span.start)
    bar = paint("|", _BLUE, bold=True)
    lines = [f"{' ' * width}{paint(arrow, _BLUE, bold=True)} {visible(span.source.name)}:{line}:{column}"]
    lines.append(f"{' ' * width} {bar}")
    shown = sorted({label.line for label in labels})
    for position, number in enumerate(shown):
        if position and number > shown[position - 1] + 1:
            lines.append(paint("...", _BLUE, bold=True))
        here = sorted((label for label in labels if label.line == number), key=lambda label: label.start)
        lines += _marked(span.source, number, here, width, shade, paint)
    return lines


def _marked(source: Source, number: int, labels: list[_Label], width: int, shade: str, paint: _Painter) -> list[str]:
    """One line of a source and, below it, a line for each mark."""
    line = _line(source.line(number))
    text = line.text
    first = 0
    if len(text) > _WIDEST:
        first = max(0, line.place(min(label.start for label in labels)) - _BEFORE)
    cut = text[first : first + _WIDEST]
    bar = paint("|", _BLUE, bold=True)
    gutter = paint(f"{number:>{width}}", _BLUE, bold=True)
    before, after = ("…" if first else ""), ("…" if first + _WIDEST < len(text) else "")
    lines = [f"{gutter} {bar} {before}{visible(cut)}{after}".rstrip()]
    for label in labels:
        start, end = (line.place(at) - first for at in (label.start, label.end))
        start, end = max(0, start), max(start + 1, min(end, len(cut)))
        space = " " * (len(before) + _columns(cut[:start]))
        sign = "^" if label.is_primary else "-"
        marks = sign * max(1, _columns(cut[start:end]))
        said = f" {_said(label.text)}" if label.text else ""
        lines.append(
            f"{' ' * width} {bar} {space}{paint(marks + said, shade if label.is_primary else _BLUE, bold=True)}"
        )
    return lines


@lru_cache(maxsize=1)
def _line(text: str) -> Masked:
    """A line as it is shown: a long one that has a hundred findings is looked through once."""
    return Masked(text)


def _said(text: str) -> str:
    return visible(masked(text))


def visible(text: str) -> str:
    """A text that leaves the terminal alone: tabs as spaces, control characters as their pictures."""
    if text.isprintable():
        return text
    return "".join(_shown(letter) for letter in text)


def _shown(letter: str) -> str:
    if letter == "\t":
        return _TAB
    if letter < " ":
        return chr(0x2400 + ord(letter))
    if letter.isprintable():
        return letter
    return "\N{REPLACEMENT CHARACTER}"


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii() and text.isprintable():
        return len(text)
    return sum(_width(letter) for shown in map(_shown, text) for letter in shown)


def _width(letter: str) -> int:
    if letter.isascii():
        return 1
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _paint(text: str, colour: str, *, bold: bool = False) -> str:
    return f"{_BOLD if bold else ''}{colour}{text}{_PLAIN}"


def _leave(text: str, colour: str, *, bold: bool = False) -> str:  # noqa: ARG001 - painting with no paint
    return text
