"""The user's Python that a bundle carries: modules are found, read and copied, never imported.

A module brings along what it imports from the project's own folders, found by reading its import
statements. Nothing outside of the project's root is ever copied.
"""

import ast
from collections.abc import Iterable, Sequence
from pathlib import Path

from harmonia_compiler.contract.bundle import ReplicaLaunch
from harmonia_compiler.contract.launch import Fill
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular, real
from harmonia_compiler.contract.requirements import LOCK
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.source import Source, Span
from harmonia_compiler.emit.folder import CONTENTS, is_bundle
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.kinds.python import FILES, REQUIRES

#: Where the modules lie in a bundle.
CODE = "code"

#: Always installed where a bundle is started, and in a checkout of this project also found in its root.
_OURS = "harmonia_compiler"


def source_folders(application: Application, root: Path) -> list[Path]:
    """Where the user's modules are looked for: beside the sources, then in the project's root."""
    beside, project = [real(Path(source.name)).parent for source in application.sources], real(root)
    return list(dict.fromkeys(folder for folder in (*beside, project) if folder.is_relative_to(project)))


def user_code(
    replicas: Iterable[ReplicaLaunch], application: Application, folders: Sequence[Path], root: Path
) -> dict[str, bytes]:
    """The files to put into a bundle, by their paths in it, for the replicas that run the user's functions.

    `folders` are searched in their order. Raises `Rejected` for a module that none of them has.
    """
    wanted = {
        str(application.engines[replica.engine].settings["function"]).split(":")[0].split(".")[0]: replica.engine
        for replica in replicas
        if any(isinstance(word, Fill) and word.slot == "code" for word in replica.launch.command)
    }
    files: dict[str, bytes] = {}
    for module, engine in sorted(wanted.items()):
        place = application.place(engine, "function")
        if not _find(module, folders):
            shown = " or ".join(f"`{_shown(folder, root)}`" for folder in folders)
            message = f"there is no module `{module}` in {shown}"
            raise Rejected([Diagnostic("E0904", message, place, help="put the file beside the .rag that names it")])
        _add(module, place, folders, root, files)
    for name, engine in sorted(_named(replicas, application).items()):
        _add_files(name, application.place(engine, FILES), folders, root, files)
    return dict(sorted(files.items()))


def _named(replicas: Iterable[ReplicaLaunch], application: Application) -> dict[str, str]:
    """The files and folders that components name, each with an engine of those that do."""
    engines = {replica.engine for replica in replicas}
    settings = {engine: application.engines[engine].settings for engine in sorted(engines)}
    return {str(given[FILES]): engine for engine, given in settings.items() if given.get(FILES) is not None}


def _add_files(name: str, place: Span | None, folders: Sequence[Path], root: Path, files: dict[str, bytes]) -> None:
    """Add a file or a folder as it is, and what its modules import. `place` is where it is named."""
    base = next((folder for folder in folders if (folder / name).exists()), None)
    if base is None:
        raise Rejected([Diagnostic("E0904", f"there is no `{name}`", place, "put it beside the .rag that names it")])
    whole = base / name
    for part in (Path(name), *Path(name).parents[:-1]):
        if is_bundle(base / part):
            step = "name what lies outside of bundles"
            raise Rejected([Diagnostic("E0904", f"`{part}` is a bundle", place, step)])
    for path in _own_files(whole) if whole.is_dir() else [whole]:
        into = f"{CODE}/{path.relative_to(base).as_posix()}"
        if into == f"{CODE}/{LOCK}":
            step = f"give the file another name, or name it by `{REQUIRES}`"
            raise Rejected([Diagnostic("E0904", f"`{LOCK}` is what a bundle calls its lock", place, step)])
        if into not in files:
            files[into] = _read(path, place, root)
            for imported, where in _imports(path, files[into], root).items():
                _add(imported, where, folders, root, files)


def _add(module: str, place: Span | None, folders: Sequence[Path], root: Path, files: dict[str, bytes]) -> None:
    """Add a module and what it imports, each once. `place` is where the module is named."""
    for base, path in _find(module, folders):
        name = f"{CODE}/{path.relative_to(base).as_posix()}"
        if name in files:
            continue
        files[name] = _read(path, place, root)
        for imported, where in _imports(path, files[name], root).items():
            _add(imported, where, folders, root, files)


def _find(module: str, folders: Sequence[Path]) -> list[tuple[Path, Path]]:
    """The files of a top-level module, each with the folder that it is found in; none where there is no such module."""
    for folder in folders:
        package, single = folder / module, folder / f"{module}.py"
        if (package / "__init__.py").is_file():
            return [(folder, path) for path in _own_files(package)]
        if single.is_file():
            return [(folder, single)]
    return []


def _own_files(whole: Path) -> list[Path]:
    """The files of a folder, without those of bundles in it: the one that is written would carry itself."""
    found = sorted(whole.rglob("*"))
    bundles = {path.parent for path in found if path.name == CONTENTS and is_bundle(path.parent)}
    return [path for path in found if _belongs(path, whole) and bundles.isdisjoint(path.parents)]


def _belongs(path: Path, package: Path) -> bool:
    """Whether a file is the package's own: hidden ones may hold secrets, caches what Python makes anew."""
    parts = path.relative_to(package).parts
    return path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in parts)


def _read(path: Path, place: Span | None, root: Path) -> bytes:
    if not real(path).is_relative_to(real(root)):
        message = f"`{_shown(path, root)}` leads out of the project"
        raise Rejected([Diagnostic("E0904", message, place, help="put the file itself there in place of the link")])
    try:
        return read_regular(path, MOST_DOCUMENT_BYTES)
    except OSError as problem:
        step = "have the function read it from a place of its own: a bundle keeps a copy for each plan that served"
        message = f"`{_shown(path, root)}` cannot be copied: {problem.strerror}"
        raise Rejected([Diagnostic("E0904", message, place, step)]) from None


def _imports(path: Path, content: bytes, root: Path) -> dict[str, Span]:
    """The top-level names that a file imports, each with the first line that does.

    What relative imports name is in its own package already.
    """
    if path.suffix != ".py":
        return {}
    source = Source(_shown(path, root), content.decode(errors="replace"))
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as problem:
        # The last two are how Python's parser says that a file is nested too deeply.
        reason = getattr(problem, "msg", "") or str(problem) or "it is nested too deeply"
        place = source.span_of_line(getattr(problem, "lineno", None) or 1)
        help = "mend it: a component is made from it, or from what imports it"
        raise Rejected([Diagnostic("E0904", f"`{path.name}` is no Python: {reason}", place, help)]) from None
    lines: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        else:
            continue
        for name in names:
            lines.setdefault(name.split(".")[0], node.lineno)
    return {name: source.span_of_line(lines[name]) for name in sorted(lines.keys() - {_OURS})}


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else path.name
