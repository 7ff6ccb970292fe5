"""Model cards: the facts about a model that planning needs, so that it never asks a hub.

Cards of the models in samples and benchmarks are shipped in `cards/`; those that a user adds lie in
the model store, and win over shipped ones of the same name.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from harmonia_compiler.contract.home import model_store
from harmonia_compiler.contract.regular import read_text
from harmonia_compiler.contract.toml_document import NotToml, parse_toml, shown
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.near import listed, suggestion
from harmonia_compiler.diagnostics.source import Source

SHIPPED = Path(__file__).with_name("cards")
#: The name of a card's file in a model's folder of the store.
CARD_FILE = "card.toml"

# A commit, or what a folder that was added held.
_FIXED = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}|local-[0-9a-f]{8,64}")

#: What a model is for.
Role = Literal["llm", "embedder", "reranker"]

# What the facts may be, in the decoder's terms and in words.
_LINE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
_Line = Annotated[str, Meta(pattern=rf"\A{_LINE}{{1,200}}\Z", description="one line of at most 200 characters")]
# A name is also a folder's, of those that are not hidden, and `@` stands between it and a revision.
_Name = Annotated[
    str,
    Meta(
        pattern=rf"\A(?!\.)(?:(?!@){_LINE}){{1,128}}\Z",
        description="one line of at most 128 characters, without `@`, that begins with no `.`",
    ),
]
_Count = Annotated[int, Meta(ge=1, le=2**20, description="a whole number from 1 to 1,048,576")]
_Tokens = Annotated[int, Meta(ge=1, le=2**30, description="a whole number from 1 to 1,073,741,824")]
_Parameters = Annotated[float, Meta(ge=1, le=1e15, description="a number from 1 to 1e15")]
_Bytes = Annotated[float, Meta(ge=0.01, le=16, description="a number from 0.01 to 16")]
_Package = Annotated[
    str, Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]{0,63}\Z", description="the name of a package, one word")
]
_Inside = Annotated[
    str,
    Meta(
        pattern=r"\A(?!\.\.?(/|\Z))[^/\x00-\x1f]+(/(?!\.\.?(/|\Z))[^/\x00-\x1f]+)*\Z",
        max_length=1024,
        description="a path inside the package, without `..`",
    ),
]


class Weights(msgspec.Struct, frozen=True):
    """Where a model's weights can be had without a hub: a directory or file inside a Python package.

    `package` is the name that it is imported by, one word, and `path` lies inside its folder.
    """

    package: _Package
    path: _Inside
    format: Literal["safetensors", "gguf", "onnx"] = "safetensors"


class Card(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One model. `parameters` counts all weights; `active_parameters` those that one token touches.

    Attention facts (`layers`, `kv_heads`, `head_dim`) size the KV cache of an `llm`; `dimension` is
    the length of an `embedder`'s vectors, and `pooling` how those of its tokens become one where no file beside the
    weights says so; `weight_bytes` is bytes per parameter as published.
    `context` is the most tokens of one sequence; of `vocabulary` tokens an `llm` chooses each. `aliases`
    are other names that mean this model and no other. `source` says where the facts are from. Of folders that were
    `added` under one name one after the other, which it was; the last one has the name.
    """

    name: _Name
    role: Annotated[Role, Meta(description="`llm`, `embedder` or `reranker`")]
    revision: _Line
    licence: _Line
    parameters: _Parameters
    layers: _Count
    hidden: _Count
    heads: _Count
    kv_heads: _Count
    head_dim: _Count
    context: _Tokens
    source: Annotated[str, Meta(description="a text")]
    weight_bytes: _Bytes = 2.0
    active_parameters: _Parameters | None = None
    dimension: _Count | None = None
    pooling: Annotated[Literal["mean"] | None, Meta(description="`mean`")] = None
    vocabulary: _Tokens | None = None
    gated: Annotated[bool, Meta(description="true or false")] = False
    weights: Annotated[Weights, Meta(description="a table with `package`, `path` and maybe `format`")] | None = None
    aliases: Annotated[tuple[_Name, ...], Meta(description="a list of names")] = ()
    added: _Count | None = None

    @property
    def weights_gib(self) -> float:
        """Memory of the weights as published."""
        return self.parameters * self.weight_bytes / 2**30

    def kv_bytes_per_token(self, precision: str = "bf16") -> float:
        """Bytes of keys and values of a token over all layers: of 32 bits beside such weights, else of 16."""
        return 2.0 * self.layers * self.kv_heads * self.head_dim * (4.0 if precision == "fp32" else 2.0)


def is_fixed(revision: str) -> bool:
    """Whether a revision means one content for ever, which a branch or a tag does not."""
    return _FIXED.fullmatch(revision) is not None


def is_added(revision: str) -> bool:
    """Whether a revision is of a folder that a user added, so that no hub has it."""
    return revision.startswith("local-")


class ModelReference(msgspec.Struct, frozen=True):
    """A model as somebody names it: by its name or an alias, and by a revision where it is to be that one.

    What a name means changes when a folder is added under it; so nobody is given a card by a name alone.
    """

    name: str
    revision: str | None

    @classmethod
    def read(cls, text: str) -> "ModelReference":
        """What `name` or `name@revision` refers to."""
        name, _, revision = text.partition("@")
        return cls(name, revision or None)


class UnknownRevision(Rejected):
    """A model's name is known, and the revision that is asked for is not."""


