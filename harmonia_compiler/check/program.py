"""The loaded files, what each declares, and what a name means in each."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

import msgspec

from harmonia_compiler.check.order import dependency_order
from harmonia_compiler.check.sources import beside, is_address, is_too_much, read_source
from harmonia_compiler.contract.program import RequestClass
from harmonia_compiler.contract.regular import real
from harmonia_compiler.contract.types import NAMED
from harmonia_compiler.diagnostics.diagnostic import Findings, Note
from harmonia_compiler.diagnostics.near import listed, nearest
from harmonia_compiler.diagnostics.source import Source, Span
from harmonia_compiler.kinds.kind import Kind
from harmonia_compiler.syntax import tree
from harmonia_compiler.syntax.lexer import BROKEN_NAME
from harmonia_compiler.syntax.parser import parse

#: Whoever has more findings mends the first ones first.
MOST_SUGGESTED = 50
#: How often the nearest of one name is looked for: no more findings about one thing are kept.
_MOST_ALIKE = 4


class Declared(msgspec.Struct, eq=False):
    """One declaration with the file that it stands in. `id` is its name in the documents of later stages."""

    unit: "Unit"
    node: tree.Alias | tree.Class | tree.Component | tree.Pipeline
    id: str = ""

    @property
    def name(self) -> str:
        """The name in its own file."""
        return self.node.name.text

    @property
    def noun(self) -> str:
        """What it is, for a sentence."""
        match self.node:
            case tree.Alias():
                return "a type"
            case tree.Class():
                return "a request class"
            case tree.Component():
                return "a component"
            case _:
                return "a pipeline"


class Unit(msgspec.Struct, eq=False):
    """One file. `declared` are its own declarations by name; `classes` are those that its requests may be of.

    In `scope`, a name whose declaration could not be read stands for None.
    """

    source: Source
    path: Path
    file: tree.File
    served: bool
    declared: dict[str, Declared] = msgspec.field(default_factory=dict)
    classes: tuple[RequestClass, ...] = ()
    scope: dict[str, Declared | None] = msgspec.field(default_factory=dict)
    places: dict[str, Span] = msgspec.field(default_factory=dict)
    imports: dict[str, tree.Imported] = msgspec.field(default_factory=dict)
    used: set[str] = msgspec.field(default_factory=set)
    #: Whether the file is one of several that import each other, or imports itself.
    in_circle: bool = False
    #: Files that were asked for names that they do not declare: what they do declare may have been meant.
    misasked: set["Unit"] = msgspec.field(default_factory=set)
    #: The names in scope by the sort of what they mean; each component and pipeline may ask for those of a sort.
    _by_sort: dict[type, list[str]] = msgspec.field(default_factory=lambda: defaultdict(list))

    def enter(self, name: str, declared: Declared | None) -> None:
        """Let a name that means nothing yet mean this."""
        self.scope[name] = declared
        self._by_sort[type(declared and declared.node)].append(name)

    def find(self, name: str) -> Declared | None:
        """What a name means in this file; None where it means nothing or could not be read."""
        self.used.add(name)
        return self.scope.get(name)

    def is_unread(self, name: str) -> bool:
        """Whether the name is declared somewhere that could not be read, so that nothing may be said about it."""
        unread = self.file.unread
        if name in unread or BROKEN_NAME in unread or (name in self.scope and self.scope[name] is None):
            return True
        return any(name in unit.declared for unit in self.misasked)

    def about(self, name: tree.Name) -> str:
        """A name of the file, wherever it is used there: that it is unknown is one mistake."""
        return f"{self.source.name}:{name.text}"

    @property
    def knows_classes(self) -> bool:
        """Whether every request class of the file is known by its name, and not one could not be read."""
        return not self.file.unread and type(None) not in self._by_sort

    def named(self, *nodes: type) -> Iterator[str]:
        """The names in scope that mean a declaration of these sorts, sort by sort."""
        return chain.from_iterable(self._by_sort.get(node, ()) for node in nodes)


class Context(msgspec.Struct):
    """What every part of the checking works with.

    `given` are values of `--set`, `read` the files that could be read, and `length` is that of all sources. What calls
    have `brought` with them by now is counted in operations, by what it is.
    """

    findings: Findings
    kinds: Mapping[str, Kind]
    given: Mapping[str, str]
    root: Path
    units: list[Unit] = msgspec.field(default_factory=list)
    taken: set[str] = msgspec.field(default_factory=set)
    read: list[Path] = msgspec.field(default_factory=list)
    length: int = 0
    brought: Counter[str] = msgspec.field(default_factory=Counter)
    _looked_for: Counter[str] = msgspec.field(default_factory=Counter)

    def nearest(self, name: str, known: Iterable[str]) -> str | None:
        """The known name that was probably meant.

        It takes time, and so is not looked for after very many findings, nor for one name over and over: of what is
        said about one thing, the first findings alone are kept.
        """
        if len(self.findings.items) >= MOST_SUGGESTED or self._looked_for[name] >= _MOST_ALIKE:
            return None
        self._looked_for[name] += 1
        return nearest(name, known)

    def suggestion(self, name: str, known: Iterable[str], otherwise: str) -> str:
        """A help line that offers the nearest name, or says something else."""
        near = self.nearest(name, known)
        return f"did you mean `{near}`?" if near else otherwise

    def declared(self) -> list[Declared]:
        """Every declaration: served files first, each in its own order."""
        return [declared for unit in self.units for declared in unit.declared.values()]


def load(context: Context, paths: list[Path]) -> None:
    """Read the files and all that they import, then settle what names mean in each."""
    by_path: dict[Path, Unit] = {}
    for path in paths:
        if real(path) not in by_path:
            _load_one(context, by_path, path, str(path), served=True)
    imported_from: dict[tuple[Unit, tree.Import], Unit] = {}
    at = 0
    while at < len(context.units):
        unit = context.units[at]
        at += 1
        for declaration in unit.file.declarations:
            if isinstance(declaration, tree.Import) and (target := _target(context, by_path, unit, declaration)):
                imported_from[unit, declaration] = target
    _refuse_import_cycles(context, imported_from)
    for unit in context.units:
        _declare(context, unit)
    imported_names = {
        (unit, (imported.alias or imported.name).text): (target, imported.name.text)
        for (unit, declaration), target in imported_from.items()
        for imported in declaration.names
    }
    for (unit, declaration), target in imported_from.items():
        if target is not unit:
            _import(context, unit, declaration, target, imported_names)
    for unit in context.units:
        for declaration in unit.file.declarations:
            if isinstance(declaration, tree.Import) and imported_from.get((unit, declaration), unit) is unit:
                _import_nothing(unit, declaration)
    _name(context)


def _load_one(
    context: Context, by_path: dict[Path, Unit], path: Path, name: str, *, served: bool, at: Span | None = None
) -> Unit | None:
    files = len(context.units) + 1
    if is_too_much(name, files, context.length, context.findings, at):
        return None
    source = read_source(path, name, context.root, context.findings, at)
    if source is None:
        return None
    context.length += len(source.text)
    if is_too_much(name, files, context.length, context.findings, at):
        return None
    unit = Unit(source, path, parse(source, context.findings), served)
    by_path[real(path)] = unit
    context.read.append(path)
    context.units.append(unit)
    return unit


def _target(context: Context, by_path: dict[Path, Unit], unit: Unit, declaration: tree.Import) -> Unit | None:
    written = declaration.path
    if is_address(written.value, context.findings, written.span):
        return None
    path = unit.path.parent / written.value
    try:
        known = by_path.get(real(path))
    except (OSError, ValueError, RuntimeError):
        known = None
    if known is not None:
        return known
    name = beside(unit.source, written.value)
    return _load_one(context, by_path, path, name, served=False, at=written.span)


def _refuse_import_cycles(context: Context, imported_from: Mapping[tuple[Unit, tree.Import], Unit]) -> None:
    needs: dict[Unit, dict[Unit, tree.Import]] = {}
    for (unit, declaration), target in imported_from.items():
        needs.setdefault(unit, {}).setdefault(target, declaration)
    _, cycles = dependency_order(context.units, lambda unit: needs.get(unit, {}))
    for cycle in cycles:
        declaration = needs[cycle[-1]][cycle[0]]
        for unit in cycle:
            unit.in_circle = True
        if len(cycle) == 1:
            help = "delete this line: what a file declares is known in all of it"
            message = f"`{cycle[0].source.name}` imports itself"
            context.findings.add("E0207", message, declaration.path.span, help=help)
            continue
        names = " → ".join(f"`{unit.source.name}`" for unit in [*cycle, cycle[0]])
        help = "move what both need into a third file"
        context.findings.add("E0207", f"these files import each other: {names}", declaration.path.span, help=help)


def _declare(context: Context, unit: Unit) -> None:
    """Enter a file's own declarations."""
    for node in unit.file.declarations:
        if isinstance(node, tree.Import):
            continue
        declared = Declared(unit, node)
        if isinstance(node, tree.Alias) and node.name.text in NAMED:
            help = "give the type another name"
            context.findings.add("E0204", f"`{node.name.text}` is a built-in type", node.name.span, help=help)
        elif _enter(context, unit, node.name, declared):
            unit.declared[declared.name] = declared


