"""The ports of a Python function, read from the annotations in its parsed source. Nothing is imported or executed."""

import ast
from collections.abc import Container, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from harmonia_compiler.check.program import MOST_SUGGESTED
from harmonia_compiler.check.saying import in_annotations
from harmonia_compiler.check.types import MOST_PARTS, Shape, record_of, shown, shown_apart
from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.types import (
    Bool,
    Labels,
    ListOf,
    Message,
    Number,
    Passage,
    Record,
    Text,
    Type,
    Vector,
    fits,
    mismatch,
)
from harmonia_compiler.diagnostics.diagnostic import Findings, Note
from harmonia_compiler.diagnostics.keys import leak
from harmonia_compiler.diagnostics.near import listed, nearest
from harmonia_compiler.diagnostics.source import Source, Span
from harmonia_compiler.kinds.extents import is_fixed
from harmonia_compiler.syntax import tree
from harmonia_compiler.syntax.literals import LARGEST

_PLAIN: dict[str, Type] = {"str": Text(), "int": Number(), "float": Number(), "bool": Bool()}
#: Names of `harmonia_compiler.sdk`.
_OURS: dict[str, Type] = {"Passage": Passage(), "Message": Message(), "Vector": Vector()}
_SIZES = ("tokens", "items")
#: What a record inherits from, unless it is a dataclass.
_RECORDS = ("TypedDict", "NamedTuple")
#: A record's fields may be records; beyond this nobody means it.
_DEEPEST = 16


class Annotated(msgspec.Struct, frozen=True):
    """A parameter, or the result, as it is annotated; without a shape where no port can be made of it, for a reason."""

    name: str
    shape: Shape | None
    default: Any
    span: Span
    reason: str = "no annotation that is a type of the language"
    code: str = "E0622"
    help: str = "mend it there"


class Signature(msgspec.Struct, frozen=True):
    """A function's parameters and result.

    The `rest` are `*args` and `**kwargs`, of which no port can be made: a call gives every value by one port's name.
    Where ports are declared, they may stay empty, and an `open` function, one with `**kwargs`, takes any further name.
    """

    parameters: tuple[Annotated, ...]
    result: Annotated
    name: str
    open: bool
    rest: tuple[Annotated, ...] = ()

    @property
    def unclear(self) -> Annotated | None:
        """The first part that no port, or no result, can be made of."""
        return next((each for each in (*self.parameters, *self.rest, self.result) if each.shape is None), None)

    @property
    def ports(self) -> tuple[Port, ...] | None:
        """The parameters as ports; None where one has no type of the language."""
        ports = [
            Port(each.name, each.shape.type, each.shape.size, each.default, each.shape.item_size, each.shape.inner)
            for each in self.parameters
            if each.shape is not None
        ]
        return tuple(ports) if len(ports) == len(self.parameters) else None