class Cards:
    """The cards that are known; of several that have one name the last is what it means, and names win over aliases.

    Iterated over, it gives the card that each name means.
    """

    def __init__(self, cards: Iterable[Card]) -> None:
        every = list(cards)
        self._meant: dict[str, list[Card]] = {}
        aliased = [(alias, card) for card in every for alias in card.aliases]
        for name, card in [*aliased, *((each.name, each) for each in every)]:
            self._meant.setdefault(name, []).append(card)

    def __iter__(self) -> Iterator[Card]:
        return iter({card.name: card for cards in self._meant.values() for card in cards}.values())

    def named(self, name: str) -> list[Card]:
        """All cards that a name or alias means or meant, the one that it means last; none where it is not known."""
        own = self._meant.get(name, [])
        same = [card for card in self._meant[own[-1].name] if card not in own] if own else []
        return [*same, *own]

    def get(self, model: ModelReference) -> Card | None:
        """The card of a model at its revision, or of what its name means where none is said; None where there is none.

        A hub's models change little from one revision to the next: of a revision that no card is of, the facts are
        those of the hub's card of that name, and nothing is said of where its weights are. What was added is told by
        its own card alone, since any two folders may have had one name.
        """
        named = self.named(model.name)
        if not named or model.revision is None:
            return named[-1] if named else None
        for card in reversed(named):
            if card.revision == model.revision:
                return card
        if is_added(model.revision):
            return None
        hubs = [card for card in named if not is_added(card.revision)]
        return msgspec.structs.replace((hubs or named)[-1], revision=model.revision, weights=None)

    def of(self, model: ModelReference) -> Card:
        """As `get`; raises `Rejected`, with what is nearest, where there is none."""
        if (found := self.get(model)) is not None:
            return found
        if not (named := self.named(model.name)):
            message = f"no model card names `{model.name}`"
            step = suggestion(model.name, self._meant, "add the model with `harmoniac models add DIR`")
            meant = ModelReference.read(model.name)
            if meant.revision is not None and self.named(meant.name):
                step = f'write the name `{meant.name}`, and `revision: "{meant.revision}"` beside it'
            raise Rejected([Diagnostic("E0801", message, help=step)])
        message = f"no folder that was added as `{model.name}` had the revision `{model.revision}`"
        known = [card.revision for card in reversed(named) if is_added(card.revision)]
        leave = "leave `revision` out for what the name means now"
        others = f"name one of {listed(known)}, or {leave}" if known else f"{leave}, or name a commit of the hub's"
        raise UnknownRevision([Diagnostic("E0801", message, help=suggestion(str(model.revision), known, others))])


def load_cards() -> Cards:
    """The shipped cards and then the user's, in the order in which they were added.

    Raises `Rejected` where a card in the user's store cannot be read.
    """
    paths = sorted(path for path in model_store().glob(f"*/{CARD_FILE}") if not path.parent.name.startswith("."))
    stored = sorted((read_card(path) for path in paths), key=lambda card: card.added or 0)
    return Cards([*(read_card(path) for path in sorted(SHIPPED.glob("*.toml"))), *stored])


def read_card(path: Path) -> Card:
    """The card in a file; raises `Rejected`, with all that is wrong, where it cannot be read or is none."""
    try:
        source = Source(str(path), read_text(path))
        document = parse_toml(source.text)
    except OSError as problem:
        message = f"the model card `{path}` cannot be read: {problem.strerror}"
        step = "remove the folder and add the model again with `harmoniac models add DIR`"
        raise Rejected([Diagnostic("E0802", message, help=step)]) from None
    except NotToml as problem:
        step = "mend this line, or add the model again with `harmoniac models add DIR`"
        span = source.span_of_line(problem.line)
        raise Rejected([Diagnostic("E0802", f"this is not TOML: {problem.why}", span, help=step)]) from None
    try:
        return msgspec.convert(document.values, Card)
    except msgspec.ValidationError:
        # It names the first fault alone.
        wrong = list(faults(document.values))
    lines = [source.span_of_line(document.places.line(fault.key)) for fault in wrong]
    raise Rejected(
        Diagnostic("E0802", fault.message, line, help=fault.step) for fault, line in zip(wrong, lines, strict=True)
    )


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with one fact of a card, and what to write instead."""

    key: str
    message: str
    step: str


def faults(facts: Mapping[str, Any]) -> Iterator[Fault]:
    """What keeps facts from being a card, each by itself; none where `msgspec.convert` makes a card of them."""
    for key in facts:
        if key not in Card.__struct_fields__:
            known = suggestion(key[:64], Card.__struct_fields__, f"known are {listed(Card.__struct_fields__, most=20)}")
            yield Fault(key, f"`{key[:64]}` is no fact of a model card", known)
    for field in msgspec.structs.fields(Card):
        if field.name not in facts:
            if field.required:
                yield Fault(
                    field.name, f"`{field.name}` is missing", f"add `{field.name} = …`: {_in_words(field.name)}"
                )
            continue
        try:
            msgspec.convert(facts[field.name], field.type)
        except msgspec.ValidationError:
            yield Fault(
                field.name, f"`{field.name}` cannot be {shown(facts[field.name])}", f"it takes {_in_words(field.name)}"
            )


def _in_words(fact: str) -> str:
    """What a fact takes, as its type says for people."""
    hint = get_type_hints(Card, include_extras=True)[fact]
    metas = (meta for part in (hint, *get_args(hint)) for meta in getattr(part, "__metadata__", ()))
    return next((str(meta.description) for meta in metas if isinstance(meta, Meta)), "another value")
