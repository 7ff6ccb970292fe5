"""Generates text with a model on transformers, one conversation at a time, a piece as soon as it is certain."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from harmonia_compiler.runtime.worker.constraint import Constraint, Constraints
from harmonia_compiler.runtime.worker.encoder import DTYPES
from harmonia_compiler.runtime.worker.loading import loaded
from harmonia_compiler.runtime.worker.server import Refusal

#: What a tokenizer gives for bytes that are not yet a whole character.
_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
#: What is sampled is sampled no colder, as in vLLM: divided by less, numbers of 32 bits are none any more.
_COLDEST = 1e-2


@dataclass(frozen=True, slots=True)
class Options:
    """How one answer is generated. `temperature` 0 takes the likeliest token; `top_p` is a share up to 1.

    With `ignore_eos` a text goes on past the model's own end.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an answer: its text, the tokens that the answer has so far, and in the last one why it ended."""

    text: str
    completion_tokens: int
    finish: str | None = None


class Generator:
    """A language model with its tokenizer. Used by one thread at a time."""

    def __init__(self, folder: Path, *, device: str, precision: str, longest: int) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if not self.tokenizer.chat_template:
            raise ValueError("the model has no chat template, and so cannot answer conversations")
        dtype: Any = "auto" if precision == "any" else DTYPES[precision]
        self.model = loaded(AutoModelForCausalLM, folder, device=device, dtype=dtype)
        self.device = device
        self.longest = min(longest, int(self.model.config.max_position_embeddings))
        self.constraints = Constraints(self.tokenizer, int(self.model.config.vocab_size))
        self._ends = _end_tokens(self.tokenizer, self.model)

    def prompt(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """The tokens of a conversation; raises Refusal where it leaves no room for an answer."""
        try:
            text: str = self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        except Exception as problem:  # templates raise what they like
            raise Refusal(400, "invalid_request_error", f"the chat template refused: {problem}") from problem
        tokens: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        if len(tokens) >= self.longest:
            raise Refusal(
                400,
                "invalid_request_error",
                f"the prompt has {len(tokens)} tokens; with an answer it may have {self.longest}",
            )
        return tokens

    def parts(
        self, prompt: list[int], options: Options, constraint: Constraint | None, stopped: Callable[[], bool]
    ) -> Iterator[Part]:
        """The answer in parts; the last one says why it ended. `stopped` is asked before each token."""
        random = torch.Generator().manual_seed(options.seed) if options.seed is not None else None
        writer = _Writer(self.tokenizer, options.stop)
        most = min(options.max_tokens, self.longest - len(prompt))
        ends = frozenset() if options.ignore_eos and constraint is None else self._ends
        given, cache = prompt, None
        for count in range(1, most + 1):
            if stopped():
                return
            logits, cache = self._forward(given, cache)
            if constraint is not None:
                constraint.mask(logits)
            token = _pick(logits, options, random)
            goes_on = constraint is None or constraint.accept(token)
            text, hit = ("", False) if token in ends else writer.add(token)
            if token in ends or hit or not goes_on:
                yield Part(text + ("" if hit else writer.rest()), count, "stop")
                return
            if text:
                yield Part(text, count)
            given = [token]
        yield Part(writer.rest(), most, "length")

    def _forward(self, tokens: list[int], cache: Any) -> tuple[torch.Tensor, Any]:
        with torch.inference_mode():
            ids = torch.tensor([tokens], device=self.device)
            output = self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        # A copy made outside may be masked in place.
        return output.logits[0, -1].float().cpu().clone(), output.past_key_values


class _Writer:
    """Turns tokens into text, holding back what a later token may change or a stop text may take away."""

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stops = tuple(stop for stop in stops if stop)
        self._tokens: list[int] = []
        self._held = ""
        self._seen = ""

    def add(self, token: int) -> tuple[str, bool]:
        """The text that is certain with this token, and whether a stop text came."""
        self._tokens.append(token)
        whole: str = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
        if whole.endswith(_UNFINISHED):
            return "", False
        self._held += whole[len(self._seen) :]
        self._seen = whole
        at = min((found for stop in self._stops if (found := self._held.find(stop)) >= 0), default=None)
        if at is not None:
            text, self._held = self._held[:at], ""
            return text, True
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        text = self._held[: len(self._held) - keep]
        self._held = self._held[len(self._held) - keep :]
        return text, False

    def rest(self) -> str:
        """What is still held back."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of the text may be the beginning of a stop text."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)


def _pick(logits: torch.Tensor, options: Options, random: torch.Generator | None) -> int:
    """The next token."""
    if options.temperature == 0:
        return int(logits.argmax())
    shares = (logits / max(options.temperature, _COLDEST)).softmax(dim=0)
    if options.top_p < 1:
        ordered, places = shares.sort(descending=True)
        before = ordered.cumsum(dim=0) - ordered
        kept = before < options.top_p
        # The likeliest stays: the least shares are none in 32 bits.
        kept[0] = True
        shares = torch.zeros_like(shares).scatter(0, places, ordered.where(kept, 0.0))
    return int(torch.multinomial(shares, 1, generator=random))


def _end_tokens(tokenizer: Any, model: Any) -> frozenset[int]:
    """The tokens with which an answer ends."""
    said = model.generation_config.eos_token_id
    ends = said if isinstance(said, list) else [said]
    return frozenset(token for token in (*ends, tokenizer.eos_token_id) if token is not None)
