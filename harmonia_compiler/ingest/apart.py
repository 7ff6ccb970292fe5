"""Reads large HTML pages in a process of its own, whose CPU time is bounded.

For each tag an HTML parser looks through the elements that are open, as the standard asks of it. So
its time grows with the square of how deeply elements nest, and a few megabytes that open elements
and never close them take minutes. Nothing in the text tells such a page reliably before it is
parsed, and nothing stops the parser once it runs, but the end of its process.
"""

import json
import resource
import signal
import subprocess
import sys

from harmonia_compiler.ingest.html import html_to_markdown

#: Pages with fewer tags are read in place: however they nest, that takes a second or two.
_TAGS_IN_PLACE = 20_000
#: What a page may take: some ten times what an ordinary one of its size does.
_SECONDS = 10
_SECONDS_PER_MIB = 2


def read_page(source: str) -> tuple[str, str]:
    """The page's title and its main text; raises `ValueError` that says why there is none."""
    if source.count("<") < _TAGS_IN_PLACE:
        return html_to_markdown(source)
    content = source.encode(errors="replace")
    seconds = _SECONDS + _SECONDS_PER_MIB * len(content) // 2**20
    command = [sys.executable, "-P", "-m", "harmonia_compiler.ingest.apart", str(seconds)]
    reading = subprocess.run(command, input=content, capture_output=True, check=False)  # noqa: S603 - words of ours
    if reading.returncode == -signal.SIGXCPU:
        raise ValueError(f"its HTML takes more than {seconds} s to parse; its elements may nest too deeply")
    if reading.returncode != 0:
        raise ValueError("its HTML cannot be parsed")
    title, text = json.loads(reading.stdout)
    return title, text


def _main(seconds: int) -> None:
    """The page of standard input to standard output, as JSON."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    sys.stdout.write(json.dumps(html_to_markdown(sys.stdin.buffer.read().decode())))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