def _enter(context: Context, unit: Unit, name: tree.Name, declared: Declared | None) -> bool:
    if name.text in unit.places:
        first, second = sorted((unit.places[name.text], name.span), key=lambda span: span.start)
        notes = (Note(first, "declared here first"),)
        help = "give one of the two another name"
        context.findings.add("E0204", f"`{name.text}` is declared twice", second, help=help, notes=notes)
        unit.places[name.text] = first
        # Which of the two its uses mean, nobody knows.
        unit.scope[name.text] = None
        return False
    unit.places[name.text] = name.span
    unit.enter(name.text, declared)
    return True


def _import(
    context: Context,
    unit: Unit,
    declaration: tree.Import,
    target: Unit,
    imported_names: Mapping[tuple[Unit, str], tuple[Unit, str]],
) -> None:
    """Enter what a file imports; only what the other file declares itself can be imported from it.

    Of all names that files import it is told from where, and what they are called there.
    """
    own = target.declared
    for imported in declaration.names:
        name = imported.name.text
        local = imported.alias or imported.name
        declared = own.get(name)
        if declared is None and not target.is_unread(name):
            origin, there = imported_names.get((target, name), (target, name))
            if there in origin.declared:
                what = "it" if there == name else f"`{there}`"
                help = f"import {what} from the file that declares it, `{origin.source.name}`"
            else:
                help = context.suggestion(name, own, f"it declares {listed(own)}" if own else "it declares nothing")
            unit.misasked.add(target)
            context.findings.add("E0212", f"`{target.source.name}` declares no `{name}`", imported.name.span, help=help)
        if _enter(context, unit, local, declared):
            unit.imports[local.text] = imported