def compare(
    name: str,
    node: tree.Component,
    ports: Sequence[Port],
    result: Shape,
    annotated: Signature,
    findings: Findings,
) -> None:
    """Report where declared ports and annotations contradict each other; what is not annotated contradicts nothing."""
    places = {port.name.text: port.name.span for port in node.ports or ()}
    theirs = {each.name: each for each in annotated.parameters}
    # Looking for what was meant takes time, and is not worth it after very many findings.
    looked = len(findings.items)
    is_told = looked < MOST_SUGGESTED and not annotated.open
    misnamed = _misnamed([name for name in places if name not in theirs], places, theirs) if is_told else {}
    for port in ports:
        found = theirs.get(port.name)
        if found is None:
            if not annotated.open:
                notes = (Note(annotated.result.span, "defined here"),)
                message = f"`{annotated.name}` has no parameter `{port.name}`"
                near = misnamed.get(port.name)
                if near is None and (looked := looked + 1) <= MOST_SUGGESTED:
                    near = nearest(port.name, theirs)
                help = f"did you mean `{near}`?" if near else f"it takes {listed(theirs) or 'nothing'}"
                findings.add("E0326", message, places[port.name], help=help, notes=notes)
        elif found.shape is not None and not fits(port.type, found.shape.type):
            notes = (Note(found.span, "annotated here"),)
            here, there = shown_apart(port.type, found.shape.type, fits)
            message = f"`{port.name}` is {here} here, and {there} in `{annotated.name}`"
            findings.add("E0326", message, places[port.name], help="give both one type", notes=notes)
    for missing in [each for each in theirs if each not in places and each not in misnamed.values()]:
        if theirs[missing].default is msgspec.UNSET:
            notes = (Note(theirs[missing].span, "this one"),)
            help = f"declare it: `{missing}: …`"
            findings.add(
                "E0326",
                f"`{annotated.name}` needs `{missing}`, which `{name}` has no port for",
                node.name.span,
                help=help,
                notes=notes,
            )
    gives = annotated.result.shape
    if gives is not None and node.result is not None and not fits(gives.type, result.type):
        notes = (Note(annotated.result.span, "annotated here"),)
        there, here = shown_apart(gives.type, result.type, fits)
        message = f"the result is {here} here, and {there} in `{annotated.name}`"
        findings.add("E0326", message, node.result.span, help="give both one type", notes=notes)


def _misnamed(unknown: Sequence[str], places: Container[str], theirs: Mapping[str, Annotated]) -> dict[str, str]:
    """For ports that the function does not know, the parameters without a port that were meant."""
    left = [name for name, each in theirs.items() if name not in places and each.default is msgspec.UNSET]
    if len(unknown) == len(left) == 1:
        return {unknown[0]: left[0]}
    found: dict[str, str] = {}
    for name in unknown[:MOST_SUGGESTED]:
        near = nearest(name, [each for each in left if each not in found.values()])
        found |= {} if near is None else {name: near}
    return found


