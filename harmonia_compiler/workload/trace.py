"""Reads a recorded trace from a file, whatever its format, or says everything that is wrong with it."""

import errno
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from msgspec.structs import replace

from harmonia_compiler.contract.regular import read_regular
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.near import suggestion
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.workload.request import Arrival
from harmonia_compiler.workload.traces.format import Format
from harmonia_compiler.workload.traces.lines import Lines
from harmonia_compiler.workload.traces.registry import formats

MOST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Trace:
    """A recording: its requests in the order of their times, from 0 on, and what is odd about it (warnings)."""

    format: str
    arrivals: tuple[Arrival, ...]
    found: tuple[Diagnostic, ...] = ()


def read_trace(path: Path, format: str | None = None) -> Trace:  # noqa: A002 - what the option is called
    """The trace in a file, of the format of that name, else of the one that fits its first line.

    Raises Rejected with everything that is wrong with it.
    """
    try:
        raw = read_regular(path, MOST_BYTES)
    except OSError as problem:
        if problem.errno == errno.EFBIG:
            message = f"the trace `{path}` is larger than {MOST_BYTES >> 20} MiB"
            raise Rejected([Diagnostic("E1301", message, help="take a part of it, such as its first lines")]) from None
        message = f"cannot read the trace `{path}`: {problem.strerror}"
        raise Rejected([Diagnostic("E1301", message, help="check the path and its permissions")]) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        number = raw.count(b"\n", 0, problem.start) + 1
        message = f"the trace `{path}` is not UTF-8 text, in line {number}"
        raise Rejected([Diagnostic("E1301", message, help="unpack it if it is packed, and save it as UTF-8")]) from None
    return parse_trace(Source(str(path), text), format)


def parse_trace(source: Source, format: str | None = None) -> Trace:  # noqa: A002 - as above
    """The trace that a text holds; raises as `read_trace` does."""
    lines = Lines(source)
    known = _format(lines, format)
    numbered = list(known.read(lines)) if known else []
    if not numbered and not lines.found:
        message = "the trace holds no request"
        lines.wrong("E1306", message, source.span_of_line(1), "give a trace with at least one line of a request")
    if lines.found:
        raise Rejected(lines.found)
    assert known is not None
    arrivals, found = _in_order(source, numbered)
    first_ms = arrivals[0].at_ms
    return Trace(known.name, tuple(replace(one, at_ms=one.at_ms - first_ms) for one in arrivals), found)


def _format(lines: Lines, named: str | None) -> Format | None:
    """The format of that name, else the one that fits; None where the file is empty, or with a finding."""
    known = formats()
    if named is not None:
        if named not in known:
            help_ = suggestion(named, known, f"there are {', '.join(known)}")
            raise Rejected([Diagnostic("E1302", f"there is no trace format `{named}`", help=help_)])
        return known[named]
    first = next(iter(lines), None)
    if first is None:
        return None
    fitting = [one for one in known.values() if one.fits(first.text)]
    if len(fitting) == 1:
        return fitting[0]
    message = "no trace format fits this line" if not fitting else "several trace formats fit this line"
    looks = "; ".join(f"{one.name}: `{one.looks}`" for one in fitting or known.values())
    lines.wrong("E1302", message, lines.span(first, 0, len(first.text)), f"name one with --trace-format: {looks}")
    return None


def _in_order(source: Source, numbered: list[tuple[int, Arrival]]) -> tuple[list[Arrival], tuple[Diagnostic, ...]]:
    """By time. A recording may be put together from parts, as RAGPulse's is: worth a word, but no mistake."""
    back = [at for (_, before), (at, after) in pairwise(numbered) if after.at_ms < before.at_ms]
    arrivals = [arrival for _, arrival in numbered]
    if not back:
        return arrivals, ()
    times = "once" if len(back) == 1 else f"{len(back)} times"
    message = f"times go back {times}, here first; the requests were put in the order of their times"
    help_ = "sort the file by time where it is one recording"
    return sorted(arrivals, key=lambda one: one.at_ms), (
        Diagnostic("W1301", message, source.span_of_line(back[0]), help=help_),
    )
