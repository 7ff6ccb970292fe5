"""What is known of a loop while it is read, and of the pipeline around it."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import msgspec

from harmonia_compiler.check.amounts import WHOLE, amount
from harmonia_compiler.check.answers import Answer
from harmonia_compiler.check.clauses import Clauses
from harmonia_compiler.check.nodes import Mark, Nodes
from harmonia_compiler.check.scope import Binding, Scope, Value, Variable
from harmonia_compiler.check.streaming import Streamed
from harmonia_compiler.check.values import Values
from harmonia_compiler.contract.program import MOST_ROUNDS
from harmonia_compiler.contract.types import Field, Labels, ListOf, Record, Type
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Findings, Found
from harmonia_compiler.syntax import tree


class Grown(msgspec.Struct):
    """What is known of a loop once it has been read: a loop around it that is read again does not begin anew.

    `unread` are the names of which nobody knows what they are in later rounds, as a round leaves them, and `said` what
    was found before they were known.
    """

    types: dict[str, Type] = msgspec.field(default_factory=dict)
    has_effect: bool = False
    unread: dict[str, Binding] = msgspec.field(default_factory=dict)
    said: list[Diagnostic] = msgspec.field(default_factory=list)


class Reader(Protocol):
    """What reads the statements of a pipeline, and what it has found so far.

    `guesses` are findings that are said only where nothing else says why the pipeline cannot be lowered.
    """

    findings: Findings
    values: Values
    variables: list[Variable]
    result_type: Type | None
    streamed: list[Streamed]
    whole: bool
    grown: dict[int, "Grown"]
    guesses: list[Diagnostic]
    clauses: Clauses
    class_port: str | None

    def block(self, statements: Sequence[tree.Statement], scope: Scope) -> tuple[Answer, bool]:
        """What a block answers, and whether some path goes on after it."""
        ...


class Carried(msgspec.Struct):
    """A name that is handed from round to round.

    `type` is what it may be where a round begins, `following` what the round has left it, and `handed` what of that
    it may be where there is another round.
    """

    name: str
    binding: Binding
    start: int
    type: Type
    following: Value | None = None
    handed: Type | None = None


class Round(msgspec.Struct):
    """One reading of the block: its nodes, its scope, what it answers, and the condition that ends the loop.

    `arguments` are the nodes of what is handed in by name; `read` tells whether anything reads that.
    """

    nodes: Nodes
    scope: Scope
    answer: Answer
    goes_on: bool
    stop: int | None
    arguments: dict[str, int] = msgspec.field(default_factory=dict)
    read: dict[str, Variable] = msgspec.field(default_factory=dict)

    def left(self, name: str) -> Value | None:
        """What a name that the block binds is at its end, as narrow as the tests of the paths that go on say."""
        binding = self.scope.find(name) if name in self.scope.bindings else None
        return None if binding is None else binding.within(self.nodes)


class Before(msgspec.Struct, frozen=True):
    """What there was before the block was read."""

    mark: Mark
    findings: Found
    variables: int
    whole: bool
    streamed: int
    refused_test: bool
    brought: Counter[str]


def limit_of(given: tree.Amount, reader: Reader) -> int:
    """The number of rounds as the user wrote it; 1, and a finding, where it is none."""
    value = amount(given, WHOLE, "the number of rounds", reader.findings)
    if value is None:
        reader.whole = reader.whole and given.value is None
        return 1
    if not float(value).is_integer() or not 1 <= value <= MOST_ROUNDS:
        message = f"a loop has from 1 to {MOST_ROUNDS} rounds, a whole number"
        help = f"write `repeat up to {max(1, min(MOST_ROUNDS, round(value)))}`"
        reader.findings.add("E0512", message, given.span, help=help)
        return 1
    return int(value)


def widened(of: Type, statement: tree.Repeat, name: str) -> Type:
    """A type of a name with all labels that the block of a loop binds the name to, as they stand there."""
    for part in statement.body:
        for node, _ in tree.walk(part):
            if isinstance(node, tree.Bind) and node.name.text == name:
                of = _with_labels(of, node.value)
    return of


def _with_labels(of: Type, given: tree.Expression) -> Type:
    match of, tree.bare(given):
        case Labels(labels), tree.Text(value=label) if label not in labels:
            return Labels((*labels, label))
        case ListOf(item), tree.ListValue(items=items) if item is not None:
            for one in items:
                item = _with_labels(item, one)
            return ListOf(item)
        case Record(fields), tree.RecordValue(parts=parts):
            said = {part.name.text: part.value for part in parts if part.name is not None}
            return Record(
                tuple(
                    Field(field.name, _with_labels(field.type, said[field.name]) if field.name in said else field.type)
                    for field in fields
                )
            )
    return of


def most_growth(statement: tree.Repeat, carried: Sequence[Carried]) -> int:
    """How often what is handed on may have grown after a round, by its parts, the texts in the block and the rounds.

    A part that is a label may be one more each time, and in the end any text; an empty list may have items.
    """
    texts = {node.value for part in statement.body for node, _ in tree.walk(part) if isinstance(node, tree.Text)}
    parts = [part for each in carried for part in _growing_parts(each.type)]
    known = texts.union(*(part.labels for part in parts if isinstance(part, Labels)))
    most = sum(len(known) + 1 if isinstance(part, Labels) else 1 for part in parts)
    return min(most, MOST_ROUNDS)


def _growing_parts(of: Type) -> list[Labels | ListOf]:
    """The parts of a type, or the type itself, that another round may find to be more: labels and empty lists."""
    match of:
        case Labels() | ListOf(None):
            return [of]
        case ListOf(item) if item is not None:
            return _growing_parts(item)
        case Record(fields):
            return [part for field in fields for part in _growing_parts(field.type)]
    return []