class Annotations:
    """Those of one module."""

    def __init__(self, source: Source, parsed: ast.Module, findings: Findings) -> None:
        self.source = source
        self.findings = findings
        self._meanings: dict[str, Shape | None] = {}
        self.classes = {node.name: node for node in parsed.body if isinstance(node, ast.ClassDef)}
        self.aliases = {
            target.id: node.value
            for node in parsed.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        } | {
            each.asname: ast.Name(each.name)
            for node in parsed.body
            if isinstance(node, ast.ImportFrom)
            for each in node.names
            if each.asname and (each.name in _OURS or each.name in _SIZES)
        }

    def signature(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Signature:
        """What a function of the module says about itself."""
        given = function.args
        named = [*given.posonlyargs, *given.args]
        defaults: dict[str, ast.expr | None] = dict(
            zip([each.arg for each in named[len(named) - len(given.defaults) :]], given.defaults, strict=True)
        )
        defaults |= {each.arg: default for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)}
        parameters = [self._parameter(each, defaults.get(each.arg)) for each in (*named, *given.kwonlyargs)]
        result = self._annotated("return", function.returns, self.source.span_of_line(function.lineno))
        return Signature(
            tuple(parameters),
            result,
            function.name,
            given.kwarg is not None,
            self._rest(given),
        )

    def _rest(self, given: ast.arguments) -> tuple[Annotated, ...]:
        """What takes any number of values."""
        found = [(stars, each) for stars, each in (("*", given.vararg), ("**", given.kwarg)) if each is not None]
        return tuple(
            Annotated(
                f"{stars}{each.arg}",
                None,
                msgspec.UNSET,
                self.source.span_of_line(each.lineno),
                "any number of values, and no port can be made of it",
                help="name each parameter there",
            )
            for stars, each in found
        )

    def _parameter(self, given: ast.arg, default: ast.expr | None) -> Annotated:
        span = self.source.span_of_line(given.lineno)
        annotated = self._annotated(given.arg, given.annotation, span)
        shape = annotated.shape
        if default is None:
            return annotated
        if shape is None:
            return replace(annotated, default=None)
        if any(_is_key(node) for node in ast.walk(default)):
            return Annotated(given.arg, None, None, span, "a default that is a key, which would be in the plan")
        try:
            value = ast.literal_eval(default)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return Annotated(given.arg, None, None, span, "a default that is no literal")
        if any(_is_beyond(node) for node in ast.walk(default)):
            return Annotated(given.arg, None, None, span, "a default beyond 2⁵³", "E0110")
        if mismatch(value, shape.type):
            return Annotated(given.arg, None, None, span, f"a default that is no `{shown(shape.type)}`")
        return Annotated(given.arg, shape, value, span)

    def _annotated(self, name: str, given: ast.expr | None, span: Span) -> Annotated:
        """What an annotation says of a parameter without a default, or of the result."""
        shape = self._shape(given)
        if shape is not None and _holds_key(shape.type):
            return Annotated(name, None, msgspec.UNSET, span, "a label that is a key, which would be in the plan")
        return Annotated(name, shape, msgspec.UNSET, span)

    def _shape(self, given: ast.expr | None, depth: int = 0) -> Shape | None:
        """The type that an annotation means, with its expected sizes."""
        if given is None or depth > _DEEPEST:
            return None
        match given:
            case ast.Constant(value=str() as text):
                try:
                    quoted = ast.parse(text, mode="eval").body
                    return self._shape(ast.increment_lineno(quoted, given.lineno - 1), depth + 1)
                except (SyntaxError, ValueError, RecursionError, MemoryError):
                    return None
            case ast.Name(id=name):
                return self._named(name, depth)
            case ast.Attribute(attr=name):
                return Shape(_OURS[name]) if name in _OURS else None
            case ast.Subscript(value=of, slice=inner):
                return self._subscript(_last(of), inner, depth)
        return None

    def _named(self, name: str, depth: int) -> Shape | None:
        """What a name of the module means; one that contains itself has no type of the language."""
        if name not in self._meanings:
            self._meanings[name] = None
            self._meanings[name] = self._meant(name, depth)
        return self._meanings[name]

    def _meant(self, name: str, depth: int) -> Shape | None:
        if name in self.classes:
            return self._record(self.classes[name], depth)
        if name in self.aliases:
            return self._shape(self.aliases[name], depth + 1)
        of = _PLAIN.get(name) or _OURS.get(name)
        return None if of is None else Shape(of)

    def _subscript(self, of: str, inner: ast.expr, depth: int) -> Shape | None:
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        match of:
            case "list" | "List":
                item = self._shape(inner, depth + 1)
                return item and item.listed()
            case "Literal":
                labels = [
                    part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)
                ]
                good = labels and len(labels) == len(parts) and len({*labels}) == len(labels)
                return Shape(Labels(tuple(labels))) if good else None
            case "Annotated":
                shape = self._shape(parts[0], depth + 1)
                if shape is None:
                    return None
                sizes = [self._size(part, shape.type) for part in parts[1:]]
                size = next((found for found in sizes if found is not None), None)
                return shape.of_size(size)
            case _:
                return None

    def _size(self, given: ast.expr, of: Type) -> float | None:
        """The number in `tokens(40)` or `items(4)`, said of a type; what would be none in a `.rag` is reported."""
        name = self._called(given)
        if not isinstance(given, ast.Call) or name not in _SIZES:
            return None
        span = self.source.span_of_line(given.lineno)
        if not isinstance(of, Text | Message | Passage | ListOf):
            help = "only texts (`tokens`) and lists (`items`) have an expected size"
            if not is_fixed(of):
                help = in_annotations(of)
            self.findings.add("E0506", f"`{shown(of)}` has no size", span, help=help)
            return None
        meant, what = ("items", "the size of a list") if isinstance(of, ListOf) else ("tokens", "the size of a text")
        value = _number(_expected(given))
        if name != meant:
            message = f"{what} takes a number of {meant}, not `{name}`"
            self.findings.add("E0504", message, span, help=f"write `{meant}(…)`, or annotate what it is said of")
        elif value is None:
            message = f"{what} takes a number of {meant}"
            self.findings.add("E0504", message, span, help=f"write the number itself: `{meant}(40)`")
        elif value > LARGEST:
            self.findings.add("E0110", "this number is beyond 2⁵³", span, help="no amount here needs one so large")
        elif value <= 0:
            self.findings.add("E0505", f"{what} is above 0", span, help="write the size that you expect")
        else:
            return float(value)
        return None

    def _called(self, given: ast.expr) -> str:
        """What a call calls, by the name that it has in `harmonia_compiler.sdk`."""
        name = _last(given.func) if isinstance(given, ast.Call) else ""
        alias = self.aliases.get(name)
        return alias.id if isinstance(alias, ast.Name) else name

    def _record(self, of: ast.ClassDef, depth: int) -> Shape | None:
        """A TypedDict, a NamedTuple or a dataclass."""
        fields = self._fields(of, depth)
        whole = {name: shape for name, shape in (fields or {}).items() if shape is not None}
        parts = 1 + sum(shape.parts for shape in whole.values())
        if not whole or whole.keys() != (fields or {}).keys() or parts > MOST_PARTS:
            return None
        return record_of(whole)

    def _fields(self, of: ast.ClassDef, depth: int) -> dict[str, Shape | None] | None:
        """The fields of a record, those that it inherits first; None where a class is no record of this module."""
        if depth > _DEEPEST or len(of.bases) > 1:
            return None
        base = _last(of.bases[0]) if of.bases else "object"
        is_dataclass = "dataclass" in _decorators(of)
        inherited: dict[str, Shape | None] | None = {}
        if base in self.classes:
            above = self.classes[base]
            is_plain = not above.bases and "dataclass" not in _decorators(above)
            inherited = {} if is_plain else self._fields(above, depth + 1)
            # Python takes the annotations below a TypedDict for fields, those below a dataclass if that is said
            # again, and those below a NamedTuple never.
            if self._is_typed_dict(above) == is_dataclass or "NamedTuple" in map(_last, above.bases):
                return None
        elif base not in _RECORDS and not (is_dataclass and base == "object"):
            return None
        if inherited is None:
            return None
        return inherited | {
            node.target.id: self._shape(node.annotation, depth + 1)
            for node in of.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }

    def _is_typed_dict(self, of: ast.ClassDef) -> bool:
        """Whether a class is a TypedDict by itself or by what it inherits from."""
        for _ in range(_DEEPEST):
            base = _last(of.bases[0]) if of.bases else ""
            if base not in self.classes:
                return base == "TypedDict"
            of = self.classes[base]
        return False


