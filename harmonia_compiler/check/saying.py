"""How the annotations of a Python function say how large a value is expected to be: what a finding offers to write."""

from harmonia_compiler.contract.component import UNSAID, Sizes
from harmonia_compiler.contract.types import ListOf, Message, Passage, Record, Text, Type
from harmonia_compiler.kinds.extents import is_fixed, typed_extent

#: How many tokens an example says of what is a part of something, and of the longer types.
_PART = 15
_LONGER: dict[type[Type], tuple[str, int]] = {Passage: ("Passage", 150), Message: ("Message", 40)}


def in_annotations(of: Type, sizes: Sizes = UNSAID) -> str:
    """What to write to say what is not said of values of a type: of a record it is said where a field stands."""
    within, inner, is_counted = of, sizes, True
    while isinstance(within, ListOf) and within.item is not None:
        is_counted = is_counted and inner.size is not None
        within, inner = within.item, inner.item or UNSAID
    if not isinstance(within, Record) or is_fixed(within):
        return f"say it in the annotation, such as `{_annotation(of, 60)}`"
    guessed = (one for one in within.fields if typed_extent(one.type, inner.parts.get(one.name, UNSAID)).guessed)
    said = [] if is_counted else [f"of the list in the annotation, such as `{_annotation(of, _PART)}`"]
    if field := next(guessed, None):
        said.append(f"where the field stands in its class, such as `{field.name}: {_annotation(field.type, _PART)}`")
    return f"say it {', and '.join(said)}"


def _annotation(of: Type, tokens: int) -> str:
    match of:
        case Text():
            return f"Annotated[str, tokens({tokens})]"
        case Passage() | Message():
            name, usual = _LONGER[type(of)]
            return f"Annotated[{name}, tokens({usual})]"
        case ListOf(item):
            return f"Annotated[list[{'bool' if item is None else _annotation(item, _PART)}], items(4)]"
        case Record():
            return "Entity"
        case _:
            return "bool"
