"""Paths to files: what trees hold, where each file is, and the name that it would go by.

A document is known by its place, the absolute path of its file with the links on the way to its
tree resolved, so that two trees never meet, wherever a run begins. Its name is for people: its path
from a base folder or, outside of that, from the folder that was given. Hidden files, version
control, caches and environments are passed over; links are followed only to files that stay inside
the tree.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Findings
from harmonia_compiler.ingest.documents import SUFFIXES

_PASSED_OVER = frozenset({"CVS", "__pycache__", "node_modules"})
_KINDS = {
    stat.S_IFIFO: "is a pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
}
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


@dataclass(frozen=True, slots=True)
class Found:
    """A file to read: as it was reached, where it is, and the name that its document would go by."""

    path: Path
    place: str
    name: str


@dataclass(frozen=True, slots=True)
class Tree:
    """What was found under the places `roots`; what lies under `closed` could not be listed.

    `named_anew` says that the names follow a base that the user gave, whatever documents were called.
    """

    files: tuple[Found, ...] = ()
    roots: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    findings: tuple[Diagnostic, ...] = ()
    named_anew: bool = False


def place_of(path: Path) -> str:
    """Where a path leads, whether or not there is anything; never fails, also not for links in a circle."""
    return os.path.realpath(path)


def is_within(place: str, root: str) -> bool:
    """Whether a place is the root or lies under it."""
    return place == root or place.startswith(root if root.endswith("/") else f"{root}/")


def discover(paths: Sequence[Path], base: Path | None = None) -> Tree:
    """Every document under the paths, in order of the places; findings instead of exceptions.

    Without a base, names begin at the current folder.
    """
    walk = _Walk()
    if base is not None and not base.is_dir():
        walk.findings.add("E1001", f"there is no folder `{base}`", help="check what is given to --base")
    for path in paths:
        walk.take(path, place_of(base or Path()))
    if paths and not walk.files and not walk.findings.failed:
        walk.findings.add(
            "E1002",
            f"no documents under {', '.join(f'`{path}`' for path in paths)}",
            help=f"documents are files that end in {', '.join(sorted(SUFFIXES))}; what was ingested from a path that "
            "is empty now goes with --forget",
        )
    return Tree(
        files=tuple(walk.files[place] for place in sorted(walk.files)),
        roots=tuple(walk.roots),
        closed=tuple(walk.closed),
        findings=tuple(walk.findings.items),
        named_anew=base is not None,
    )


@dataclass(slots=True)
class _Walk:
    """Collects from one path after the other."""

    files: dict[str, Found] = field(default_factory=dict)
    roots: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)

    def take(self, path: Path, base: str) -> None:
        """What is under one of the given paths."""
        try:
            mode = path.stat().st_mode
        except OSError as problem:
            self._is_not_there(path, problem)
            return
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            self.findings.add("E1001", f"`{path}` is neither a file nor a folder", help="name a file or a folder")
            return
        root = place_of(path)
        self.roots.append(root)
        for file in self._listed(path, root) if stat.S_ISDIR(mode) else [path]:
            inside = file.relative_to(path).parts
            place = str(Path(root, *inside))
            self.files.setdefault(place, Found(file, place, "/".join(filter(None, (_name(root, base), *inside)))))

    def _is_not_there(self, path: Path, problem: OSError) -> None:
        if problem.errno not in _ABSENT:
            message, advice = f"`{path}` cannot be read: {problem.strerror}", "see who may read it"
        elif path.is_symlink():
            message, advice = f"`{path}` is a link that leads nowhere", "name the file or folder itself"
        else:
            message = f"there is no file or folder `{path}`"
            advice = "check the path for typing mistakes; what was ingested from a path that is gone goes with --forget"
        self.findings.add("E1001", message, help=advice)

    def _listed(self, root: Path, whole: str) -> Iterator[Path]:
        def closed(problem: OSError) -> None:
            folder = Path(problem.filename)
            self.closed.append(str(Path(whole, *folder.relative_to(root).parts)))
            message = f"`{folder}` cannot be read: {problem.strerror}"
            self.findings.add("E1003", message, help="see that the folder is there and who may read it")

        for folder, folders, names in os.walk(root, onerror=closed):
            folders[:] = sorted(name for name in folders if _is_wanted(Path(folder, name)))
            for name in sorted(names):
                file = Path(folder, name)
                if not name.startswith(".") and file.suffix.lower() in SUFFIXES and self._is_taken(file, root, whole):
                    yield file

    def _is_taken(self, file: Path, root: Path, whole: str) -> bool:
        """A file that is there, and no pipe or device, which may block whoever opens it; links only inside the tree."""
        is_link = False
        try:
            is_link = stat.S_ISLNK(file.lstat().st_mode)
            if is_link and not is_within(place_of(file), whole):
                advice = "give what it leads to as a path of its own, or remove the link"
                self._warn_of(file, f"leaves `{root}` and was not followed", advice)
                return False
            mode = file.stat().st_mode
            if not stat.S_ISREG(mode):
                kind = _KINDS.get(stat.S_IFMT(mode), "is not a file")
                self.findings.add(
                    "W1007", f"`{file}` {kind} and was passed over", help="put a file in its place, or remove it"
                )
            return stat.S_ISREG(mode)
        except OSError as problem:
            if problem.errno not in _ABSENT:
                # Who reads it says what is wrong, and what the collection has of it stays.
                return True
            if is_link:
                self._warn_of(file, "leads to no file", "remove the link, or let it lead to one")
            return False

    def _warn_of(self, link: Path, reason: str, advice: str) -> None:
        self.findings.add("W1001", f"`{link}` is a link that {reason}", help=advice)


def _name(root: str, base: str) -> str:
    """The path of a root from the base, or its own name where it lies outside; the base itself is nameless."""
    if root == base:
        return ""
    return Path(root).relative_to(base).as_posix() if is_within(root, base) else Path(root).name


def _is_wanted(folder: Path) -> bool:
    """A folder that is not hidden, not a cache, not a Python environment; `os.walk` follows no link."""
    if folder.name.startswith(".") or folder.name in _PASSED_OVER:
        return False
    try:
        return not (folder / "pyvenv.cfg").exists()
    except OSError:
        return True  # it is closed, which listing it reports
