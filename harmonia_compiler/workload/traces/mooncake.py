"""Mooncake: one JSON object a line, times in milliseconds from the start of the recording.

`hash_ids` names the prompt's blocks of 512 tokens; a name stands for its block and all that precedes it.
"""

import re
from collections.abc import Iterator
from functools import partial

import msgspec

from harmonia_compiler.workload.request import Arrival
from harmonia_compiler.workload.traces.format import Format
from harmonia_compiler.workload.traces.lines import Line, Lines

_BLOCK_TOKENS = 512
#: Names of blocks that are no list, as another format has them.
_OTHER = re.compile(r'"hash_ids"\s*:\s*[^\s\[]')


class _Row(msgspec.Struct):
    timestamp: float
    input_length: int
    output_length: int
    hash_ids: tuple[int, ...] = ()
    session_id: str | None = None


def _fits(first: str) -> bool:
    return all(f'"{key}"' in first for key in ("timestamp", "input_length")) and not _OTHER.search(first)


def _read(lines: Lines) -> Iterator[tuple[int, Arrival]]:
    for line in lines:
        if (row := lines.row(line, _Row)) is not None and (arrival := _arrival(lines, line, row)) is not None:
            yield line.number, arrival


def _arrival(lines: Lines, line: Line, row: _Row) -> Arrival | None:
    fine = lines.is_time("timestamp", row.timestamp, partial(lines.value, line, "timestamp"))
    fine &= lines.is_count("input_length", row.input_length, partial(lines.value, line, "input_length"))
    fine &= lines.is_count("output_length", row.output_length, partial(lines.value, line, "output_length"))
    arrival = Arrival(
        row.timestamp,
        prompt_tokens=row.input_length,
        answer_tokens=row.output_length,
        prefix=row.hash_ids,
        block_tokens=_BLOCK_TOKENS,
        session=row.session_id,
    )
    return arrival if fine else None


FORMAT = Format(
    "mooncake", '{"timestamp": 0, "input_length": 6755, "output_length": 500, "hash_ids": […]}', _fits, _read
)
