"""Paths to files: what a tree holds, under the names that its documents go by.

A document is known by its path relative to a base folder, or, outside of it, by its path from the
folder that was given. Hidden files, version control, caches and environments are passed over;
links are followed only to files that stay inside the tree.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Findings
from harmonia_compiler.ingest.documents import SUFFIXES

_PASSED_OVER = frozenset({"CVS", "__pycache__", "node_modules"})


@dataclass(frozen=True, slots=True)
class Found:
    """A file to read, and the name that its document goes by."""

    source: str
    path: Path


@dataclass(frozen=True, slots=True)
class Tree:
    """What was found. `roots` are the names of the given paths; the base itself is the empty name."""

    files: tuple[Found, ...]
    roots: tuple[str, ...]
    findings: tuple[Diagnostic, ...]

    def covers(self, source: str) -> bool:
        """Whether a document of that name would lie under one of the given paths."""
        return any(root in ("", source) or source.startswith(f"{root}/") for root in self.roots)


def discover(paths: Sequence[Path], base: Path) -> Tree:
    """Every document under the paths, in order of the names; findings instead of exceptions."""
    findings = Findings()
    files: dict[str, Path] = {}
    roots: list[str] = []
    for path in paths:
        if not path.exists():
            findings.add("E1001", f"there is no file or folder `{path}`", help="check the path for typing mistakes")
            continue
        if not path.is_dir() and not _is_regular(path):
            findings.add("E1001", f"`{path}` is neither a file nor a folder", help="name a file or a folder")
            continue
        root = _name(path, base)
        roots.append(root)
        for file in _walk(path, findings) if path.is_dir() else [path]:
            source = "/".join(filter(None, (root, *file.relative_to(path).parts)))
            known = files.setdefault(source, file)
            if known.resolve() != file.resolve():
                findings.add(
                    "E1005",
                    f"`{known}` and `{file}` would both be known as `{source}`",
                    help="run from a folder that holds both, or name it with --base",
                )
    found = tuple(Found(source, files[source]) for source in sorted(files))
    if not found and not findings.failed:
        findings.add(
            "E1002",
            f"no documents under {', '.join(f'`{path}`' for path in paths)}",
            help=f"documents are files that end in {', '.join(sorted(SUFFIXES))}",
        )
    return Tree(found, tuple(roots), tuple(findings.items))


def _name(path: Path, base: Path) -> str:
    whole, inside = path.resolve(), base.resolve()
    if whole == inside:
        return ""
    return whole.relative_to(inside).as_posix() if whole.is_relative_to(inside) else whole.name


def _walk(root: Path, findings: Findings) -> Iterator[Path]:
    whole = root.resolve()

    def unreadable(problem: OSError) -> None:
        findings.add("E1003", f"`{problem.filename}` cannot be read: {problem.strerror}")

    for folder, folders, names in os.walk(root, onerror=unreadable):
        folders[:] = sorted(name for name in folders if _is_wanted(Path(folder, name)))
        for name in sorted(names):
            file = Path(folder, name)
            if name.startswith(".") or file.suffix.lower() not in SUFFIXES:
                continue
            if file.is_symlink() and not file.resolve().is_relative_to(whole):
                findings.add("W1001", f"`{file}` is a link that leaves `{root}` and was not followed")
            elif _is_regular(file):
                yield file


def _is_wanted(folder: Path) -> bool:
    """A folder that is not hidden, not a cache, not a Python environment; `os.walk` follows no link."""
    name = folder.name
    return not name.startswith(".") and name not in _PASSED_OVER and not (folder / "pyvenv.cfg").exists()


def _is_regular(file: Path) -> bool:
    """Neither a broken link nor a pipe, which would block whoever opens it."""
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except OSError:
        return False
