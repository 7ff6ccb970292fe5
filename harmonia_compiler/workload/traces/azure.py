"""Azure's LLM inference traces: CSV with a header, `TIMESTAMP,ContextTokens,GeneratedTokens`, times as dates."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.workload.request import Arrival
from harmonia_compiler.workload.traces.format import Format
from harmonia_compiler.workload.traces.lines import Line, Lines

_TIME, _PROMPT, _ANSWER = "TIMESTAMP", "ContextTokens", "GeneratedTokens"
_HEADER = (_TIME, _PROMPT, _ANSWER)
_S = 1000.0
#: More digits than any number of tokens has; longer ones take Python long to read.
_MOST_DIGITS = 18


def _fits(first: str) -> bool:
    return all(name in _names(first) for name in _HEADER)


def _names(header: str) -> list[str]:
    return [_unquoted(cell) for cell in header.removeprefix("\ufeff").split(",")]


def _read(lines: Lines) -> Iterator[tuple[int, Arrival]]:
    columns: list[str] = []
    for line in lines:
        if not columns:
            columns = _names(line.text)
            off = next((name for name in _HEADER if columns.count(name) != 1), None)
            if off is not None:
                message = f"the header has {'several columns' if off in columns else 'no column'} `{off}`"
                help_ = f"the first line is `{','.join(_HEADER)}`, in any order"
                lines.wrong("E1303", message, lines.span(line, 0, len(line.text)), help_)
                return
        elif (arrival := _arrival(lines, line, columns)) is not None:
            yield line.number, arrival


def _arrival(lines: Lines, line: Line, columns: list[str]) -> Arrival | None:
    cells = line.text.split(",")
    if len(cells) != len(columns):
        message = f"the line has {len(cells)} columns, and the header {len(columns)}"
        lines.wrong("E1303", message, lines.span(line, 0, len(line.text)), "mend the line or take it out")
        return None
    at_ms = _time(lines, line, cells, columns.index(_TIME))
    prompt = _count(lines, line, cells, columns.index(_PROMPT), _PROMPT)
    answer = _count(lines, line, cells, columns.index(_ANSWER), _ANSWER)
    if at_ms is None or prompt is None or answer is None:
        return None
    return Arrival(at_ms, prompt_tokens=prompt, answer_tokens=answer)


def _time(lines: Lines, line: Line, cells: list[str], at: int) -> float | None:
    try:
        when = datetime.fromisoformat(_unquoted(cells[at]))
        # Without a zone, a time is one of the recording's own clock, which no summer time bends.
        ms = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * _S
    except (ValueError, OverflowError):
        help_ = "it is a date and a time, as in `2023-11-16 18:15:46.6805900`"
        lines.wrong("E1304", f"`{_TIME}` is no time", _span(lines, line, cells, at), help_)
        return None
    return ms if lines.is_time(_TIME, ms, partial(_span, lines, line, cells, at)) else None


def _count(lines: Lines, line: Line, cells: list[str], at: int, name: str) -> int | None:
    written = _unquoted(cells[at])
    digits = written.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        lines.wrong(
            "E1304", f"`{name}` is no whole number", _span(lines, line, cells, at), "it counts tokens, as in `374`"
        )
        return None
    value = int(digits.lstrip("0")[:_MOST_DIGITS] or "0") * (-1 if digits != written else 1)
    return value if lines.is_count(name, value, partial(_span, lines, line, cells, at)) else None


def _unquoted(cell: str) -> str:
    """A cell without its quotes. One at one end alone is kept: it belongs to a text that a comma has cut in two."""
    cell = cell.strip()
    return cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def _span(lines: Lines, line: Line, cells: list[str], at: int) -> Span:
    start = sum(len(cell) + 1 for cell in cells[:at])
    return lines.span(line, start, start + len(cells[at]))


FORMAT = Format("azure", ",".join(_HEADER), _fits, _read)
