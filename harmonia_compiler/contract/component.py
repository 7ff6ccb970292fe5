"""Components and the engines they stand on, as every stage after checking sees them."""

from typing import Annotated, Any

import msgspec

from harmonia_compiler.contract.types import ListOf, Type


class Late(msgspec.Struct, frozen=True, tag_field="late"):
    """A setting whose value is read only when the service starts."""

    name: str


class Env(Late, frozen=True, tag="env"):
    """`env("NAME")`: an environment variable of the process that starts the service."""


class Secret(Late, frozen=True, tag="secret"):
    """`secret("NAME")`: as `env`, and never written to a plan, a log or a metric."""


class Sizes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the user expects of a value: `size` tokens (text) or items (a list), and the same of what is inside.

    `item` is said of one item of a list, `parts` of the parts of a record by name; of others nothing is said.
    """

    size: float | None = None
    item: "Sizes | None" = None
    parts: dict[str, "Sizes"] = {}


#: Where nobody said anything.
UNSAID = Sizes()


def _sizes(of: Type, size: float | None, item_size: float | None, inner: Sizes | None) -> Sizes:
    """What is said of a value of a type. An `item_size` of lists is from a document that says no more of them."""
    inner = inner or UNSAID
    is_of_texts = item_size is not None and isinstance(of, ListOf) and not isinstance(of.item, ListOf)
    return Sizes(size, Sizes(item_size) if is_of_texts else inner.item, inner.parts)


class Port(msgspec.Struct, frozen=True, omit_defaults=True):
    """An input of a component or a pipeline.

    `size` is the expected number of tokens (text) or items (a list), where the user said it, `item_size` that of
    the tokens of one item. `inner` has what is said of parts of records, and of lists in lists.
    """

    name: str
    type: Type
    size: float | None = None
    default: Any = msgspec.UNSET
    item_size: float | None = None
    inner: Sizes | None = None

    @property
    def sizes(self) -> Sizes:
        """All that is said of the size of its values."""
        return _sizes(self.type, self.size, self.item_size, self.inner)


class Insert(msgspec.Struct, frozen=True):
    """The place in a prompt where a port's value goes."""

    port: str


PromptPart = str | Insert
Prompt = tuple[PromptPart, ...]


class Engine(msgspec.Struct, frozen=True):
    """What is placed: a model with its flags, a vector store, a worker of the user's Python.

    `settings` are those that decide what a replica is (the kind's settings of scope `engine`);
    components whose engines have equal kind and settings share one.
    """

    id: str
    kind: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]*\Z")]
    settings: dict[str, Any]


class Component(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a pipeline calls: ports, result and call settings on top of an engine.

    `settings` are the kind's settings of scope `call`, in milliseconds, bytes and plain numbers.
    `prompt` and `system` are the parsed templates; texts and inserted ports in order.
    `size` is the expected tokens (text) or items (a list) of a result, `item_size` the expected
    tokens of one item, both only where the user said so; `inner` has what is said of parts of records,
    and of lists in lists.
    """

    name: str
    kind: str
    engine: str
    ports: tuple[Port, ...]
    result: Type
    size: float | None = None
    item_size: float | None = None
    prompt: Prompt | None = None
    system: Prompt | None = None
    settings: dict[str, Any] = {}
    inner: Sizes | None = None

    @property
    def sizes(self) -> Sizes:
        """All that is said of the size of its results."""
        return _sizes(self.result, self.size, self.item_size, self.inner)
