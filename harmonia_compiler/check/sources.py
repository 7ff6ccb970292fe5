"""Reading the files that a program consists of: regular files under the project's root, of bounded size, in UTF-8."""

import re
import stat
from collections.abc import Sequence
from os.path import commonpath, normpath
from pathlib import Path

from harmonia_compiler.contract.regular import real
from harmonia_compiler.contract.types import quoted
from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source, Span

LARGEST_FILE = 2**20
#: All files together that are checked at a time, with those that they import, in characters.
LARGEST_PROGRAM = 4 * LARGEST_FILE
#: How many files are read at a time: each takes memory of its own, however short it is.
MOST_FILES = 1_000
#: What an address in a network begins with.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
#: The byte order mark, which some editors put before a text.
_MARK = "\ufeff"


def project_root(paths: Sequence[Path]) -> Path:
    """The folder that nothing is read outside of: the working directory, or where the files lie if elsewhere."""
    folders = [real(path).parent for path in paths]
    here = Path.cwd()
    if not folders or all(folder.is_relative_to(here) for folder in folders):
        return here
    return Path(commonpath(folders))


def beside(source: Source, path: str) -> str:
    """What a path written in a source is called: relative to the source's folder, as the user named that; one line."""
    return quoted(normpath(Path(source.name).parent / path))[1:-1]


def is_address(path: str, findings: Findings, at: Span) -> bool:
    """Whether what is given as a path is an address in a network instead, which is reported."""
    if _ADDRESS.match(path) is None:
        return False
    help = "save it in the project, and name that file"
    findings.add("E0114", f"`{quoted(path)[1:-1]}` is no file, and nothing is fetched", at, help=help)
    return True


def is_too_much(name: str, files: int, length: int, findings: Findings, at: Span | None) -> bool:
    """Whether so many files of so many characters are more than are read at a time, which is reported.

    The last of them has this name, and is named at this place.
    """
    if files <= MOST_FILES and length <= LARGEST_PROGRAM:
        return False
    much = f"more than {MOST_FILES:,} files are read"
    if length > LARGEST_PROGRAM:
        much = f"the files that are read have more than {LARGEST_PROGRAM // LARGEST_FILE} MiB"
    help = "check fewer files at a time, or import fewer"
    findings.add("E0108", f"with `{name}`, {much}", at, help=help, about="too much is read")
    return True


def read_source(path: Path, name: str, root: Path, findings: Findings, at: Span | None = None) -> Source | None:
    """A file as text, or None and a finding, at the place that names the file where there is one."""
    try:
        real = path.resolve()
        if not real.is_relative_to(root):
            findings.add(
                "E0213",
                f"`{name}` lies outside of the project",
                at,
                help=f"only files under `{root.name or root}` are read",
            )
            return None
        found = real.stat()
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
            findings.add("E0114", f"`{name}` is {what}", at, help="name a file")
            return None
        if found.st_size > LARGEST_FILE:
            size = f"{found.st_size / LARGEST_FILE:.1f} MiB"
            findings.add(
                "E0108", f"`{name}` has {size}; a file has 1 MiB at most", at, help="split it, and import its parts"
            )
            return None
        data = real.read_bytes()
    except FileNotFoundError:
        if path.exists():
            # A pipe that the shell opened lies nowhere.
            findings.add("E0114", f"`{name}` is not a regular file", at, help="name a file")
            return None
        findings.add(
            "E0114",
            f"there is no file `{name}`",
            at,
            help="check the path; it is relative to the file that names it" if at else "check the path",
        )
        return None
    except (OSError, ValueError, RuntimeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
        findings.add("E0114", f"`{name}` cannot be read: {reason}", at, help="check the path and its permissions")
        return None
    return decoded(data, name, findings)


def decoded(data: bytes, name: str, findings: Findings) -> Source | None:
    """Bytes as a text, or None and a finding where they are no UTF-8.

    Where carriage returns alone end the lines, they are newlines: one comment would else be the rest of the file.
    """
    try:
        text = data.decode("utf-8")
        if "\n" not in text:
            text = text.replace("\r", "\n")
        return Source(name, text.removeprefix(_MARK), text.startswith(_MARK))
    except UnicodeDecodeError as problem:
        before = data[: problem.start].decode("utf-8")
        shown = Source(name, data.decode("utf-8", errors="replace"))
        span = Span(shown, len(before), len(before) + 1)
        message = f"this is not UTF-8: byte 0x{data[problem.start]:02x}"
        findings.add("E0109", message, span, help="save the file as UTF-8")
        return None
