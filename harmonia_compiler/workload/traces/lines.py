"""The lines of a trace, with where each of their fields stands: what formats read and note mistakes in."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.diagnostics.source import Source, Span

#: A line that is longer is no request.
MOST_LINE = 1 << 20
#: More tokens than any model reads.
MOST_TOKENS = 10_000_000
#: Times count from the start of a recording, or from 1970; both lie well below this, in milliseconds.
MOST_MS = 1e13
#: When so many mistakes are found, more of them would say nothing new.
MOST_FINDINGS = 20

#: Lines with nothing in them, however many: one by one they would take seconds for each million.
_BLANKS = re.compile(r"[ \t\r\n]*\n")
_BYTE = re.compile(r" \(byte (\d+)\)$")
_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")
_MISSING = re.compile(r"missing required field `(.*?)`")
_VALUE = r'\s*:\s*("(?:\\.|[^"\\])*"?|[^,}\]\s]+)'

#: Where something stands: looked for only once it is wrong, since most lines are right.
Place = Callable[[], Span]
_Row = TypeVar("_Row", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not empty: its number, counted from 1, where it begins in the text, and what it says."""

    number: int
    start: int
    text: str


@dataclass(slots=True)
class Lines:
    """The lines of a source, and what is found wrong in them."""

    source: Source
    found: list[Diagnostic] = field(default_factory=list)

    def __iter__(self) -> Iterator[Line]:
        """The lines that are not empty and not too long, until too much is wrong."""
        start = number = 0
        text = self.source.text
        while start < len(text) and len(self.found) < MOST_FINDINGS:
            if (blank := _BLANKS.match(text, start)) is not None:
                number += text.count("\n", start, blank.end())
                start = blank.end()
                continue
            number += 1
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            line = Line(number, start, text[start:end].removesuffix("\r"))
            start = end + 1
            if len(line.text) > MOST_LINE:
                message = f"line {number} is longer than {MOST_LINE >> 20} MiB"
                self.wrong("E1303", message, self.span(line, 0, 1), "a request is one line; take out what is none")
            elif line.text.strip():
                yield line

    def span(self, line: Line, start: int, end: int) -> Span:
        """Characters of a line; at least one where the line has any."""
        end = max(end, min(start + 1, len(line.text)))
        return Span(self.source, line.start + start, line.start + end)

    def wrong(self, code: str, message: str, span: Span, help_: str) -> None:
        """Note a mistake."""
        self.found.append(Diagnostic(code, message, span, help=help_))

    def row(self, line: Line, of: type[_Row]) -> _Row | None:
        """A line that is a JSON object with these fields; None, and a finding, where it is not."""
        try:
            return decode_document(line.text.encode(), of)
        except msgspec.ValidationError as problem:
            said = str(problem)
            if missing := _MISSING.search(said):
                message, span = f"`{missing[1]}` is missing", self.span(line, 0, len(line.text))
            else:
                place = _PLACE.search(said)
                path = place[1] if place else ""
                what = said[: place.start()] if place else said
                message = f"{f'`{path}`: ' if path else ''}{what[:1].lower()}{what[1:]}"
                span = self.value(line, re.split(r"[.\[]", path)[0])
            self.wrong("E1304", message, span, "mend the line or take it out")
        except msgspec.DecodeError as problem:
            said = str(problem)
            at = _BYTE.search(said)
            start = len(line.text.encode()[: int(at[1])].decode(errors="ignore")) if at else 0
            why = _BYTE.sub("", said).removeprefix("JSON is malformed: ")
            message = f"the line is no JSON object: {why[:1].lower()}{why[1:]}"
            span = self.span(line, min(start, len(line.text) - 1), start + 1)
            self.wrong("E1303", message, span, "mend the line or take it out")
        return None

    def value(self, line: Line, key: str) -> Span:
        """Where the value of a key of a JSON object stands; the whole line where it cannot be told."""
        found = re.search(f'"{re.escape(key)}"{_VALUE}', line.text) if key else None
        return self.span(line, found.start(1), found.end(1)) if found else self.span(line, 0, len(line.text))

    def is_count(self, name: str, value: int, place: Place) -> bool:
        """Whether a number of tokens can be one; a finding at its place where it cannot."""
        return self._in_range(name, value, MOST_TOKENS, place, f"tokens are counted from 0 to {MOST_TOKENS:,}")

    def is_time(self, name: str, ms: float, place: Place) -> bool:
        """Whether a time, in milliseconds, can be one; a finding at its place where it cannot."""
        return self._in_range(name, ms, MOST_MS, place, "times count from the recording's start, or from 1970")

    def _in_range(self, name: str, value: float, most: float, place: Place, help_: str) -> bool:
        if 0 <= value <= most:
            return True
        why = "negative" if value < 0 else "too large" if value > most else "not a number"
        self.wrong("E1305", f"`{name}` is {why}", place(), help_)
        return False
