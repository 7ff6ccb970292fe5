"""Model cards: the facts about a model that planning needs, so that it never asks a hub.

Cards of the models in samples and benchmarks are shipped in `cards/`; those that a user adds lie in
the model store, and win over shipped ones of the same name.
"""

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from harmonia_compiler.contract.home import model_store
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.near import suggestion
from harmonia_compiler.diagnostics.source import Span

SHIPPED = Path(__file__).with_name("cards")
#: The name of a card's file in a model's folder of the store.
CARD_FILE = "card.toml"


#: What a model is for.
Role = Literal["llm", "embedder", "reranker"]


class Weights(msgspec.Struct, frozen=True):
    """Where a model's weights can be had without a hub: a directory or file inside a Python package.

    `package` is the name that it is imported by, `path` lies inside its folder.
    """

    package: str
    path: str
    format: Literal["safetensors", "gguf", "onnx"] = "safetensors"


class Card(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One model. `parameters` counts all weights; `active_parameters` those that one token touches.

    Attention facts (`layers`, `kv_heads`, `head_dim`) size the KV cache of an `llm`; `dimension` is
    the length of an `embedder`'s vectors; `weight_bytes` is bytes per parameter as published.
    `context` is the most tokens of one sequence. `aliases` are other names that mean this model and
    no other. `source` says where the facts are from.
    """

    name: str
    role: Role
    revision: str
    licence: str
    parameters: float
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    source: str
    weight_bytes: float = 2.0
    active_parameters: float | None = None
    dimension: int | None = None
    gated: bool = False
    weights: Weights | None = None
    aliases: tuple[str, ...] = ()

    @property
    def weights_gib(self) -> float:
        """Memory of the weights as published."""
        return self.parameters * self.weight_bytes / 2**30

    @property
    def kv_bytes_per_token(self) -> float:
        """Bytes of 16-bit keys and values that one token of context takes over all layers."""
        return 2.0 * self.layers * self.kv_heads * self.head_dim * 2.0


def load_cards() -> dict[str, Card]:
    """Every card by its name and by each of its aliases; names win over aliases, the user's over shipped ones.

    Raises `Rejected` where a card in the user's store cannot be read.
    """
    stored = sorted(model_store().glob(f"*/{CARD_FILE}"))
    cards = [read_card(path) for path in (*sorted(SHIPPED.glob("*.toml")), *stored)]
    by_alias = {alias: card for card in cards for alias in card.aliases}
    return by_alias | {card.name: card for card in cards}


def read_card(path: Path) -> Card:
    """The card in a file; raises `Rejected` where it cannot be read or is none."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), Card)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as problem:
        raise Rejected(
            [
                Diagnostic(
                    "E0802",
                    f"the model card {path} cannot be read: {problem}",
                    help="mend it, or remove the folder and add the model again with `harmoniac models add DIR`",
                )
            ]
        ) from problem


def card_for(name: str, cards: dict[str, Card] | None = None, span: Span | None = None) -> Card:
    """The card of a model by name or alias; raises `Rejected`, with the nearest name, where there is none."""
    known = load_cards() if cards is None else cards
    if name in known:
        return known[name]
    raise Rejected(
        [
            Diagnostic(
                "E0801",
                f"no model card names `{name}`",
                span,
                help=suggestion(name, known, "add the model with `harmoniac models add DIR`"),
            )
        ]
    )
