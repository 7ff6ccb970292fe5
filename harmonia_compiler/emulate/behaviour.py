"""What an emulated call answers and how much it asks: for the simulator, from values that are passed on as they are.

A text of n tokens is n times `CHARACTERS_PER_TOKEN` characters long, so that whoever reads it, the
estimate of a prompt's length or an emulated engine behind HTTP, finds as many tokens as were meant.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Protocol

import msgspec

from harmonia_compiler.contract.component import Component, Insert
from harmonia_compiler.contract.types import ListOf, Passage, Text, Value
from harmonia_compiler.emulate.outcomes import ListOutcome, Outcome, TextOutcome, draw, most_tokens
from harmonia_compiler.kinds.extents import CHARACTERS_PER_TOKEN
from harmonia_compiler.kinds.kind import Extent, Kind, Work
from harmonia_compiler.policy.events import Path, show_path
from harmonia_compiler.workload.draws import Draws, Uniform, length

#: What stands around a passage in a prompt, its source included, is taken to be this long (`kinds/llm.py`).
_SOURCE_LENGTH = 32
_FILLER = "lorem ipsum dolor sit amet consetetur sadipscing elitr sed diam nonumy " * 64
#: The spread of the length of free answers: coefficient of variation. Recorded conversations are wider,
#: but mix many tasks; answers to one prompt are more alike.
LENGTH_CV = 0.5
#: How many tokens each name of a prompt's beginning covers; engines' blocks are multiples of it.
PREFIX_BLOCK = 16


@dataclass(slots=True)
class Size:
    """What one call asks, and what its prompt begins with: `prefix` names each block of the prompt's tokens."""

    work: Work = field(default_factory=Work)
    prefix: tuple[int, ...] = ()


