"""The time of steps by NVIDIA's measured kernels: `aiconfigurator-core`, where that package is installed.

It asks a hub for the configuration of a model that it does not bundle; here it is given one that is
made from the card, so that nothing opens a socket. It knows some GPU types and some shapes of models; for
the rest there is no table. Loading it takes seconds and a hundred megabytes, so that nobody but
`table_grids` asks it for what a plan needs, once.

A step is the work on all of its tokens, and attention, apart for prompts and for answers.
"""

import contextlib
import json
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import msgspec

from harmonia_compiler.contract.card import Card
from harmonia_compiler.profile.assumptions import WEIGHT_BYTES
from harmonia_compiler.profile.steps import StepLoad

_PACKAGE = "aiconfigurator-core"
_BACKEND = "vllm"
#: How weights and activations are multiplied, by the precision that a component asks for. 8-bit ones are scaled as
#: they come, as vLLM does to a model that was published in 16 bits. Keys and values stay in 16 bits either way.
_PRODUCTS = {"bf16": "bfloat16", "fp16": "bfloat16", "fp8": "fp8"}
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


class Shape(msgspec.Struct, frozen=True):
    """All that a table follows from: the package, and a model as its kernels see it on GPUs of a type."""

    version: str
    backend: str
    gpu: str
    tensor_parallel: int
    products: str
    config: dict[str, Any]

    @property
    def provenance(self) -> str:
        """Where the figures are from, in one line, as plans say it."""
        return f"tables: {_PACKAGE} {self.version}, {self.gpu}, {self.backend}"


def shape_of(card: Card, gpu: str, tensor_parallel: int, precision: str = "bf16") -> Shape | None:
    """What a model's table is asked for; None where the package is absent, or the model none that it can be told."""
    try:
        found = version(_PACKAGE)
    except PackageNotFoundError:
        return None
    products = _PRODUCTS.get(precision, "bfloat16" if card.weight_bytes == WEIGHT_BYTES["bf16"] else None)
    if precision == "fp32" or products is None or card.active_parameters is not None or card.heads % tensor_parallel:
        return None
    config = config_of(card)
    return None if config is None else Shape(found, _BACKEND, gpu, tensor_parallel, products, config)


def table_of(shape: Shape) -> "Table | None":
    """The table of a shape, for which the package is loaded; None where it has no figures for that."""
    module: Any = import_module("aiconfigurator_core.sdk.engine")
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(shape.config))
        try:
            handle = module.EngineHandle.compile(
                folder, shape.gpu, shape.backend, tp_size=shape.tensor_parallel, gemm_quant_mode=shape.products
            )
            table = Table(handle, shape.provenance)
            for load in _TRIAL:
                table.step_ms(load)
        except (ValueError, RuntimeError):
            # Its ways of saying that it has no figures for this.
            return None
    return table


def table_for(card: Card, gpu: str, tensor_parallel: int, precision: str = "bf16") -> "Table | None":
    """The table of a model on GPUs of a type; None where the package, or its figures for these, are absent."""
    shape = shape_of(card, gpu, tensor_parallel, precision)
    return None if shape is None else table_of(shape)


def config_of(card: Card) -> dict[str, Any] | None:
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

    def step_ms(self, load: StepLoad, /) -> float:
        """The time of one step, in ms."""
        if load.prefill_tokens and load.decodes:
            prompts = self._prefill(load) - self.shared_ms(load.prefill_tokens)
            decodes = self._decode(load) - self.shared_ms(load.decodes)
            return self.shared_ms(load.prefill_tokens + load.decodes) + prompts + decodes
        if load.prefill_tokens:
            return self._prefill(load)
        return self._decode(load)

    def shared_ms(self, tokens: float, /) -> float:
        """The work on so many tokens of a step, without attention: it is the same for prompts and answers."""
        whole = max(1, round(tokens))
        return self.handle.mixed_step_breakdown(whole, 0, whole, 2)[1]

    def _prefill(self, load: StepLoad) -> float:
        """Of the prompts' tokens alone: as one chunk after so many tokens, or as several that begin."""
        new = max(1, round(load.prefill_tokens))
        before = round(load.prefill_pairs / load.prefill_tokens - load.prefill_tokens / 2)
        if before >= 0:
            return self.handle.predict_prefill_latency(1, before + new, before)
        prompts = max(1, round(new * new / (2 * max(load.prefill_pairs, new / 2))))
        return self.handle.predict_prefill_latency(prompts, max(1, round(new / prompts)), 0)

    def _decode(self, load: StepLoad) -> float:
        """Of the decoding sequences alone, all with the mean context."""
        context = max(1, round(load.decode_context / load.decodes)) if load.decodes else 1
        return self.handle.decode_step_latency(max(1, round(load.decodes)), context, 2)


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