def _import_nothing(unit: Unit, declaration: tree.Import) -> None:
    """Enter names whose file could not be read, or is the importing one, which is reported."""
    for imported in declaration.names:
        name = (imported.alias or imported.name).text
        if name not in unit.scope:
            unit.enter(name, None)


def _name(context: Context) -> None:
    """Give every component and pipeline a name of its own among all files: its plain one, where no earlier has it."""
    for sort in (tree.Component, tree.Pipeline):
        taken: set[str] = set()
        for declared in context.declared():
            if isinstance(declared.node, sort):
                declared.id = _free_name(declared, taken)
                taken.add(declared.id)


def _free_name(declared: Declared, taken: set[str]) -> str:
    if declared.name not in taken:
        return declared.name
    stem = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in declared.unit.path.stem)
    for number in range(1, len(taken) + 2):
        qualifier = stem if number == 1 else f"{stem}_{number}"
        name = f"{qualifier[-20:]}.{declared.name}"[:64]
        if name not in taken:
            return name
    raise AssertionError("there are more names than declarations")


def not_a(declared: Declared, wanted: str, at: Span, context: Context, help: str = "") -> None:
    """Report a name that means something of another sort than is wanted here."""
    notes = (Note(declared.node.name.span, "declared here"),)
    context.findings.add("E0214", f"`{declared.name}` is {declared.noun}, not {wanted}", at, help=help, notes=notes)
