"""What an emulated call answers and how much it asks: for the simulator, from values that are passed on as they are.

A text of n tokens is n times `CHARACTERS_PER_TOKEN` characters long, so that whoever reads it, the
estimate of a prompt's length or an emulated engine behind HTTP, finds as many tokens as were meant.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, cycle
from typing import Any, Protocol

import msgspec

from harmonia_compiler.contract.component import Component, Insert
from harmonia_compiler.contract.types import ListOf, Passage, Text, Type, Value
from harmonia_compiler.emulate.outcomes import (
    ListOutcome,
    Outcome,
    PassageOutcome,
    TextOutcome,
    draw,
    drawn_items,
    named,
    number_of,
    sized,
)
from harmonia_compiler.kinds.extents import CHARACTERS_PER_TOKEN, SOURCE_TOKENS, text_tokens, value_tokens
from harmonia_compiler.kinds.kind import Extent, Kind, Work
from harmonia_compiler.kinds.paragraphs import PROMPT_ORDER, in_order
from harmonia_compiler.policy.events import Path, show_place, site_of
from harmonia_compiler.workload.draws import Draws, Uniform, length

_FILLER = "lorem ipsum dolor sit amet consetetur sadipscing elitr sed diam nonumy " * 64
#: The spread of the length of free answers: coefficient of variation. Recorded conversations are wider,
#: but mix many tasks; answers to one prompt are more alike.
LENGTH_CV = 0.5
#: How many tokens each name of a prompt's beginning covers; engines' blocks are multiples of it.
PREFIX_BLOCK = 16
#: Of a component, work is remembered for so many extents of what calls are given and give, in so many settings.
MOST_EXTENTS, MOST_SETTINGS = 4096, 16
#: What a list of is one piece of a prompt; a bool is an int.
_NUMBERS = (int, float)
#: What a call asks of hardware, part by part.
_WORK = tuple(Work.__annotations__)


class Size(msgspec.Struct, frozen=True):
    """What one call asks, and what its prompt begins with: `prefix` names each block of the prompt's tokens."""

    work: Work = Work()
    prefix: tuple[int, ...] = ()


