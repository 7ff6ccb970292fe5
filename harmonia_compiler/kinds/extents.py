"""How large results are expected to be, where a declaration or its type tells."""

import re
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from harmonia_compiler.contract.component import UNSAID, Component, Sizes
from harmonia_compiler.contract.types import (
    BUILT_IN_FIELDS,
    Bool,
    Labels,
    ListOf,
    Message,
    Number,
    Passage,
    Record,
    Text,
    Type,
    Value,
    Vector,
)
from harmonia_compiler.kinds.kind import Extent

#: Characters of English text that make a token, on average, in the vocabularies of current models.
CHARACTERS_PER_TOKEN = 4.0

#: What is expected of a list whose length nobody said.
USUAL_ITEMS = 4.0
_USUAL_TOKENS = 60.0
_USUAL_PASSAGE_TOKENS = 200.0
#: A source such as "guides/setting-up.md#prerequisites".
SOURCE_TOKENS = 8.0

#: No value is taken to be larger, in tokens or items: the product of two such, and a sum of many, are numbers yet.
_MOST = 1e150

#: Where it makes no difference how large a value is.
_ANY = Extent(0.0)


def text_tokens(text: str) -> float:
    """About how many tokens a text has."""
    return len(text) / CHARACTERS_PER_TOKEN


_WORD = re.compile(r"[^\W_]+")
_QUOTES, _COMMA = text_tokens('""'), text_tokens(", ")
#: What is beside the text of a passage and of a message; of roles, one is as frequent as the other.
_BESIDE_TEXT = {"source": SOURCE_TOKENS, "score": 4.0, "role": (text_tokens("user") + text_tokens("assistant")) / 2.0}

#: What a prompt has beside the text of a message and of a passage, and for an item of a list.
_ROLE = _BESIDE_TEXT["role"] + text_tokens(": ")
_SOURCE = SOURCE_TOKENS + text_tokens(" ()")
_NUMBERING, _LINE_END = text_tokens("[1] "), text_tokens("\n")


def declared_extent(component: Component) -> Extent:
    """The extent that a declaration says; guessed from the result's type where it says nothing."""
    return typed_extent(component.result, component.sizes)


def typed_extent(of: Type, sizes: Sizes = UNSAID, *, at_least: bool = False) -> Extent:
    """The extent of a value of a type, of these sizes as far as they are said.

    Of a list the tokens are those of its items; of a record they are those of the JSON that it is in a prompt, as
    `openai.show_value` writes it. Of what nobody said, it is as large as usual, or `at_least` as it must be.
    """
    match of:
        case ListOf(item):
            one = Extent(0.0) if item is None else typed_extent(item, sizes.item or UNSAID, at_least=at_least)
            whole = list_extent(of, one, sizes.size or (0.0 if at_least else USUAL_ITEMS))
            return replace(whole, guessed=True) if sizes.size is None else whole
        case Record(fields):
            parts = {
                each.name: typed_extent(each.type, sizes.parts.get(each.name, UNSAID), at_least=at_least)
                for each in fields
            }
            whole = record_extent(parts, part_types(of))
            # Documents from before `inner` say it of the whole.
            return whole if sizes.size is None else replace(resized(whole, sizes.size), guessed=False)
        case _ if sizes.size is not None:
            return Extent(sizes.size)
        case _:
            return Extent(_fewest_tokens_of(of) if at_least else _tokens_of(of), guessed=not is_fixed(of))


def list_extent(of: Type, one: Extent, items: float) -> Extent:
    """A list of so many items that are as large as one."""
    return Extent(bounded(items * one.tokens), bounded(items), one.guessed, one if has_insides(of) else None)


def bounded(amount: float) -> float:
    """So many tokens or items; of lists in lists in lists there may be more than a number holds."""
    return min(amount, _MOST)


def record_extent(parts: Mapping[str, Extent], types: Mapping[str, Type]) -> Extent:
    """A record of parts of these types, in JSON."""
    tokens = sum(part.tokens + _key(name) + _marks(types[name], part) for name, part in parts.items())
    return Extent(tokens, 1.0, any(part.guessed for part in parts.values()), parts=parts)


def item_of(whole: Extent, of: Type) -> Extent:
    """One item of a list; as usual inside, where nobody knows."""
    if whole.item is not None:
        return whole.item
    tokens = whole.tokens / whole.items if whole.items else 0.0
    if isinstance(of, ListOf) and of.item is not None and has_insides(of):
        return replace(resized(typed_extent(of.item), tokens), guessed=whole.guessed)
    return Extent(tokens, 1.0, whole.guessed)


def part_of(whole: Extent, of: Type, name: str) -> Extent:
    """A part of a record, or its usual share where nobody knows.

    What is said of a passage or a message is said of its text.
    """
    if whole.parts is not None:
        return whole.parts[name]
    if isinstance(of, Passage | Message):
        return Extent(whole.tokens, guessed=whole.guessed) if name == "text" else Extent(_BESIDE_TEXT[name])
    parts = resized(typed_extent(of), whole.tokens).parts
    assert parts is not None
    return replace(parts[name], guessed=True)


def resized(extent: Extent, tokens: float) -> Extent:
    """The same number of items, of so many tokens in all; what is inside keeps its share."""
    if tokens == extent.tokens:
        return extent
    share = tokens / extent.tokens if extent.tokens else 0.0
    item = None if extent.item is None else resized(extent.item, share * extent.item.tokens)
    parts = extent.parts and {name: resized(part, share * part.tokens) for name, part in extent.parts.items()}
    return Extent(tokens, extent.items, extent.guessed, item, parts)


