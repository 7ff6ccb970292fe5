"""Components and the engines they stand on, as every stage after checking sees them."""

from typing import Annotated, Any

import msgspec

from harmonia_compiler.contract.types import Type


class Late(msgspec.Struct, frozen=True, tag_field="late"):
    """A setting whose value is read only when the service starts."""

    name: str


class Env(Late, frozen=True, tag="env"):
    """`env("NAME")`: an environment variable of the process that starts the service."""


class Secret(Late, frozen=True, tag="secret"):
    """`secret("NAME")`: as `env`, and never written to a plan, a log or a metric."""


class Port(msgspec.Struct, frozen=True, omit_defaults=True):
    """An input of a component or a pipeline.

    `size` is the expected number of tokens (text) or items (a list), where the user said it, `item_size` that of
    the tokens of one item.
    """

    name: str
    type: Type
    size: float | None = None
    default: Any = msgspec.UNSET
    item_size: float | None = None


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
    tokens of one item, both only where the user said so.
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
