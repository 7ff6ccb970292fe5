"""What a model may write next, under a choice of texts, a regular expression or a JSON Schema.

A choice needs nothing: it walks the tokens of its texts. The other two are left to xgrammar, the
library that vLLM uses for the same, and are refused where it is not installed.
"""

import json
from collections.abc import Sequence
from typing import Any, Protocol

import torch

from harmonia_compiler.runtime.worker.server import Refusal

try:
    import xgrammar
except ImportError:  # it comes with vLLM, and has no build for some hosts that vLLM has none for either
    xgrammar = None  # type: ignore[assignment]


class Constraint(Protocol):
    """Followed through one generation."""

    def mask(self, logits: torch.Tensor) -> None:
        """Put what may not come next at minus infinity, in place; `logits` has one dimension."""
        ...

    def accept(self, token: int) -> bool:
        """Take the token that was chosen; False where nothing may follow it."""
        ...


class Choice:
    """One of a few texts, each given by its tokens; ends with the token `end`."""

    def __init__(self, options: Sequence[Sequence[int]], end: int) -> None:
        self._options = [[*option, end] for option in options]
        self._taken = 0

    def mask(self, logits: torch.Tensor) -> None:
        """Leave the tokens with which an option that is still possible goes on."""
        allowed = sorted({option[self._taken] for option in self._options})
        kept = logits[allowed].clone()
        logits.fill_(float("-inf"))
        logits[allowed] = kept

    def accept(self, token: int) -> bool:
        """Drop the options that go on otherwise; the one that is left need not be ended by the model."""
        self._options = [option for option in self._options if option[self._taken] == token]
        self._taken += 1
        return len(self._options) > 1 or len(self._options[0]) > self._taken + 1


class _Grammar:
    """A matcher of xgrammar."""

    def __init__(self, compiled: Any, size: int) -> None:
        self._matcher = xgrammar.GrammarMatcher(compiled)
        self._bits = xgrammar.allocate_token_bitmask(1, size)

    def mask(self, logits: torch.Tensor) -> None:
        self._matcher.fill_next_token_bitmask(self._bits)
        xgrammar.apply_token_bitmask_inplace(logits.unsqueeze(0), self._bits)

    def accept(self, token: int) -> bool:
        return bool(self._matcher.accept_token(token)) and not self._matcher.is_terminated()


class Constraints:
    """Makes constraints for one model; what was compiled is kept."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._compiler: Any = None

    def choice(self, texts: Sequence[str]) -> Constraint:
        """One of these texts."""
        encoded = [self._tokenizer.encode(text, add_special_tokens=False) for text in texts]
        return Choice(encoded, self._tokenizer.eos_token_id)

    def regex(self, pattern: str) -> Constraint:
        """A text that the pattern matches; raises Refusal where it is no pattern."""
        return self._compiled("compile_regex", pattern)

    def schema(self, schema: dict[str, Any]) -> Constraint:
        """A JSON document of this schema, written without spaces; raises Refusal where it is no schema."""
        return self._compiled("compile_json_schema", json.dumps(schema), any_whitespace=False)

    def _compiled(self, method: str, *arguments: str, **settings: bool) -> Constraint:
        if self._compiler is None:
            if xgrammar is None:
                raise Refusal(501, "not_supported", "records, lists and numbers need the package `xgrammar` here")
            info = xgrammar.TokenizerInfo.from_huggingface(self._tokenizer, vocab_size=self._vocabulary)
            self._compiler = xgrammar.GrammarCompiler(info)
        try:
            compiled = getattr(self._compiler, method)(*arguments, **settings)
        except (RuntimeError, ValueError) as problem:
            raise Refusal(400, "invalid_request_error", f"the constraint cannot be followed: {problem}") from problem
        return _Grammar(compiled, self._vocabulary)
