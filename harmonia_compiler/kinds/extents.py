"""How large results are expected to be, where a declaration or its type tells."""

from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.types import Bool, Labels, ListOf, Message, Number, Passage, Record, Type, Vector
from harmonia_compiler.kinds.kind import Extent

#: Characters of English text that make a token, on average, in the vocabularies of current models.
CHARACTERS_PER_TOKEN = 4.0

#: What is expected of a list whose length nobody said.
USUAL_ITEMS = 4.0
_USUAL_TOKENS = 60.0
_USUAL_PASSAGE_TOKENS = 200.0


def text_tokens(text: str) -> float:
    """About how many tokens a text has."""
    return len(text) / CHARACTERS_PER_TOKEN


def declared_extent(component: Component) -> Extent:
    """The extent that a declaration says; guessed from the result's type where it says nothing."""
    return typed_extent(component.result, component.size, component.item_size)


def typed_extent(of: Type, size: float | None = None, item_size: float | None = None) -> Extent:
    """The extent of a value of a type: `size` tokens or items of `item_size` tokens, as far as they are said."""
    match of:
        case ListOf(item):
            items = size or USUAL_ITEMS
            known = size is not None and (item_size is not None or item is None or is_fixed(item))
            each = item_size or (_tokens_of(item) if item is not None else 0.0)
            return Extent(items * each, items, guessed=not known)
        case _ if size is not None:
            return Extent(size)
        case _:
            return Extent(_tokens_of(of), guessed=not is_fixed(of))


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
        case Record(fields):
            return sum(_tokens_of(field.type) + text_tokens(field.name) + 4.0 for field in fields)
        case ListOf(item):
            return USUAL_ITEMS * (_tokens_of(item) if item is not None else 0.0)
        case _:
            return _USUAL_TOKENS
