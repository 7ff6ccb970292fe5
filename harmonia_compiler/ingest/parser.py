"""The process that parses HTML and PDF for `apart.py`, one file of its input after the other.

A file comes as a line of JSON and its bytes; the answer is a line of JSON, with the title and the
text or the reason why there is none. The process ends where a file takes more time or memory than it
may. The kernel sees to both: parsers that are written in C cannot be asked to stop.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from math import ceil
from typing import BinaryIO

from harmonia_compiler.ingest.apart import HTML, OUT_OF_MEMORY, PDF
from harmonia_compiler.ingest.html import html_to_markdown
from harmonia_compiler.ingest.pdf import pdf_to_text

#: Takes the bytes of a file, and the most characters that are of use.
_Parse = Callable[[bytes, int], tuple[str, str]]


def _html(content: bytes, _most: int) -> tuple[str, str]:
    return html_to_markdown(content.decode())


_PARSERS: dict[str, _Parse] = {HTML.name: _html, PDF.name: pdf_to_text}


def _serve(files: BinaryIO, answers: BinaryIO) -> None:
    for line in files:
        header = json.loads(line)
        content = files.read(header["bytes"])
        used = resource.getrusage(resource.RUSAGE_SELF)
        _bound(resource.RLIMIT_CPU, ceil(used.ru_utime + used.ru_stime) + header["seconds"])
        answer = _answer(_PARSERS[header["format"]], content, header["most"])
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _answer(parse: _Parse, content: bytes, most: int) -> dict[str, str]:
    try:
        title, text = parse(content, most)
    except ValueError as unfit:
        return {"reason": str(unfit)}
    return {"title": title[:most], "text": text[: most + 1]}


def _bound(what: int, most: int) -> None:
    """Set a bound of this process, within one that it cannot lift."""
    _, hard = resource.getrlimit(what)
    within = most if hard == resource.RLIM_INFINITY else min(most, hard)
    with suppress(ValueError):  # macOS refuses a bound of memory, of which every program there reserves more
        resource.setrlimit(what, (within, hard))


def _main(memory_mib: int) -> None:
    _bound(resource.RLIMIT_CORE, 0)
    _bound(resource.RLIMIT_AS, memory_mib * 2**20)
    try:
        _serve(sys.stdin.buffer, sys.stdout.buffer)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # at once: an end in order may want memory


if __name__ == "__main__":
    _main(int(sys.argv[1]))
