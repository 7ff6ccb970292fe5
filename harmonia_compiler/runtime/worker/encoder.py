"""Encoder models on torch: vectors of texts, and scores of pairs of texts.

Pooling, normalisation and the longest input are read from the files beside the weights, as
sentence-transformers writes them, so that vectors agree with its own.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

from harmonia_compiler.kinds.launching import FEWEST_PER_PASS
from harmonia_compiler.runtime.worker.loading import loaded

T = TypeVar("T")

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "any": torch.float32}

#: What a forward pass gives: a row for each item, and the mask of its tokens.
Forwarded = tuple[torch.Tensor, torch.Tensor]

_MODES = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_max_tokens": "max"}


def use_cores(cores: int) -> None:
    """Bound the threads of torch, and keep progress bars out of the log."""
    torch.set_num_threads(cores)
    logging.disable_progress_bar()


def is_cross_encoder(folder: Path) -> bool:
    """Whether the model in a folder scores pairs of texts."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return any(str(name).endswith("ForSequenceClassification") for name in config.get("architectures") or ())


class _Encoder:
    """A model with its tokenizer; `per_pass` sequences go through it at a time, alike in length."""

    def __init__(self, folder: Path, loader: Any, *, device: str, precision: str, per_pass: int) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model: Any = loaded(loader, folder, device=device, dtype=DTYPES[precision])
        self.device = device
        self.longest = _longest(folder, self.tokenizer, self.model.config)
        self.per_pass = max(FEWEST_PER_PASS, per_pass)

    def by_length(
        self, items: Sequence[T], length: Callable[[T], int], forward: Callable[[list[T]], Forwarded]
    ) -> list[tuple[torch.Tensor, int]]:
        """`forward` over all items, the longest first; a row and a number of tokens each, in the order of the items."""
        order = sorted(range(len(items)), key=lambda at: -length(items[at]))
        results: dict[int, tuple[torch.Tensor, int]] = {}
        for start in range(0, len(order), self.per_pass):
            places = order[start : start + self.per_pass]
            with torch.inference_mode():
                rows, mask = forward([items[at] for at in places])
            results |= dict(zip(places, zip(rows.float().cpu(), mask.sum(dim=1).tolist(), strict=True), strict=True))
        return [results[at] for at in range(len(items))]

    def encoded(self, *texts: list[str]) -> dict[str, torch.Tensor]:
        """Token tensors of texts, or of pairs of texts, on the model's device."""
        made = self.tokenizer(*texts, padding=True, truncation=True, max_length=self.longest, return_tensors="pt")
        return {name: tensor.to(self.device) for name, tensor in made.items()}


class TextEncoder(_Encoder):
    """Turns texts into vectors."""

    def __init__(self, folder: Path, *, device: str, precision: str, per_pass: int) -> None:
        super().__init__(folder, AutoModel, device=device, precision=precision, per_pass=per_pass)
        self.pooling, self.normalises = _pooling(folder)

    def vectors(self, texts: Sequence[str]) -> list[tuple[torch.Tensor, int]]:
        """A vector of 32-bit numbers, and how many tokens it was made from, for each text."""
        return self.by_length(texts, len, self._forward)

    def _forward(self, texts: list[str]) -> Forwarded:
        tokens = self.encoded(texts)
        states = self.model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
        pooled: torch.Tensor
        if self.pooling == "cls":
            pooled = states[:, 0]
        elif self.pooling == "max":
            pooled = states.masked_fill(mask == 0, float("-inf")).max(dim=1).values
        else:
            pooled = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1e-9)
        vectors = torch.nn.functional.normalize(pooled, dim=1) if self.normalises else pooled
        return vectors, tokens["attention_mask"]


class PairScorer(_Encoder):
    """A cross-encoder: how well the second text of a pair answers the first, from 0 to 1."""

    def __init__(self, folder: Path, *, device: str, precision: str, per_pass: int) -> None:
        loader = AutoModelForSequenceClassification
        super().__init__(folder, loader, device=device, precision=precision, per_pass=per_pass)

    def scores(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, int]]:
        """A score, and how many tokens were read for it, for each pair."""
        scored = self.by_length(pairs, lambda pair: len(pair[0]) + len(pair[1]), self._forward)
        return [(float(row), tokens) for row, tokens in scored]

    def _forward(self, pairs: list[tuple[str, str]]) -> Forwarded:
        tokens = self.encoded([one for one, _ in pairs], [two for _, two in pairs])
        logits: torch.Tensor = self.model(**tokens).logits
        scores = logits[:, 0].sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)[:, -1]
        return scores, tokens["attention_mask"]


def _longest(folder: Path, tokenizer: Any, config: Any) -> int:
    """The most tokens of an input: what the model's own files say, bounded by its positions."""
    own = folder / "sentence_bert_config.json"
    said = json.loads(own.read_text("utf-8")).get("max_seq_length") if own.is_file() else None
    # RoBERTa counts positions from the one after its padding, and so has two fewer than it says.
    reserved = 2 if "roberta" in str(config.model_type) else 0
    return int(min(said or tokenizer.model_max_length, config.max_position_embeddings - reserved))


def _pooling(folder: Path) -> tuple[str, bool]:
    """How tokens become one vector, and whether that is brought to length 1.

    Raises ValueError where the model has a layer after pooling that is not known here.
    """
    listed = folder / "modules.json"
    if not listed.is_file():
        return "mean", True
    types = [str(module["type"]).rsplit(".", 1)[-1] for module in json.loads(listed.read_text("utf-8"))]
    if unknown := set(types) - {"Transformer", "Pooling", "Normalize"}:
        raise ValueError(f"the model has layers that are not supported: {', '.join(sorted(unknown))}")
    settings = json.loads((folder / "1_Pooling" / "config.json").read_text("utf-8"))
    modes = [mode for name, mode in _MODES.items() if settings.get(name)]
    if len(modes) != 1:
        raise ValueError("the model pools in a way that is not supported")
    return modes[0], "Normalize" in types