@dataclass(slots=True)
class _Component:
    """What is the same in all calls of a component with the same settings: `component` has these, `declared` its own.

    `types` are those of what it is given, and `ranks` says that it gives some of the passages among that, as they are.
    `works` is the work of calls by the extents of what they are given and give, which repeat.
    """

    declared: Component
    component: Component
    kind: Kind
    outcome: Outcome
    types: Mapping[str, Type]
    ranks: bool
    works: dict[tuple[Any, ...], Work] = field(default_factory=dict)

    def work(self, inputs: Mapping[str, Value], value: Value) -> Work:
        """What a call asks of hardware that is given these and gives that."""
        given = {name: _extent_of(each, self.types[name]) for name, each in inputs.items()}
        is_text = isinstance(self.component.result, Text)
        key = (*given.items(), len(value) if is_text else None)
        found = self.works.get(key)
        if found is None:
            if len(self.works) >= MOST_EXTENTS:
                self.works.clear()
            extents = {name: Extent(*each) for name, each in given.items()}
            result = Extent(text_tokens(value)) if is_text else self.kind.result_extent(self.component, extents)
            found = self.works[key] = self.kind.work(self.component, extents, result)
        return found

    def passages(self, inputs: Mapping[str, Value]) -> list[Value]:
        """Those that it is given, of all ports together."""
        given = [inputs.get(name) for name in _ports_of_passages(self.component)]
        return [one for some in given if isinstance(some, list) for one in some if _is_passage(one)]


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

    @property
    def site(self) -> int:
        """Which of its component's calls it is."""
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
    tokens long, at least one and no more than their component allows. `cut` are the requests whose answer would have
    been longer, each with the component that gave it.
    """

    outcomes: Mapping[str, Outcome]
    kinds: Mapping[str, Kind]
    draws: Draws
    answers: frozenset[str] = frozenset()
    lengths: dict[str, int] = field(default_factory=dict)
    cut: dict[str, str] = field(default_factory=dict)
    _components: dict[str, list[_Component]] = field(init=False, repr=False, compare=False, default_factory=dict)

    @property
    def cuts(self) -> dict[str, int]:
        """How many answers were cut, by component."""
        return dict(Counter(self.cut.values()))

    def answer(self, ask: Ask) -> tuple[Value, Size]:
        """What the call answers, and what it asks of hardware."""
        known = self._known(ask.component, ask.settings, ask.site)
        if not ask.many:
            inputs = ask.items[0]
            value = self._value(known, inputs, ask.request, show_place(ask.path, ask.site))
            prefix = prefix_of(ask.component, ask.settings, inputs, PREFIX_BLOCK) if known.kind.has_prompt else ()
            return value, Size(known.work(inputs, value), prefix)
        values, works = [], []
        for number, inputs in enumerate(ask.items):
            value = self._value(known, inputs, ask.request, show_place((*ask.path, ("item", number + 1)), ask.site))
            values.append(value)
            works.append(known.work(inputs, value))
        return values, Size(_together(works))

    def value(
        self,
        component: Component,
        inputs: Mapping[str, Value],
        request: int | str,
        place: str,
        settings: Mapping[str, Any] | None = None,
    ) -> Value:
        """What a call answers, with the component's own settings where none are given.

        Of inputs only passages count, which it may hand on.
        """
        known = self._known(component, component.settings if settings is None else settings, site_of(place))
        return self._value(known, inputs, request, place)

    def _known(self, declared: Component, settings: Mapping[str, Any], site: int) -> _Component:
        name = declared.name
        if site and named(name, site) in self.outcomes:
            name = named(name, site)
        known = self._components.setdefault(name, [])
        for one in known:
            of = one.component.settings
            # Mostly they are the very same: to compare them one by one takes longer than to see that.
            if one.declared is declared and (of is settings or of == settings):
                return one
        component = msgspec.structs.replace(declared, settings=settings)
        kind = self.kinds[component.kind]
        # A call may be allowed less than its component, or more.
        outcome = sized(self.outcomes[name], component, kind)
        if len(known) >= MOST_SETTINGS:
            known.clear()
        known.append(_Component(declared, component, kind, outcome, kind.given(component), _ranks(component, kind)))
        return known[-1]

    def _value(self, known: _Component, inputs: Mapping[str, Value], request: int | str, place: str) -> Value:
        name, outcome = known.component.name, known.outcome
        uniform = self.draws.of(request, name, place)
        if isinstance(outcome, TextOutcome):
            return text_of(f"{name}.{request}.{place}", self._text_tokens(name, outcome, request, uniform))
        if isinstance(outcome, ListOutcome) and isinstance(outcome.item, PassageOutcome):
            given = sorted(known.passages(inputs), key=lambda passage: uniform(str(passage["source"])))
            if known.ranks:
                return given[: int(outcome.items)]
            made = [
                {
                    "text": text_of(f"{name}.{request}.{place}[{number}]", outcome.item.tokens),
                    "source": text_of(f"rehearsal/{request}.{number}", SOURCE_TOKENS),
                    "score": number_of(outcome.item.score, uniform(f"[{number}]")),
                }
                for number in range(drawn_items(outcome, uniform))
            ]
            return _made_of(given, made) if given else made
        return draw(outcome, uniform, lambda at, tokens: text_of(f"{name}.{request}.{place}{at}", tokens))

    def _text_tokens(self, name: str, outcome: TextOutcome, request: int | str, uniform: Uniform) -> float:
        most = math.inf if outcome.most is None else outcome.most
        recorded = self.lengths.get(str(request)) if name in self.answers else None
        if recorded is None:
            return length(uniform("length"), outcome.tokens, LENGTH_CV, most)
        if recorded > most:
            self.cut[str(request)] = name
        # An answer of no tokens cannot be given: a model's last word is one.
        return max(1, min(recorded, most))


def said_of_cut(cut: Mapping[str, int], recorded: int) -> tuple[str, ...]:
    """What a report says where recorded answers were cut: so many of each component, of all that are `recorded`."""
    if not cut:
        return ()
    names = ", ".join(f"`{name}`" for name in sorted(cut))
    longer = f"{sum(cut.values()):,} are longer than `max_tokens` of {names} allows, and were cut to that"
    return (f"Of {recorded:,} answers of the trace, {longer}.",)


def extent_of(value: Value, of: Type) -> Extent:
    """How large a value of a type is."""
    return Extent(*_extent_of(value, of))


def _extent_of(value: Value, of: Type) -> tuple[Any, ...]:
    """Its fields: its tokens and its items and, of lists in a list, one of those in the mean."""
    tokens = value_tokens(value, of)
    match of:
        case ListOf(ListOf() as item) if value:
            items, all_of_them = float(len(value)), extent_of([*chain.from_iterable(value)], item)
            one = msgspec.structs.replace(all_of_them, tokens=tokens / items, items=all_of_them.items / items)
            return tokens, items, False, one
        case ListOf():
            return tokens, float(len(value))
        case _:
            return tokens, 1.0


def prefix_of(
    component: Component, settings: Mapping[str, Any], inputs: Mapping[str, Value], block: int
) -> tuple[int, ...]:
    """A name for each whole block of the prompt's tokens: equal where all up to its end is equal.

    Names hold within one process. Of the values the text counts, and nothing of how a kind writes them down.
    """
    asked, order = component.prompt, settings.get(PROMPT_ORDER)
    if asked is not None and order is not None:
        asked = in_order(asked, order)
    pieces: list[str] = []
    for prompt in (component.system, asked):
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

    The same text in other pieces has other names. Within a piece they follow each other as its blocks do.
    """
    step, offset = round(block * CHARACTERS_PER_TOKEN), 0
    names: list[int] = []
    for piece in pieces:
        before = hash((before, piece))
        length = len(piece)
        names += range(before + step - offset % step, before + length + 1, step)
        offset += length
    return tuple(names)


