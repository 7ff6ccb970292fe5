"""What a component kind is: data and pure functions over contract types.

A kind is one module in this folder that defines `KIND`. It says which settings it takes, which
ports it has, what one call asks of hardware, how a replica is launched, and how a call and its
answer look as bytes. No kind opens a socket, imports an engine, or knows the grammar.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, Protocol

import msgspec

from harmonia_compiler.contract.card import Card, ModelReference, Role
from harmonia_compiler.contract.component import Component, Engine, Port
from harmonia_compiler.contract.launch import Launch, Piece, Reply, Wire
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.contract.types import Type, Value, Vector

NOTHING: Mapping[str, Any] = MappingProxyType({})

SettingType = Literal[
    "text", "number", "integer", "tokens", "bool", "duration", "memory", "prompt", "component", "device"
]


class Slip(msgspec.Struct, frozen=True):
    """What is wrong within a text: the characters [start, end) of it, a sentence, and the next step."""

    start: int
    end: int
    message: str
    help: str


class Setting(msgspec.Struct, frozen=True):
    """A named setting of a kind.

    `scope` is `engine` where another value means another replica; `component` where components that
    share an engine may differ, and what is made from a component may not (a collection's metric);
    `call` where a component made from another, or a single call, may say it anew. `late` settings
    may wait for the start (`env`, `secret`); those that are also `confidential` must, so that
    neither a file nor a plan holds them. For the type `component`, `accepts` names the kinds that
    may be given; for `text`, the values, and `pattern` what a value must match in full, which `form` says in
    words; of a text in a language of its own, `slip_in` says what is wrong first. `integer` and `tokens` are whole
    numbers; what counts tokens may say so.
    `minimum` and `maximum` bound numbers, in the setting's unit (durations in ms, memory in GiB).
    """

    name: str
    type: SettingType
    doc: str
    scope: Literal["engine", "component", "call"] = "engine"
    default: Any = None
    required: bool = False
    late: bool = False
    confidential: bool = False
    accepts: tuple[str, ...] = ()
    pattern: str | None = None
    form: str = ""
    slip_in: Callable[[str], Slip | None] | None = None
    minimum: float | None = None
    maximum: float | None = None

    @property
    def meaning(self) -> str:
        """What it is for, and how it is written where not every text will do."""
        return f"{self.doc}; {self.form}" if self.form else self.doc


class Signature(msgspec.Struct, frozen=True):
    """Ports and result that a kind fixes; kinds without one take theirs from the declaration."""

    ports: tuple[Port, ...]
    result: Type


class Extent(msgspec.Struct, frozen=True):
    """How large a value is expected to be: `tokens` in all, in `items` (1 where it is no list).

    `item` is how large one item of a list of lists or of records is, `parts` how large those of a record are, where it
    is known: without, what is inside has its usual share of the tokens.
    """

    tokens: float
    items: float = 1.0
    guessed: bool = False
    item: "Extent | None" = None
    parts: Mapping[str, "Extent"] | None = None


class Work(msgspec.Struct, frozen=True):
    """What one call asks of hardware; a cost model turns it into time on a device.

    `prompt_tokens` and `output_tokens` are those of a language model; `encoded_tokens` in
    `encoded_items` sequences those of an encoder; `core_ms` is time of one CPU core.
    """

    prompt_tokens: float = 0.0
    output_tokens: float = 0.0
    encoded_tokens: float = 0.0
    encoded_items: float = 0.0
    core_ms: float = 0.0
    elsewhere_ms: float = 0.0


class WorkOf(Protocol):
    """What a call of the component asks, given the extents of its inputs and its result."""

    def __call__(self, component: Component, inputs: Mapping[str, Extent], result: Extent) -> Work:
        """Work of one call."""
        ...


class ResultExtentOf(Protocol):
    """How large the component's result is expected to be, given the extents of its inputs where they are known."""

    def __call__(self, component: Component, inputs: Mapping[str, Extent] = NOTHING) -> Extent:
        """Extent of the result."""
        ...


class LaunchOf(Protocol):
    """The process of one replica in a configuration; `card` is the engine's model, where it has one."""

    def __call__(self, engine: Engine, card: Card | None, configuration: Configuration) -> Launch:
        """The launch of one replica."""
        ...


class Encode(Protocol):
    """A call as bytes; `component.settings` already holds what the call and the request override.

    Settings of the engine that were late are plain by now. `Wire.path` of an external kind is the whole URL.
    """

    def __call__(self, engine: Engine, component: Component, inputs: Mapping[str, Value], *, stream: bool) -> Wire:
        """The request of one call."""
        ...


class Decode(Protocol):
    """The value in an answer's body (that of a success); `inputs` is what the call was given.

    Raises MalformedReply where the body cannot be read or the value is not of the component's type.
    """

    def __call__(self, component: Component, body: bytes, inputs: Mapping[str, Value] = NOTHING) -> Reply:
        """The answer of one call."""
        ...


class EncodeMany(Protocol):
    """As `Encode`, for several calls of one component in one request; `inputs` holds at least one."""

    def __call__(self, engine: Engine, component: Component, inputs: Sequence[Mapping[str, Value]]) -> Wire:
        """The request of all calls."""
        ...


class DecodeMany(Protocol):
    """As `Decode`, for the answer to several calls, in their order. Their usages add up to that of the request."""

    def __call__(self, component: Component, body: bytes, inputs: Sequence[Mapping[str, Value]]) -> list[Reply]:
        """The answer of each call."""
        ...


class ProbeOf(Protocol):
    """The smallest call of a replica whose answer shows that it makes progress; it changes nothing."""

    def __call__(self, engine: Engine) -> Wire | None:
        """The request of that call; None for an engine that says itself whether it makes progress."""
        ...


class DecodePiece(Protocol):
    """What one server-sent event of a streamed answer adds, given with or without its `data:`.

    None where it adds nothing (`[DONE]`, a comment, an empty line). Raises FailedReply on an error event.
    """

    def __call__(self, event: bytes) -> Piece | None:
        """One part of a streamed answer."""
        ...


class Fault(msgspec.Struct, frozen=True):
    """Settings that contradict each other: their names, that of the one to change first, and a finding's texts."""

    settings: tuple[str, ...]
    message: str
    help: str


class FaultsOf(Protocol):
    """What is wrong between settings that are fine one by one; `settings` holds them all, defaults included."""

    def __call__(self, settings: Mapping[str, Any]) -> Iterable[Fault]:
        """The contradictions."""
        ...


class Through(msgspec.Struct, frozen=True):
    """A port that is first sent through the component that a setting names, which `gives` what then comes there.

    The flow shows both calls. Where the setting `wherever` is true, what the port was given is sent as well, at the
    port `plain`.
    """

    setting: str
    plain: str | None = None
    wherever: str | None = None
    gives: Type = Vector()


class Narrowing(msgspec.Struct, frozen=True):
    """Where a setting of an engine has this value, its model must be of one of these roles."""

    setting: str
    value: Any
    roles: tuple[Role, ...]


class PrefixCache(msgspec.Struct, frozen=True):
    """Where a replica counts the tokens of prompts that it looked for in its prefix cache, and those that it found.

    `path` is that of a page in Prometheus' text format, the others are names of counters on it.
    """

    path: str
    looked_up: str
    found: str


class Kind(msgspec.Struct, frozen=True):
    """One kind. `name` equals its module's; `example` are declarations of components made from it.

    `unnamed` is the one setting that may be given without its name. `through` are, by their names, ports
    that go through another component: a Milvus search takes text, and its vector comes from the
    embedder. `stateful` engines are one server of
    a plan that no controller moves; `external` ones are somebody else's and take no hardware.
    `function_setting` names the setting that holds a Python function, whose annotations may tell the ports.
    `model_setting` names the setting that holds a model, whose card planning needs and must be of
    one of the `roles`, of which `narrowings` may leave some out; `priority_setting` the one, not for users, that tells
    an engine which of its calls goes first: the one with the lowest whole number. `asked_only` is what only a request
    can ask of the call that gives its answer, beside the settings that a component may have as well. Kinds whose engine
    takes several calls in one request have both `encode_many` and `decode_many`; the value of each call is what
    `decode` would give. `probe` is for kinds whose replicas may say that they are well and yet do nothing,
    `prefix_cache` for those that may say how well theirs serves.
    """

    name: str
    doc: str
    settings: tuple[Setting, ...]
    unnamed: str
    signature: Signature | None
    transport: Literal["http", "milvus"]
    runs_on: tuple[Literal["gpu", "cpu"], ...]
    work: WorkOf
    result_extent: ResultExtentOf
    launch: LaunchOf | None
    encode: Encode
    decode: Decode
    decode_piece: DecodePiece | None = None
    encode_many: EncodeMany | None = None
    decode_many: DecodeMany | None = None
    through: Mapping[str, Through] = msgspec.field(default_factory=dict)
    stateful: bool = False
    external: bool = False
    has_prompt: bool = False
    function_setting: str | None = None
    model_setting: str | None = None
    roles: tuple[Role, ...] = ()
    narrowings: tuple[Narrowing, ...] = ()
    asked_only: frozenset[str] = frozenset()
    priority_setting: str | None = None
    own_faults: FaultsOf | None = None
    probe: ProbeOf | None = None
    prefix_cache: PrefixCache | None = None
    example: str = ""

    @property
    def embeds(self) -> bool:
        """Whether its engine makes vectors by a model, which are comparable with those of that model alone."""
        return self.model_setting is not None and self.signature is not None and self.signature.result == Vector()

    def model_of(self, engine: Engine) -> ModelReference | None:
        """The model that an engine of the kind runs, at the revision that it is given; None where the kind has none."""
        if self.model_setting is None:
            return None
        revision = engine.settings.get(REVISION.name)
        return ModelReference(str(engine.settings[self.model_setting]), str(revision) if revision else None)

    def given(self, component: Component) -> dict[str, Type]:
        """The types of what a component's calls are given, by port: what goes through another one has been there."""
        types = {port.name: port.type for port in component.ports}
        for name, way in self.through.items():
            if way.plain is not None:
                types[way.plain] = types[name]
            types[name] = way.gives
        return types

    def setting(self, name: str) -> Setting | None:
        """The setting of that name, the common ones of every kind included."""
        return next((setting for setting in (*self.settings, *COMMON_SETTINGS) if setting.name == name), None)

    def narrowing(self, role: Role, given: Mapping[str, Any]) -> Narrowing | None:
        """The first that such settings of an engine bring about and that leaves a role out, if there is one."""
        for each in self.narrowings:
            setting = self.setting(each.setting)
            value = given.get(each.setting, setting and setting.default)
            if value == each.value and role not in each.roles:
                return each
        return None

    def faults(self, given: Mapping[str, Any]) -> list[Fault]:
        """What contradicts each other among given settings and the defaults of the others."""
        settings = {setting.name: setting.default for setting in (*self.settings, *COMMON_SETTINGS)} | dict(given)
        return [*_replica_faults(settings), *(self.own_faults(settings) if self.own_faults else ())]


class MalformedReply(Exception):
    """An engine's answer that cannot be read, or whose value is outside the declared type."""


class CutOff(MalformedReply):
    """An answer that ends where `max_tokens` did, and is not known to be complete: it may be no value of the type."""


class FailedReply(MalformedReply):
    """An engine that says within its answer that it failed: the next one may do better."""


#: What a kind with a model takes to have that one, whatever the model's name means.
REVISION = Setting(
    "revision",
    "text",
    "the model's revision; the card's where it is not said",
    pattern=r"[A-Za-z0-9._-]{1,64}",
    form="at most 64 letters from a to z, digits, `.`, `_` and `-`",
)


def model_setting(meaning: str) -> Setting:
    """The setting that names a kind's model."""
    form = "a model's name, which has no blanks and no braces"
    return Setting("model", "text", meaning, required=True, form=form, slip_in=_no_model)


def _no_model(value: str) -> Slip | None:
    """What a text is otherwise that stands where the model is named: a prompt, most likely."""
    if not re.search(r"\s|[{}]", value):
        return None
    message = "no model is named here, whose name has no blanks and no braces"
    return Slip(0, len(value), message, "name the model first, and give what else there is behind it")


#: What every kind takes.
COMMON_SETTINGS: tuple[Setting, ...] = (
    Setting("on", "device", "the GPU type or `cpu` that its replicas must run on"),
    Setting(
        "hosts",
        "text",
        "a label that the hosts of its replicas must carry in the inventory",
        pattern=r"[A-Za-z0-9._-]{1,64}=[A-Za-z0-9._-]{1,64}",
        form="`name=value`, each of at most 64 letters from a to z, digits, `.`, `_` and `-`",
    ),
    Setting("min_replicas", "integer", "never fewer replicas than this", default=1, minimum=1, maximum=1024),
    Setting("max_replicas", "integer", "never more replicas than this", minimum=1, maximum=1024),
    Setting(
        "min_hosts",
        "integer",
        "never on fewer hosts than this: of 2, the loss of either leaves a replica",
        minimum=1,
        maximum=1024,
    ),
    Setting(
        "share",
        "text",
        "whether it shares replicas with components of an equal engine; `never` keeps its own to itself",
        scope="component",
        default="equal",
        accepts=("equal", "never"),
    ),
    Setting("timeout", "duration", "how long one call may take", scope="call", minimum=1),
    Setting("pure", "bool", "whether a call may be repeated or merged", scope="call", default=True),
)


def _replica_faults(settings: Mapping[str, Any]) -> Iterable[Fault]:
    least, most, hosts = settings["min_replicas"], settings["max_replicas"], settings["min_hosts"]
    if most is not None and most < least:
        message = f"`max_replicas` is {most}, but `min_replicas` is {least}"
        yield Fault(("max_replicas", "min_replicas"), message, "raise `max_replicas`, or lower `min_replicas`")
    if most is not None and hosts is not None and most < hosts:
        message = f"`max_replicas` is {most}, but `min_hosts` is {hosts}"
        yield Fault(("max_replicas", "min_hosts"), message, "raise `max_replicas`, or lower `min_hosts`")


def value_of(name: str, settings: Mapping[str, Any], declared: tuple[Setting, ...]) -> Any:
    """A setting's value: what was given, else the default that its declaration states."""
    given = settings.get(name)
    if given is not None:
        return given
    return next(setting.default for setting in declared if setting.name == name)