class Ask(Protocol):
    """What is known of a call. `many` says that it is for lists; then it has the inputs of each item."""

    @property
    def component(self) -> Component:
        """Of which component."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """With which settings."""
        ...

    @property
    def items(self) -> Sequence[Mapping[str, Value]]:
        """With which inputs."""
        ...

    @property
    def many(self) -> bool:
        """Whether it is for lists."""
        ...

    @property
    def request(self) -> int:
        """For which request."""
        ...

    @property
    def path(self) -> Path:
        """Where it stands in loops and lists."""
        ...


def text_of(name: str, tokens: float) -> str:
    """A text that no other name gives, of so many tokens; at least one."""
    characters = max(1, round(tokens * CHARACTERS_PER_TOKEN))
    head = f"{name} "
    filled = characters - len(head)
    if filled <= 0:
        return head[:characters]
    return head + (_FILLER * -(-filled // len(_FILLER)) if filled > len(_FILLER) else _FILLER)[:filled]


@dataclass(slots=True)
class Behaviour:
    """Values and sizes of calls, drawn from what is expected of each component.

    `answers` are the components that give requests their answers; those of the requests in `lengths` are so many
    tokens long.
    """

    outcomes: Mapping[str, Outcome]
    kinds: Mapping[str, Kind]
    draws: Draws
    answers: frozenset[str] = frozenset()
    lengths: dict[str, int] = field(default_factory=dict)

    def answer(self, ask: Ask) -> tuple[Value, Size]:
        """What the call answers, and what it asks of hardware."""
        kind = self.kinds[ask.component.kind]
        component = msgspec.structs.replace(ask.component, settings=ask.settings)
        values, works = [], []
        for number, inputs in enumerate(ask.items):
            path = (*ask.path, ("item", number + 1)) if ask.many else ask.path
            value = self.value(component, inputs, ask.request, show_path(path))
            values.append(value)
            works.append(self._work(component, kind, inputs, value))
        if ask.many:
            return values, Size(_together(works))
        prefix = prefix_of(component, ask.items[0], PREFIX_BLOCK) if kind.has_prompt else ()
        return values[0], Size(works[0], prefix)

    def value(self, component: Component, inputs: Mapping[str, Value], request: int | str, place: str) -> Value:
        """What a call answers. Of inputs only passages count, of which a reranker gives some."""
        name = component.name
        uniform = self.draws.of(request, name, place)
        outcome = self.outcomes[name]
        gives_passages = component.result == ListOf(Passage())
        if gives_passages and isinstance(outcome, ListOutcome):
            items = self.kinds[component.kind].result_extent(component).items
            given = [value for value in inputs.values() if _is_passages(value)]
            if given:
                return _ranked([passage for some in given for passage in some], int(items), uniform)
            outcome = ListOutcome(items, outcome.item)

        def text(at: str, tokens: float) -> str:
            if not at and isinstance(outcome, TextOutcome):
                said = self.lengths.get(str(request)) if name in self.answers else None
                # A call may be allowed less than its component, and nobody is said more than is allowed.
                most = most_tokens(component, self.kinds[component.kind]) or outcome.most or math.inf
                tokens = min(said, most) if said else length(uniform("length"), tokens, LENGTH_CV, most)
            return text_of(f"{name}.{request}.{place}{at}", tokens)

        value = draw(outcome, uniform, text)
        if gives_passages:
            for number, passage in enumerate(value):
                passage["source"] = text_of(f"rehearsal/{request}.{number}", _SOURCE_LENGTH / CHARACTERS_PER_TOKEN)
        return value

    def _work(self, component: Component, kind: Kind, inputs: Mapping[str, Value], value: Value) -> Work:
        extents = {name: extent_of(given) for name, given in inputs.items()}
        result = extent_of(value) if isinstance(component.result, Text) else kind.result_extent(component, extents)
        return kind.work(component, extents, result)


def extent_of(value: Value) -> Extent:
    """How large a value is."""
    return Extent(_tokens_of(value), float(len(value))) if isinstance(value, list) else Extent(_tokens_of(value))


def _tokens_of(value: Value) -> float:
    match value:
        case str():
            return len(value) / CHARACTERS_PER_TOKEN
        case list():
            # The numbers of a vector are no tokens.
            return math.fsum(_tokens_of(item) for item in value if not isinstance(item, int | float))
        case {"text": str(text)}:
            return len(text) / CHARACTERS_PER_TOKEN
        case dict():
            return math.fsum(map(_tokens_of, value.values()))
        case _:
            return 1.0


def prefix_of(component: Component, inputs: Mapping[str, Value], block: int) -> tuple[int, ...]:
    """A name for each whole block of the prompt's tokens: equal where all up to its end is equal.

    Names hold within one process. Of the values the text counts, and nothing of how a kind writes them down.
    """
    pieces: list[str] = []
    for prompt in (component.system, component.prompt):
        for part in prompt or ():
            if isinstance(part, Insert):
                _pieces(inputs[part.port], pieces)
            else:
                pieces.append(part)
    if component.prompt is None:
        for value in inputs.values():
            _pieces(value, pieces)
    return block_names(pieces, block, hash(component.engine))


def block_names(pieces: Iterable[str], block: int, before: int = 0) -> tuple[int, ...]:
    """A name for each whole block of so many tokens of a text in pieces, after what `before` stands for.

    The same text in other pieces has other names.
    """
    step, offset = round(block * CHARACTERS_PER_TOKEN), 0
    names: list[int] = []
    for piece in pieces:
        whole = hash((before, piece))
        end = offset + len(piece)
        names += map(hash, zip(repeat(whole), range(step - offset % step, end - offset + 1, step), strict=False))
        before, offset = whole, end
    return tuple(names)


def _pieces(value: Value, pieces: list[str]) -> None:
    match value:
        case str():
            pieces.append(value)
        case list():
            for item in value:
                _pieces(item, pieces)
        case {"text": str(text)}:
            pieces.append(text)
        case dict():
            for part in value.values():
                _pieces(part, pieces)
        case _:
            pieces.append(str(value))


def _together(works: Sequence[Work]) -> Work:
    return Work(**{name: math.fsum(getattr(work, name) for work in works) for name in Work.__dataclass_fields__})


def _is_passages(value: Value) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "source" in value[0]


def _ranked(passages: list[Value], count: int, uniform: Uniform) -> list[Value]:
    """The first so many in an order that nobody can foresee."""
    return sorted(passages, key=lambda passage: uniform(str(passage["source"])))[:count]
