"""The tree of a `.rag` file: what was written, with the place of each part, and nothing about what it means.

Enough is kept for a formatter: comments with their places, brackets that only group, literals as they were written.
"""

from collections.abc import Iterator
from functools import cache

import msgspec

from harmonia_compiler.diagnostics.source import Source, Span


class Node(msgspec.Struct, frozen=True, gc=False):
    """Any part of the tree. Nothing in one leads back to it, so that the collector need not look at its many parts."""

    span: Span


class Name(Node, frozen=True):
    """One occurrence of a name."""

    text: str


class Broken(Node, frozen=True):
    """Stands for a value that could not be read; a syntax error has been reported for it."""


class Text(Node, frozen=True):
    """A text literal: `value` is what it means, `raw` how it was written, quotes included."""

    value: str
    raw: str


class Amount(Node, frozen=True):
    """A number with an optional unit; a whole number is an int. None where it cannot be read, which is reported."""

    value: int | float | None
    unit: Name | None
    raw: str


class Truth(Node, frozen=True):
    """`true` or `false`."""

    value: bool


class Reference(Node, frozen=True):
    """A name where a value is wanted."""

    name: Name


class Argument(Node, frozen=True):
    """A value given to a call or a component, or a part of a record, with its name where it has one."""

    name: Name | None
    value: "Expression"


class Call(Node, frozen=True):
    """`name(arguments)`."""

    name: Name
    arguments: tuple[Argument, ...]


class Access(Node, frozen=True):
    """`value.field`, and `value.field.field`."""

    value: "Expression"
    fields: tuple[Name, ...]


class ListValue(Node, frozen=True):
    """`[value, …]`."""

    items: tuple["Expression", ...]


class RecordValue(Node, frozen=True):
    """`(name: value, …)`; every part has a name."""

    parts: tuple[Argument, ...]


class Group(Node, frozen=True):
    """`(value)`."""

    value: "Expression"


class Comparison(Node, frozen=True):
    """Two values and one of `== != < <= > >=`."""

    operator: str
    left: "Expression"
    right: "Expression"


class Negation(Node, frozen=True):
    """`not value`."""

    operand: "Expression"


class Conjunction(Node, frozen=True):
    """Two or more values between `and`."""

    operands: tuple["Expression", ...]


class Disjunction(Node, frozen=True):
    """Two or more values between `or`."""

    operands: tuple["Expression", ...]


class Joined(Node, frozen=True):
    """Two or more lists between `+`."""

    operands: tuple["Expression", ...]


class Each(Node, frozen=True):
    """`each name in items where test ~ share: value`; `where` and its `share` may be absent."""

    name: Name
    items: "Expression"
    where: "Expression | None"
    share: Amount | None
    value: "Expression"


class Guarded(Node, frozen=True):
    """`value within amount else otherwise`, of which one of the two may be absent."""

    value: "Expression"
    within: Amount | None
    otherwise: "Expression | None"


Expression = (
    Broken
    | Text
    | Amount
    | Truth
    | Reference
    | Call
    | Access
    | ListValue
    | RecordValue
    | Group
    | Comparison
    | Negation
    | Conjunction
    | Disjunction
    | Joined
    | Each
    | Guarded
)


class Sized(Node, frozen=True):
    """A type with the expected size of its values."""

    type: "TypeTree"
    size: Amount | None


class NamedType(Node, frozen=True):
    """A type by its name."""

    name: Name


class LabelsType(Node, frozen=True):
    """`"a" | "b"`."""

    labels: tuple[Text, ...]


class ListType(Node, frozen=True):
    """`[type]`."""

    item: Sized


class RecordType(Node, frozen=True):
    """`(name: type, …)`."""

    ports: tuple["Port", ...]


class ClassType(Node, frozen=True):
    """`class`: the names of the declared request classes, as labels."""


TypeTree = NamedType | LabelsType | ListType | RecordType | ClassType


class Port(Node, frozen=True):
    """A named, typed input, or a field of a record type."""

    name: Name
    sized: Sized
    default: Expression | None


