"""What a trace format is: how to tell it, and how to read its lines."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harmonia_compiler.workload.request import Arrival
from harmonia_compiler.workload.traces.lines import Lines


@dataclass(frozen=True, slots=True)
class Format:
    """A format of traces.

    `looks` is its first line as a person would recognise it; `fits` says whether a file's first line is of it.
    `read` gives the requests in the order of the file, with times as the file has them, in milliseconds; what is
    wrong with a line is noted in the lines, and the line left out.
    """

    name: str
    looks: str
    fits: Callable[[str], bool]
    read: Callable[[Lines], Iterator[tuple[int, Arrival]]]