def limited(extent: Extent, of: Type, most: float) -> Extent:
    """The same items and parts, in texts so much shorter that all together has no more than so many tokens.

    What is no text, and what JSON writes around values, stays as long as it is: where that alone is more, texts are
    empty, and the whole has more.
    """
    if extent.tokens <= most:
        return extent
    bare = _with_texts(extent, of, 0.0)
    in_texts = extent.tokens - bare.tokens
    return _with_texts(extent, of, max(0.0, most - bare.tokens) / in_texts) if in_texts else extent


def _with_texts(extent: Extent, of: Type, share: float) -> Extent:
    """With texts that are so large a share of what they are."""
    match of:
        case Text() | Passage() | Message():
            return replace(extent, tokens=share * extent.tokens)
        case ListOf(item) if item is not None:
            one = _with_texts(item_of(extent, of), item, share)
            return replace(list_extent(of, one, extent.items), guessed=extent.guessed)
        case Record():
            types = part_types(of)
            parts = {name: _with_texts(part_of(extent, of, name), each, share) for name, each in types.items()}
            return replace(record_extent(parts, types), guessed=extent.guessed)
        case _:
            return extent


def value_tokens(value: Value, of: Type, *, in_json: bool = False) -> float:
    """How many tokens a value is, as `typed_extent` counts them: of a number, a bool or a label what is usual."""
    match of:
        case Text():
            tokens = text_tokens(value)
        case Passage() | Message():
            tokens = text_tokens(value["text"])
        case _ if is_fixed(of):
            tokens = typed_extent(of).tokens
        case ListOf(item) if item is not None and value:
            if is_fixed(item):
                each = value_tokens(value[0], item, in_json=in_json)
                return len(value) * (each + _COMMA if in_json else each)
            tokens = sum([value_tokens(one, item, in_json=in_json) for one in value])
            return tokens + len(value) * _COMMA if in_json else tokens
        case Record(fields):
            return sum([_key(one.name) + value_tokens(value[one.name], one.type, in_json=True) for one in fields])
        case _:
            return 0.0
    return tokens + _marks(of, _ANY) if in_json else tokens


def shown_tokens(of: Type, extent: Extent) -> float:
    """How many tokens a value of a type is in a prompt, as `openai.show_value` writes it there."""
    tokens = _lines_of(of, extent)
    # Behind the last of a list's lines none ends.
    return tokens - min(1.0, extent.items) * _LINE_END if isinstance(of, ListOf) else tokens


def _lines_of(of: Type, extent: Extent) -> float:
    """So many, with the end of each line of a list; of a list in a list its own items are the lines."""
    match of:
        case Message():
            return extent.tokens + _ROLE
        case Passage():
            return extent.tokens + _SOURCE
        case Labels(labels):
            return _mean_tokens(labels)
        case Bool():
            return _mean_tokens(("true", "false"))
        case ListOf(item) if item is not None:
            each = _lines_of(item, item_of(extent, of))
            if not isinstance(item, ListOf):
                each += _LINE_END
            if isinstance(item, Passage):
                each += _NUMBERING
            return bounded(extent.items * each)
        case _:
            return extent.tokens


def _mean_tokens(words: Sequence[str]) -> float:
    """One is as frequent as the other. An answer has one token more, by which it ends."""
    return sum(map(text_tokens, words)) / len(words)


def has_insides(of: Type) -> bool:
    """Whether it is a list of which each item has items or parts."""
    return isinstance(of, ListOf) and isinstance(of.item, ListOf | Record)


def item_type(of: Type) -> Type:
    """The type of a list's items."""
    return of.item if isinstance(of, ListOf) and of.item is not None else of


def part_types(of: Type) -> dict[str, Type]:
    """The types of the parts of a record."""
    return {each.name: each.type for each in of.fields} if isinstance(of, Record) else {}


def is_fixed(of: Type) -> bool:
    """Whether values of a type are about as large as each other, so that nobody need say how large."""
    if isinstance(of, Record):
        return all(is_fixed(field.type) for field in of.fields)
    return isinstance(of, Labels | Bool | Number | Vector)


def _tokens_of(result: Type) -> float:
    """A guess from the type alone."""
    match result:
        case Labels(labels):
            return max(text_tokens(label) for label in labels) + 1.0
        case Bool():
            return 2.0
        case Number():
            return 4.0
        case Vector():
            return 0.0
        case Passage() | Message():
            return _USUAL_PASSAGE_TOKENS
        case _:
            return _USUAL_TOKENS


def _fewest_tokens_of(result: Type) -> float:
    """No vocabulary has a token of several words, and the longest of them may be one token; a text may be empty."""
    match result:
        case Labels(labels):
            return float(min(len(_WORD.findall(label)) for label in labels))
        case Bool() | Number():
            return 1.0
        case _:
            return 0.0


def _key(name: str) -> float:
    """What JSON writes around a value by this name; the braces are as long as the comma that the last one lacks."""
    return text_tokens(f'"{name}": , ')


def _marks(of: Type, extent: Extent) -> float:
    """What a value within JSON is longer than outside of it."""
    match of:
        case Text() | Labels():
            return _QUOTES
        case Passage() | Message():
            return _BESIDE_IN_JSON[type(of)]
        case ListOf(item) if item is not None:
            return extent.items * (_COMMA + _marks(item, item_of(extent, of)))
        case _:
            return 0.0


#: What stands beside the text of a passage and of a message in JSON.
_BESIDE_IN_JSON = {
    of: sum(_key(name) + _marks(each, _ANY) + _BESIDE_TEXT.get(name, 0.0) for name, each in fields.items())
    for of, fields in BUILT_IN_FIELDS.items()
}