def _decorators(of: ast.ClassDef) -> set[str]:
    return {_last(each.func if isinstance(each, ast.Call) else each) for each in of.decorator_list}


def _is_key(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and leak(node.value) is not None


def _holds_key(of: Type) -> bool:
    """Whether some label of a type is a key."""
    match of:
        case Labels(labels):
            return any(leak(label) is not None for label in labels)
        case ListOf(item) if item is not None:
            return _holds_key(item)
        case Record(fields):
            return any(_holds_key(field.type) for field in fields)
        case _:
            return False


def _last(given: ast.expr) -> str:
    """The name itself, without what it is an attribute of."""
    return given.id if isinstance(given, ast.Name) else given.attr if isinstance(given, ast.Attribute) else ""


def _is_beyond(node: ast.AST) -> bool:
    """Whether a node is a number that a `.rag` may not hold."""
    number = _number(node.value) if isinstance(node, ast.Constant) else None
    return number is not None and number > LARGEST


def _number(value: object) -> int | float | None:
    """The value of a literal that is a number."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _expected(given: ast.Call) -> object:
    """What stands in `tokens(40)` or `tokens(expected=40)`; None for what is no literal, or no such call."""
    named = [each.value for each in given.keywords if each.arg == "expected"]
    if len(given.args) + len(named) != 1 or len(named) < len(given.keywords):
        return None
    try:
        return ast.literal_eval((*given.args, *named)[0])
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
