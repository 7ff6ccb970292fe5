"""Python modules beside a `.rag` or in the project's folder, whose functions components are made from.

They are parsed, never imported.
"""

import ast
import sys
import warnings
from collections.abc import Iterator
from enum import Enum
from functools import cache
from os.path import relpath
from pathlib import Path

from harmonia_compiler.check.annotations import Annotations, Signature
from harmonia_compiler.check.made import MOST_PORTS
from harmonia_compiler.check.program import Context, Unit
from harmonia_compiler.check.sources import beside, read_source
from harmonia_compiler.contract.regular import real
from harmonia_compiler.diagnostics.diagnostic import Findings, Note
from harmonia_compiler.diagnostics.source import Source, Span

#: Of shorter names, nearly any other is a slip away.
_SHORTEST = 3
#: Who leaves out more letters than this means another module.
_MOST_LEFT_OUT = 2


class Untold(Enum):
    """Why there is nothing to learn of a function."""

    NO_MODULE = "there is no such module beside the file or in the project's folder"
    NO_SOURCE = "its source is not here, or gives it its name otherwise than by a `def`"
    REPORTED = "something is wrong with it or its source, which a finding says"


class Modules:
    """The modules that the files of a program name, each read once."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._read: dict[tuple[str, Unit], _Module | Untold] = {}

    def signature(self, function: str, unit: Unit, at: Span) -> Signature | Untold:
        """What the source of `module:name` says of it."""
        module, _, name = function.partition(":")
        if (module, unit) not in self._read:
            self._read[module, unit] = self._module(module, unit, at)
        found = self._read[module, unit]
        if found is Untold.NO_MODULE and self._is_file(module, unit):
            help = f"write `{module.removesuffix('.py')}:{name}`"
            message = f"`{module}` is a file, and a function is named by its module"
            self.context.findings.add("E0624", message, _module_in(at, module), help=help)
            return Untold.REPORTED
        if isinstance(found, Untold):
            return found
        if name in found.functions:
            return self._defined(name, found, at)
        if found.may_have(name):
            return Untold.NO_SOURCE
        help = self.context.suggestion(name, found.functions, f"define it there: `def {name}(…)`")
        self.context.findings.add("E0621", f"`{found.source.name}` has no function `{name}`", at, help=help)
        return Untold.REPORTED

    def _defined(self, name: str, module: "_Module", at: Span) -> Signature | Untold:
        """What is said of a function that the module defines."""
        notes = (Note(module.source.span_of_line(module.functions[name].lineno), "defined here"),)
        if module.yields(name):
            message = f"`{name}` gives its values one by one, by `yield`, and a component gives one value"
            self.context.findings.add("E0623", message, at, help="let it return the whole value", notes=notes)
        signature = module.signature(name)
        if len(signature.parameters) > MOST_PORTS:
            message = f"`{name}` has more than {MOST_PORTS} parameters, of which a component would have its ports"
            help = "let one of them take several as a record, such as a `TypedDict`"
            self.context.findings.add("E0327", message, at, help=help, notes=notes)
            return Untold.REPORTED
        return signature

    def report_absent(self, function: str, unit: Unit, at: Span, component: str) -> bool:
        """Report the module of a component that is called without ports, if it is not here to give it some."""
        module = function.partition(":")[0]
        if self._read.get((module, unit)) is not Untold.NO_MODULE:
            return False
        near = self._meant(module, unit)
        help = f"did you mean `{near}`?" if near else f"declare the ports: `component {component}(…) -> … = …`"
        self.context.findings.add("E0624", _absent(module, unit), _module_in(at, module), help=help)
        return True

    def warn_of_absent(self, function: str, unit: Unit, at: Span) -> None:
        """Name a module that is not here, where another one is that was probably meant.

        One like no other may be installed where the component's worker runs, as Python's own are.
        """
        module = function.partition(":")[0]
        if len(module) < _SHORTEST or module.partition(".")[0] in sys.stdlib_module_names:
            return
        near = self._meant(module, unit)
        if near is not None and len(near) - len(module) <= _MOST_LEFT_OUT:
            help = f"did you mean `{near}`?"
            self.context.findings.add("W0601", _absent(module, unit), _module_in(at, module), help=help)

    def _meant(self, module: str, unit: Unit) -> str | None:
        """The module at hand that a name was probably meant to be."""
        *parents, _ = module.split(".")
        folders = [folder.joinpath(*parents) for folder in (unit.path.parent, self.context.root)]
        inside = [folder for folder in folders if real(folder).is_relative_to(self.context.root)]
        known = (".".join((*parents, name)) for folder in inside for name in _modules_in(folder))
        return self.context.nearest(module, known)

    def _is_file(self, module: str, unit: Unit) -> bool:
        """Whether what should be a module is named as the file of one that is here."""
        meant = module.removesuffix(".py")
        return meant != module and any(_locate(meant, folder) for folder in (unit.path.parent, self.context.root))

    def _module(self, module: str, unit: Unit, at: Span) -> "_Module | Untold":
        path = _locate(module, unit.path.parent) or _locate(module, self.context.root)
        if path is None:
            return Untold.NO_MODULE
        name = beside(unit.source, relpath(path, unit.path.parent))
        source = read_source(path, name, self.context.root, self.context.findings, at)
        if source is None:
            return Untold.REPORTED
        self.context.read.append(path)
        try:
            with warnings.catch_warnings():
                # What Python thinks of somebody's escapes is not for us to say.
                warnings.simplefilter("ignore")
                parsed = ast.parse(source.text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
            reason = getattr(problem, "msg", None) or "it cannot be parsed"
            span = source.span_of_line(getattr(problem, "lineno", None) or 1)
            help = f"a component is made from a function of `{module}`"
            self.context.findings.add("E0620", f"this is not Python: {reason}", span, help=help)
            return Untold.REPORTED
        return _Module(source, parsed, self.context.findings)


class _Module:
    """A parsed module: its source, its functions, and what is annotated in it."""

    def __init__(self, source: Source, parsed: ast.Module, findings: Findings) -> None:
        self.source = source
        self.parsed = parsed
        self.annotations = Annotations(source, parsed, findings)
        defined = (node for node in parsed.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
        self.functions = {node.name: node for node in defined}
        self._others = {*_given_otherwise(parsed)}
        # Any number of components may be made of one function.
        self.yields = cache(lambda name: _yields(self.functions[name]))
        self.signature = cache(lambda name: self.annotations.signature(self.functions[name]))

    def may_have(self, name: str) -> bool:
        """Whether it may get the name otherwise than by a `def`: by an import, an assignment, or on a condition."""
        return name in self._others or "*" in self._others


def _given_otherwise(parsed: ast.Module) -> Iterator[str]:
    """The names that a module gets otherwise than by a `def`; `*` where these may be any."""
    for node in parsed.body:
        match node:
            case ast.ImportFrom(names=names) | ast.Import(names=names):
                yield from (alias.asname or alias.name for alias in names)
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=target)):
                yield target
            case ast.If() | ast.Try() | ast.With():
                yield "*"


def _yields(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether calling a function gives a generator; what is defined inside of it may well do so."""
    pending: list[ast.AST] = [*function.body]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            # A decorator may make something else of it, as `contextmanager` does.
            return not function.decorator_list
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            pending += ast.iter_child_nodes(node)
    return False


def _absent(module: str, unit: Unit) -> str:
    return f"there is no module `{module}` beside `{unit.source.name}` or in the project's folder"


def _module_in(function: Span, module: str) -> Span:
    """Where the module stands in a text that names a function."""
    start = function.start + 1
    is_there = function.source.text.startswith(module, start)
    return Span(function.source, start, start + len(module)) if is_there else function


def _modules_in(folder: Path) -> list[str]:
    """The modules that lie in a folder."""
    try:
        paths = [*folder.iterdir()]
        packages = [path.name for path in paths if (path / "__init__.py").is_file()]
    except (OSError, ValueError):
        return []
    return packages + [path.stem for path in paths if path.suffix == ".py" and path.stem.isidentifier()]


def _locate(module: str, folder: Path) -> Path | None:
    """The file of a module in a folder: `a.b` is `a/b.py` or `a/b/__init__.py`."""
    stem = folder.joinpath(*module.split("."))
    for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
        try:
            if path.is_file():
                return path
        except (OSError, ValueError):
            return None
    return None