def _pieces(value: Value, pieces: list[str]) -> None:
    if isinstance(value, str):
        pieces.append(value)
    elif isinstance(value, list) and not (value and isinstance(value[0], _NUMBERS)):
        for item in value:
            _pieces(item, pieces)
    elif isinstance(value, dict):
        text = value.get("text")
        if isinstance(text, str):
            pieces.append(text)
        else:
            for part in value.values():
                _pieces(part, pieces)
    else:
        pieces.append(str(value))


def _together(works: Sequence[Work]) -> Work:
    return Work(**{name: math.fsum(getattr(work, name) for work in works) for name in _WORK})


def _is_passage(value: Value) -> bool:
    """Whether it is one: whoever calls an emulated engine may say anything."""
    return isinstance(value, dict) and "score" in value and "source" in value and isinstance(value.get("text"), str)


def _made_of(given: Sequence[Value], made: Sequence[Value]) -> list[Value]:
    """Passages as large as those that are made, each of a given one: with its score, from the same source.

    A given one that is as long stays as it is. Tests of scores are met where the given ones come from
    (`flow/origins.py`).
    """
    found: list[Value] = []
    for number, (one, like) in enumerate(zip(made, cycle(given), strict=False)):
        if number >= len(given):
            found.append({**like, "text": one["text"], "source": f"{like['source']}#{number}"})
        else:
            found.append(like if len(like["text"]) == len(one["text"]) else {**like, "text": one["text"]})
    return found


def _ports_of_passages(component: Component) -> list[str]:
    return [port.name for port in component.ports if port.type == ListOf(Passage())]


def _ranks(component: Component, kind: Kind) -> bool:
    """Whether a component hands on passages as they are: how large they are depends on those that it is given."""
    given = {name: Extent(1.0) for name in _ports_of_passages(component)}
    return bool(given) and kind.result_extent(component, given) != kind.result_extent(component)
