"""What the names of a pipeline stand for at one point: positions in its flow, with what is known of their types."""

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from harmonia_compiler.check.nodes import Nodes
from harmonia_compiler.contract.program import Argument, Parameter
from harmonia_compiler.contract.types import Labels, Type, field_type
from harmonia_compiler.diagnostics.source import Span


class Variable(msgspec.Struct, eq=False):
    """One place where a name is bound, and whether anything reads what is bound there."""

    name: str
    span: Span
    is_port: bool = False
    used: bool = False


class Value(msgspec.Struct, frozen=True):
    """A node of the flow with the type that is known for it here, which may be narrower than the node's."""

    position: int
    type: Type


class Binding(msgspec.Struct, frozen=True):
    """What a name stands for. Without a value it cannot be used, and `why` says why; an empty `why` is reported.

    `home` are the nodes that the value is among, which may be those around a block that reads it.
    """

    variables: tuple[Variable, ...]
    value: Value | None
    why: str = ""
    at: Span | None = None
    home: Nodes | None = None

    @property
    def is_handed_in(self) -> bool:
        """Whether nothing in the text makes the value: it is a port, or an item of a list."""
        if self.value is None or self.home is None:
            return False
        return isinstance(self.home.all[self.value.position].operation, Parameter | Argument)

    def within(self, nodes: Nodes) -> Value | None:
        """The value as one of these nodes."""
        if self.value is None or self.home is None or self.home is nodes:
            return self.value
        return Value(nodes.here(self.home, self.value.position), self.value.type)


class Scope(msgspec.Struct):
    """The names of one block inside those around it. `own` are the variables that its statements bind.

    `earlier` are, by name, the labels that it could be before it was bound here.
    """

    outer: "Scope | None" = None
    bindings: dict[str, Binding] = msgspec.field(default_factory=dict)
    own: dict[str, Variable] = msgspec.field(default_factory=dict)
    narrowed: dict[str, Type] = msgspec.field(default_factory=dict)
    earlier: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)

    def find(self, name: str) -> Binding | None:
        """The binding of a name, innermost first, with its type as narrow as the tests around say."""
        scope: Scope | None = self
        narrow: Type | None = None
        while scope is not None:
            narrow = narrow or scope.narrowed.get(name)
            binding = scope.bindings.get(name)
            if binding is not None:
                if narrow is None or binding.value is None:
                    return binding
                return replace(binding, value=Value(binding.value.position, narrow))
            scope = scope.outer
        return None

    def labels(self, name: str) -> tuple[str, ...]:
        """The labels that a name may be by what is bound to it, whatever the tests around say."""
        scope: Scope | None = self
        while scope is not None:
            binding = scope.bindings.get(name)
            if binding is not None:
                of = None if binding.value is None else binding.value.type
                return of.labels if isinstance(of, Labels) else ()
            scope = scope.outer
        return ()

    def was(self, name: str, label: str) -> bool:
        """Whether a name could be a label before it was bound to what it is now."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.bindings:
                return label in scope.earlier.get(name, ())
            scope = scope.outer
        return False

    def bind(self, name: str, binding: Binding) -> None:
        """Let the name stand for this from here on."""
        if labels := self.labels(name):
            self.earlier[name] = labels
        self.bindings[name] = binding
        self.narrowed.pop(name, None)

    def names(self) -> Iterator[str]:
        """Every name that can be seen, for suggestions."""
        scope: Scope | None = self
        while scope is not None:
            yield from scope.bindings
            scope = scope.outer

    def with_part(self, part: str) -> str | None:
        """The name, innermost first, of a value with a field of this name, if there is one."""
        values = ((name, binding.value) for name in self.names() if (binding := self.find(name)) is not None)
        return next((name for name, one in values if one is not None and field_type(one.type, part) is not None), None)
