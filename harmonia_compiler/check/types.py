"""Types as written to types as contracts know them, with the sizes that the user expects."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain

import msgspec
from msgspec.structs import replace

from harmonia_compiler.check.amounts import ITEMS, TOKENS, amount
from harmonia_compiler.check.order import dependency_order
from harmonia_compiler.check.program import Context, Declared, Unit, not_a
from harmonia_compiler.contract.component import UNSAID, Sizes
from harmonia_compiler.contract.types import (
    NAMED,
    Field,
    Labels,
    ListOf,
    Message,
    Passage,
    Record,
    Text,
    Type,
    join,
    quoted,
    show,
)
from harmonia_compiler.diagnostics.diagnostic import Findings, Note
from harmonia_compiler.diagnostics.near import listed
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.syntax import tree
from harmonia_compiler.syntax.lexer import BROKEN_NAME

#: A type that refers to types that refer to types grows fast; beyond this nobody means it.
MOST_PARTS = 500
_DEEPEST = 32
#: In letters: a sentence takes no longer types.
_LONGEST_SHOWN = 60


#: What other languages call types, in small letters, with what is written here.
_WRITTEN_HERE = {
    **dict.fromkeys(("str", "string"), "write `text`"),
    **dict.fromkeys(("int", "integer", "float", "double"), "write `number`"),
    "boolean": "write `bool`",
    **dict.fromkeys(("list", "array", "sequence", "tuple"), "a list type is its item's in brackets: `[text]`"),
    **dict.fromkeys(("dict", "map", "object", "json"), "a record type names its parts: `(name: text, sure: bool)`"),
}


class Shape(msgspec.Struct, frozen=True):
    """A type with the expected sizes of its values, and of how many types it is made, and how deeply."""

    type: Type
    sizes: Sizes = UNSAID
    parts: int = 1
    depth: int = 1

    @property
    def size(self) -> float | None:
        """The expected tokens or items of a value."""
        return self.sizes.size

    @property
    def item_size(self) -> float | None:
        """The expected tokens of one item of a list of texts."""
        is_of_lists = isinstance(self.type, ListOf) and isinstance(self.type.item, ListOf)
        return None if self.sizes.item is None or is_of_lists else self.sizes.item.size

    @property
    def inner(self) -> Sizes | None:
        """What `size` and `item_size` do not say."""
        inner = Sizes(item=self.sizes.item if self.item_size is None else None, parts=self.sizes.parts)
        return None if inner == UNSAID else inner

    def of_size(self, size: float | None) -> "Shape":
        """The same type, of which this size is expected."""
        return replace(self, sizes=replace(self.sizes, size=size))

    def listed(self) -> "Shape":
        """A list of it."""
        item = None if self.sizes == UNSAID else self.sizes
        return Shape(ListOf(self.type), Sizes(item=item), self.parts + 1, self.depth + 1)


def record_of(fields: Mapping[str, Shape]) -> Shape:
    """A record of these parts."""
    return Shape(
        Record(tuple(Field(name, shape.type) for name, shape in fields.items())),
        Sizes(parts={name: shape.sizes for name, shape in fields.items() if shape.sizes != UNSAID}),
        1 + sum(shape.parts for shape in fields.values()),
        1 + max(shape.depth for shape in fields.values()),
    )


def is_too_large(of: Type) -> bool:
    """Whether a type has more parts, or more types inside each other, than any that is meant."""
    pending, parts = [(of, 1)], 0
    while pending:
        one, depth = pending.pop()
        parts += 1
        if parts > MOST_PARTS or depth > _DEEPEST:
            return True
        match one:
            case ListOf(item) if item is not None:
                pending.append((item, depth + 1))
            case Record(fields):
                pending += [(field.type, depth + 1) for field in fields]
    return False


def report_too_large(span: Span, findings: Findings) -> None:
    """Report a type that nobody means."""
    message = f"this type has more than {MOST_PARTS} parts, or {_DEEPEST} types inside each other"
    findings.add("E0314", message, span, help="make it smaller")


def in_order(given: Type, wanted: Type) -> str:
    """What to do where a record has the fields that are wanted in another order; nothing for other types."""
    if not isinstance(given, Record) or not isinstance(wanted, Record):
        return ""
    names, order = [field.name for field in given.fields], [field.name for field in wanted.fields]
    if names == order or sorted(names) != sorted(order):
        return ""
    return f"write its parts in this order: {listed(order)}"


def shown(of: Type) -> str:
    """A type for a sentence: as it is written, cut where it is long."""
    text = show(of)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def shown_apart(one: Type, other: Type, meet: Callable[[Type, Type], object] = join) -> tuple[str, str]:
    """Two types that do not `meet`, quoted for a sentence: of long ones, only what is apart in them."""
    begun = ended = ""
    while max(len(show(one)), len(show(other))) > _LONGEST_SHOWN:
        match one, other:
            case ListOf(item), ListOf(other_item) if item is not None and other_item is not None:
                one, other = item, other_item
                begun, ended = f"{begun}[", f"]{ended}"
            case Record(fields), Record(other_fields):
                field, other_field = _apart(fields, other_fields, meet)
                if field is None or other_field is None or field.name != other_field.name:
                    here, there = _with(field, other_field), _with(other_field, field)
                    return f"`{begun}{here[0]}{ended}`{here[1]}", f"`{begun}{there[0]}{ended}`{there[1]}"
                one, other = field.type, other_field.type
                begun, ended = f"{begun}(… {field.name}: ", f" …){ended}"
            case Labels(labels), Labels(other_labels):
                one, other = _beyond(labels, other_labels), _beyond(other_labels, labels)
                break
            case _:
                break
    return f"`{begun}{shown(one)}{ended}`", f"`{begun}{shown(other)}{ended}`"


def _apart(
    fields: tuple[Field, ...], others: tuple[Field, ...], meet: Callable[[Type, Type], object]
) -> tuple[Field | None, Field | None]:
    """Of two records, the first field of each that the other lacks; where none does, the first two that do not meet."""
    names, other_names = {field.name for field in fields}, {field.name for field in others}
    if names != other_names:
        return (
            next((field for field in fields if field.name not in other_names), None),
            next((field for field in others if field.name not in names), None),
        )
    pairs = zip(fields, others, strict=True)
    return next(pair for pair in pairs if pair[0].name != pair[1].name or not meet(pair[0].type, pair[1].type))


def _with(field: Field | None, other: Field | None) -> tuple[str, str]:
    """A record by the field that another lacks, or else by what it lacks: within the quotes and behind them."""
    if field is not None:
        return f"(… {field.name}: {shown(field.type)} …)", ""
    return "(…)", "" if other is None else f" without `{other.name}`"


def _beyond(labels: tuple[str, ...], others: tuple[str, ...]) -> Labels:
    """The labels that are not among others; all of them where there are none."""
    return Labels(tuple(label for label in labels if label not in others) or labels)


class Types:
    """The named types of a program."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.aliases: dict[Declared, Shape | None] = {}
        self._declaring = ""
        aliases = [declared for declared in context.declared() if isinstance(declared.node, tree.Alias)]
        ordered, cycles = dependency_order(aliases, self._needs)
        for cycle in cycles:
            names = " → ".join(f"`{declared.name}`" for declared in [*cycle, cycle[0]])
            help = "a type cannot contain itself"
            context.findings.add("E0215", f"cycle of types: {names}", cycle[-1].node.name.span, help=help)
            self.aliases |= dict.fromkeys(cycle)
        for declared in ordered:
            if declared not in self.aliases and isinstance(declared.node, tree.Alias):
                self._declaring = declared.name
                self.aliases[declared] = self.resolve(declared.node.type, declared.unit)
        self._declaring = ""

    def _needs(self, declared: Declared) -> Iterator[Declared]:
        for node, _ in tree.walk(declared.node):
            if isinstance(node, tree.NamedType):
                needed = declared.unit.scope.get(node.name.text)
                if needed is not None and isinstance(needed.node, tree.Alias):
                    yield needed

    def sized(self, node: tree.Sized, unit: Unit) -> Shape | None:
        """A type with its size, or None where it is reported or cannot be read."""
        shape = self.resolve(node.type, unit)
        if shape is None or node.size is None:
            return shape
        if isinstance(shape.type, Text | Message | Passage):
            quantity, what = TOKENS, "the size of a text"
        elif isinstance(shape.type, ListOf):
            quantity, what = ITEMS, "the size of a list"
        else:
            help = "only texts (tokens) and lists (items) have an expected size"
            self.context.findings.add("E0506", f"`{shown(shape.type)}` has no size", node.size.span, help=help)
            return shape
        size = amount(node.size, quantity, what, self.context.findings)
        if size is not None and size <= 0:
            self.context.findings.add(
                "E0505", f"{what} is above 0", node.size.span, help="write the size that you expect"
            )
            size = None
        return shape.of_size(size)

    def resolve(self, node: tree.TypeTree, unit: Unit) -> Shape | None:
        """A type without a size of its own; its parts may have theirs."""
        shape: Shape | None
        match node:
            case tree.NamedType(name=name):
                shape = self._named(name, unit)
            case tree.LabelsType(labels=labels):
                shape = self._labels(labels)
            case tree.ListType(item=item):
                inner = self.sized(item, unit)
                shape = inner and inner.listed()
            case tree.RecordType(ports=ports):
                shape = self._record(node.span, ports, unit)
            case tree.ClassType():
                shape = self._classes(node.span, unit)
        if shape is not None and (shape.parts > MOST_PARTS or shape.depth > _DEEPEST):
            report_too_large(node.span, self.context.findings)
            return None
        return shape

    def _named(self, name: tree.Name, unit: Unit) -> Shape | None:
        if name.text in NAMED:
            return Shape(NAMED[name.text])
        if name.text == BROKEN_NAME:
            return None
        declared = unit.find(name.text)
        if declared is not None and isinstance(declared.node, tree.Alias):
            return self.aliases.get(declared)
        if declared is not None:
            help = f"use {listed(NAMED)}, or declare a type"
            if isinstance(declared.node, tree.Class):
                help = "write `class`: a port of that type takes the name of any of the file's request classes"
            not_a(declared, "a type", name.span, self.context, help)
        elif not unit.is_unread(name.text):
            # A type that named itself would be the next mistake.
            known = (known for known in chain(NAMED, ["class"], unit.named(tree.Alias)) if known != self._declaring)
            every = ", ".join(f"`{one}`" for one in NAMED)
            help = _WRITTEN_HERE.get(name.text.lower()) or self.context.suggestion(
                name.text, known, f"declare it with `type`, or use one of {every}"
            )
            message = f"unknown type `{name.text}`"
            self.context.findings.add("E0210", message, name.span, help=help, about=unit.about(name))
        return None

    def _labels(self, labels: tuple[tree.Text, ...]) -> Shape | None:
        first: dict[str, tree.Text] = {}
        for label in labels:
            if label.value in first:
                notes = (Note(first[label.value].span, "it stands here already"),)
                message = f"the label {quoted(label.value)} stands twice"
                self.context.findings.add("E0318", message, label.span, help="delete one of the two", notes=notes)
            if label.value.strip() != label.value or not label.value:
                what = "has spaces around it" if label.value.strip() else "is blank"
                help = (
                    f"write `{quoted(label.value.strip())}`"
                    if label.value.strip()
                    else 'write a word, such as `"none"`'
                )
                message = f"this label {what}"
                self.context.findings.add("E0319", message, label.span, help=help)
            first.setdefault(label.value, label)
        return Shape(Labels(tuple(first)))

    def _classes(self, span: Span, unit: Unit) -> Shape | None:
        if not unit.knows_classes:
            return None
        if unit.classes:
            return Shape(Labels(tuple(each.name for each in unit.classes)))
        help = "declare one: `class interactive(deadline: 2 s)`, or import one"
        self.context.findings.add("E0320", "this file has no request class", span, help=help)
        return None

    def _record(self, span: Span, ports: tuple[tree.Port, ...], unit: Unit) -> Shape | None:
        fields: dict[str, Shape | None] = {}
        for port in ports:
            if port.name.text in fields:
                message = f"the field `{port.name.text}` is declared twice"
                self.context.findings.add("E0204", message, port.name.span, help="rename one of the two")
            if port.default is not None:
                help = "only ports have defaults"
                self.context.findings.add("E0317", "a field of a type has no default", port.default.span, help=help)
            fields[port.name.text] = self.sized(port.sized, unit)
        if not fields:
            self.context.findings.add("E0101", "a record needs a field", span, help="write `(name: type)`")
            return None
        shapes = {name: shape for name, shape in fields.items() if shape is not None}
        return record_of(shapes) if len(shapes) == len(fields) else None
