"""The time of steps by NVIDIA's measured kernels: `aiconfigurator-core`, where that package is installed.

It asks a hub for the configuration of a model that it does not bundle; here it is given one that is
made from the card, so that nothing opens a socket. It knows some GPU types and some shapes of models; for
the rest there is no table, and `table_for` says so.
"""

import contextlib
import json
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from harmonia_compiler.contract.card import Card
from harmonia_compiler.profile.steps import StepLoad

_PACKAGE = "aiconfigurator-core"
_BACKEND = "vllm"
#: Contexts between which the time of decoding is taken to grow evenly.
_CONTEXT_STEP = 128
#: The feed-forward part of a layer is as wide as a multiple of this.
_WIDTH_STEP = 64
#: What a model is asked for before its table counts as there: a prefill, a decode, both in one step.
_TRIAL = (StepLoad(512, 512.0**2 / 2), StepLoad(0, 0.0, 8, 8000.0), StepLoad(512, 512.0**2 / 2, 8, 8000.0))


class _Handle(Protocol):
    """What is used of `aiconfigurator_core.sdk.engine.EngineHandle`; times are in ms."""

    def predict_prefill_latency(self, bs: int, isl: int, prefix: int) -> float: ...

    def decode_step_latency(self, gen_tokens: int, isl: int, osl: int) -> float: ...

    def mixed_step_breakdown(
        self, ctx_tokens: int, gen_tokens: int, isl: int, osl: int
    ) -> tuple[float, float, float, float]: ...


def table_for(card: Card, gpu: str, tensor_parallel: int, precision: str = "bf16") -> "Table | None":
    """The table of a model on GPUs of a type; None where the package, or its figures for these, are absent."""
    try:
        provenance = f"tables: {_PACKAGE} {version(_PACKAGE)}, {gpu}, {_BACKEND}"
    except PackageNotFoundError:
        return None
    if precision not in {"bf16", "fp16"} or card.active_parameters is not None or card.heads % tensor_parallel:
        return None
    config = config_of(card)
    if config is None:
        return None
    module: Any = import_module("aiconfigurator_core.sdk.engine")
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        try:
            table = Table(module.EngineHandle.compile(folder, gpu, _BACKEND, tp_size=tensor_parallel), provenance)
            for load in _TRIAL:
                table.step_ms(load)
        except (ValueError, RuntimeError):
            # Its ways of saying that it has no figures for this.
            return None
    return table


def config_of(card: Card) -> dict[str, object] | None:
    """A model's `config.json`, as far as the tables need it; None where the card does not say enough.

    The width of the feed-forward part follows from the number of parameters, once with the
    embeddings used for input and output alike and once with two of them: of these, the width
    nearest to a usual one is the model's.
    """
    if card.vocabulary is None:
        return None
    # Of a layer, all but the feed-forward part: four projections, two norms.
    others = 2 * card.hidden * card.head_dim * (card.heads + card.kv_heads) + 2 * card.hidden
    embedding = card.vocabulary * card.hidden

    def width(embeddings: int) -> float:
        rest = card.parameters - embeddings * embedding - card.hidden
        return (rest / card.layers - others) / (3 * card.hidden)

    def strangeness(embeddings: int) -> float:
        return abs(width(embeddings) - round(width(embeddings) / _WIDTH_STEP) * _WIDTH_STEP)

    embeddings = min((1, 2), key=strangeness)
    if width(embeddings) < 1:
        return None
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": card.hidden,
        "intermediate_size": round(width(embeddings)),
        "num_hidden_layers": card.layers,
        "num_attention_heads": card.heads,
        "num_key_value_heads": card.kv_heads,
        "head_dim": card.head_dim,
        "vocab_size": card.vocabulary,
        "max_position_embeddings": card.context,
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": embeddings == 1,
    }


@dataclass(frozen=True, slots=True)
class Table:
    """A `StepModel`: a step is the work on all of its tokens, and attention, apart for prompts and for answers."""

    handle: _Handle
    provenance: str
    request_ms: float = 0.0
    _decoding: dict[tuple[int, int], float] = field(default_factory=dict, repr=False)

    def step_ms(self, load: StepLoad, /) -> float:
        """The time of one step, in ms."""
        if load.prefill_tokens and load.decodes:
            tokens = load.prefill_tokens
            shared = self.handle.mixed_step_breakdown(tokens, load.decodes, tokens, 2)[1]
            alone = self.handle.mixed_step_breakdown(tokens, 0, tokens, 2)[1]
            return shared + self._prefill(load) - alone + self._decode(load) - self._without_attention(load.decodes)
        if load.prefill_tokens:
            return self._prefill(load)
        return self._decode(load)

    def _prefill(self, load: StepLoad) -> float:
        """Of the prompts' tokens alone: as one chunk after so many tokens, or as several that begin."""
        new = load.prefill_tokens
        before = load.prefill_pairs / new - new / 2
        if before >= 0:
            return self.handle.predict_prefill_latency(1, round(before) + new, round(before))
        prompts = max(1, round(new * new / (2 * max(load.prefill_pairs, new / 2))))
        return self.handle.predict_prefill_latency(prompts, max(1, round(new / prompts)), 0)

    def _decode(self, load: StepLoad) -> float:
        """Of the decoding sequences alone, all with the mean context."""
        sequences = max(1, load.decodes)
        low, part = divmod(load.decode_context / sequences / _CONTEXT_STEP, 1.0)
        below = self._decode_at(sequences, int(low))
        return below + part * (self._decode_at(sequences, int(low) + 1) - below) if part else below

    def _decode_at(self, sequences: int, number: int) -> float:
        key = (sequences, number)
        if key not in self._decoding:
            self._decoding[key] = self.handle.decode_step_latency(sequences, max(1, number * _CONTEXT_STEP - 1), 2)
        return self._decoding[key]

    def _without_attention(self, sequences: int) -> float:
        return self.handle.mixed_step_breakdown(sequences, 0, sequences, 2)[1]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The package logs which of its files it could not prefer; what matters of that is in the result."""
    logger = logging.getLogger("aiconfigurator_core")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
