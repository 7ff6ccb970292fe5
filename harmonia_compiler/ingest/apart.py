"""Reads HTML and PDF in a process of its own, whose time and memory are bounded.

Nothing in such a file tells reliably, before it is parsed, how long that takes. For each tag an HTML
parser looks through the elements that are open, as the standard asks of it, so that a few megabytes
that open elements and never close them take minutes. A PDF of some kilobytes may show one page
thousands of times. And nothing stops a parser once it runs, but the end of its process.

The process (`parser.py`) starts with the first such file of a run and reads all of them, since its
start takes longer than most files do. Where a file exceeds its bounds the process ends, and the next
file starts another.
"""

import json
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field

from harmonia_compiler.runtime.modules import module_command

#: The code with which the process ends where a file takes more memory than it may.
OUT_OF_MEMORY = 75


@dataclass(frozen=True, slots=True)
class Format:
    """What is parsed, and how long that may take: seconds of a core for each file, and for each MiB of it.

    That is several times what ordinary files take. `often` says what takes longer.
    """

    name: str
    seconds: int
    seconds_per_mib: int
    often: str


HTML = Format("HTML", 10, 2, "its elements may nest too deeply")
PDF = Format("PDF", 30, 20, "a part of it may take less")


@dataclass(slots=True)
class Apart:
    """The process, as long as there is one, and how much memory it may take; `close` ends it."""

    memory_mib: int = 4096
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def read(self, form: Format, content: bytes, most: int) -> tuple[str, str]:
        """The title of a file and its text, which is cut off where it has more than `most` characters, behind one more.

        Raises `ValueError` that says why there is none.
        """
        seconds = form.seconds + form.seconds_per_mib * len(content) // 2**20
        header = {"format": form.name, "bytes": len(content), "seconds": seconds, "most": most}
        answer = self._ask(json.dumps(header).encode() + b"\n", content)
        if answer is None:
            raise ValueError(self._why(form, seconds, self._end()))
        if "reason" in answer:
            raise ValueError(answer["reason"])
        return answer["title"], answer["text"]

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def _ask(self, header: bytes, content: bytes) -> dict[str, str] | None:
        """What the process answers; None where it ended instead."""
        if self._process is None:
            command = module_command("harmonia_compiler.ingest.parser", str(self.memory_mib))
            self._process = subprocess.Popen(  # noqa: S603 - words of ours
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        with suppress(BrokenPipeError):  # it has ended, and its answers too
            asked.write(header)
            asked.write(content)
            asked.flush()
        line = answers.readline()
        answer: dict[str, str] | None = json.loads(line) if line.endswith(b"\n") else None
        return answer

    def _end(self) -> int:
        """Wait for the process, which has ended or is about to; the code that it ended with."""
        process, self._process = self._process, None
        assert process is not None
        with suppress(BrokenPipeError), process:  # leaving it closes the pipes, of which one may have no reader
            pass
        return process.returncode

    def _why(self, form: Format, seconds: int, code: int) -> str:
        if code == -signal.SIGXCPU:
            return f"its {form.name} takes more than {seconds} s to parse; {form.often}"
        if code == OUT_OF_MEMORY:
            return f"its {form.name} takes more than {self.memory_mib:,} MiB of memory to parse; {form.often}"
        return f"its {form.name} cannot be parsed"