class Objective(Node, frozen=True):
    """`p95 latency <= 4 s`; `words` are those before the sign."""

    words: tuple[Name, ...]
    sign: str
    bound: Amount


class Slo(Node, frozen=True):
    """`slo objective, …`."""

    objectives: tuple[Objective, ...]


class Rate(Node, frozen=True):
    """`20 rps peak 60 rps`, of one request class where it begins with its name."""

    of: Name | None
    rate: Amount
    peak: Amount | None


class Load(Node, frozen=True):
    """`load rate, …`."""

    rates: tuple[Rate, ...]


class Bind(Node, frozen=True):
    """`name = value`."""

    name: Name
    value: Expression


class Return(Node, frozen=True):
    """`return value`, `return stream value`."""

    stream: bool
    value: Expression


class Arm(Node, frozen=True):
    """`if` or `elif`: a test, the share of requests that is expected to take the arm, and its block."""

    test: Expression
    share: Amount | None
    body: tuple["Statement", ...]


class If(Node, frozen=True):
    """`if … elif … else …`; `otherwise` is None where there is no `else`, `else_span` the place of its block."""

    arms: tuple[Arm, ...]
    otherwise: tuple["Statement", ...] | None
    else_span: Span | None


class Repeat(Node, frozen=True):
    """`repeat up to 3 { … } until test ~ share`; the test and its share may be absent."""

    limit: Amount
    body: tuple["Statement", ...]
    block: Span
    until: Expression | None
    share: Amount | None


Clause = Slo | Load
Statement = Bind | Return | If | Repeat


class Imported(Node, frozen=True):
    """One name of an import, with the name that it gets here."""

    name: Name
    alias: Name | None


class Import(Node, frozen=True):
    """`import a, b as c from "file.rag"`."""

    names: tuple[Imported, ...]
    path: Text


class Alias(Node, frozen=True):
    """`type name = type`."""

    name: Name
    type: TypeTree
    doc: str = ""


class Class(Node, frozen=True):
    """`class name(settings)`: a request class."""

    name: Name
    settings: tuple[Argument, ...]
    doc: str = ""


class Component(Node, frozen=True):
    """`component name(ports) -> result = base(settings)`; both or neither of ports and result are there."""

    name: Name
    ports: tuple[Port, ...] | None
    result: Sized | None
    base: Name
    settings: tuple[Argument, ...]
    doc: str = ""


class Pipeline(Node, frozen=True):
    """A pipeline. `complete` is false where a part could not be read, so that what is missing proves nothing."""

    name: Name
    ports: tuple[Port, ...]
    result: Sized
    body: tuple[Clause | Statement, ...]
    doc: str = ""
    complete: bool = True


Declaration = Import | Alias | Class | Component | Pipeline


class Comment(Node, frozen=True):
    """`# text`, from the sign to the end of the line."""

    text: str


class File(msgspec.Struct, frozen=True):
    """A whole file. `unread` are names whose declarations could not be read; `whole` says that all could be.

    Where `?` is among them, any name may have been declared in what could not be read.
    """

    source: Source
    declarations: tuple[Declaration, ...]
    comments: tuple[Comment, ...]
    unread: frozenset[str]
    whole: bool


def bare(value: Expression) -> Expression:
    """A value without the brackets around it, which only group."""
    while isinstance(value, Group):
        value = value.value
    return value


@cache
def _parts_of(of: type[Node]) -> tuple[str, ...]:
    """The fields of a class of nodes that hold nodes, or tuples of them."""
    plain = {str, bool, Span}
    return tuple(field.name for field in msgspec.structs.fields(of) if field.type not in plain)


def walk(root: Node) -> Iterator[tuple[Node, int]]:
    """Every part at and below one, parents first, with how deep it lies below the root. Not recursive."""
    pending = [(root, 0)]
    while pending:
        node, depth = pending.pop()
        yield node, depth
        for name in _parts_of(type(node)):
            value = getattr(node, name)
            if isinstance(value, Node):
                pending.append((value, depth + 1))
            elif isinstance(value, tuple):
                pending += [(item, depth + 1) for item in value]
