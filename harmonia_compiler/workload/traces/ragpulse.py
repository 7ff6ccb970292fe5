"""RAGPulse: a week of a real RAG service, one JSON object a line; times in seconds from the start of the recording.

`hash_ids` names what each prompt was made of, part by part: requests with the same passages share those. How long
a part was stands elsewhere, so that blocks have no length here. The question's own length is not told either:
`input_length` is that of the whole prompt, passages included.
"""

import math
import re
from collections.abc import Iterator
from functools import partial

import msgspec

from harmonia_compiler.workload.request import Arrival
from harmonia_compiler.workload.traces.format import Format
from harmonia_compiler.workload.traces.lines import Line, Lines

_S = 1000.0
#: Python takes more for a number: `1_0`, and the digits of every script. Digits can be matched in one way alone.
_NUMBER = re.compile(r"\s*[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\s*")

#: Any of the parts may be left out.
_PARTS = re.compile(r'"hash_ids"\s*:\s*\{')


class _Parts(msgspec.Struct):
    """In the order in which they stand in a prompt."""

    sys_prompt: tuple[int, ...] = ()
    passages_ids: tuple[int, ...] = ()
    history: tuple[int, ...] = ()
    web_search: tuple[int, ...] = ()
    user_input: tuple[int, ...] = ()


class _Row(msgspec.Struct):
    timestamp: int | float | str
    input_length: int
    output_length: int
    hash_ids: _Parts
    session_id: str | None = None


def _fits(first: str) -> bool:
    return all(f'"{key}"' in first for key in ("timestamp", "input_length")) and _PARTS.search(first) is not None


def _read(lines: Lines) -> Iterator[tuple[int, Arrival]]:
    for line in lines:
        if (row := lines.row(line, _Row)) is not None and (arrival := _arrival(lines, line, row)) is not None:
            yield line.number, arrival


def _arrival(lines: Lines, line: Line, row: _Row) -> Arrival | None:
    written = row.timestamp
    try:
        at_ms = math.nan if isinstance(written, str) and not _NUMBER.fullmatch(written) else float(written) * _S
    except OverflowError:
        at_ms = math.inf
    if math.isnan(at_ms):
        span = lines.value(line, "timestamp")
        lines.wrong("E1304", "`timestamp` is no number", span, "it is in seconds, as in `82`")
        return None
    fine = lines.is_time("timestamp", at_ms, partial(lines.value, line, "timestamp"))
    fine &= lines.is_count("input_length", row.input_length, partial(lines.value, line, "input_length"))
    fine &= lines.is_count("output_length", row.output_length, partial(lines.value, line, "output_length"))
    parts = row.hash_ids
    prefix = parts.sys_prompt + parts.passages_ids + parts.history + parts.web_search + parts.user_input
    arrival = Arrival(
        at_ms, prompt_tokens=row.input_length, answer_tokens=row.output_length, prefix=prefix, session=row.session_id
    )
    return arrival if fine else None


FORMAT = Format(
    "ragpulse", '{"timestamp": "82", …, "hash_ids": {"sys_prompt": […], "passages_ids": […], …}}', _fits, _read
)
