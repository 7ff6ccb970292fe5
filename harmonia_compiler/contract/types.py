"""The value types of the language, as they stand in every document.

A value at run time is plain data: text and labels are `str`, numbers `int | float`, `bool`, lists
`list`, records `dict`, a vector `list[float]`, a passage `{"text", "source", "score"}`, a message
`{"role", "text"}`. Nothing converts to anything else, but a label is text and `[]` fits any list.
"""

import math
from reprlib import Repr
from typing import Any

import msgspec

#: Shows values of any size and depth; what is left out lies beyond the end of a short phrase.
_SHORT = Repr()
_SHORT.maxlist = _SHORT.maxdict = 20
_SHORT.maxstring = _SHORT.maxlong = 100

#: A run-time value: plain data, as the module's docstring says.
Value = Any


class Text(msgspec.Struct, frozen=True, tag="text"):
    """Free text."""


class Number(msgspec.Struct, frozen=True, tag="number"):
    """A finite number."""


class Bool(msgspec.Struct, frozen=True, tag="bool"):
    """True or false."""


class Vector(msgspec.Struct, frozen=True, tag="vector"):
    """An embedding."""


class Message(msgspec.Struct, frozen=True, tag="message"):
    """A turn of a conversation."""


class Passage(msgspec.Struct, frozen=True, tag="passage"):
    """A piece of a document with its source and score."""


class Labels(msgspec.Struct, frozen=True, tag="labels"):
    """One of a few fixed texts, in the order in which they were declared."""

    labels: tuple[str, ...]


class ListOf(msgspec.Struct, frozen=True, tag="list"):
    """A list; the item of the empty list literal is None, and it fits any list."""

    item: "Type | None"


class Field(msgspec.Struct, frozen=True):
    """A named part of a record."""

    name: str
    type: "Type"


class Record(msgspec.Struct, frozen=True, tag="record"):
    """Named parts, in order."""

    fields: tuple[Field, ...]


Type = Text | Number | Bool | Vector | Message | Passage | Labels | ListOf | Record

#: What can be read with `.name` on the types that are records by nature.
BUILT_IN_FIELDS: dict[type, dict[str, Type]] = {
    Passage: {"text": Text(), "source": Text(), "score": Number()},
    Message: {"role": Text(), "text": Text()},
}

#: The types that have a name in the language.
NAMED: dict[str, Type] = {
    "text": Text(),
    "number": Number(),
    "bool": Bool(),
    "vector": Vector(),
    "message": Message(),
    "passage": Passage(),
}


def quoted(text: str) -> str:
    """A text as it is written in a `.rag`: in quotes, and on one line whatever it holds."""
    return msgspec.json.encode(text).decode()


def show(shown: Type) -> str:
    """The type as it is written in a `.rag`."""
    match shown:
        case Labels(labels):
            return " | ".join(map(quoted, labels))
        case ListOf(None):
            return "[]"
        case ListOf(item) if item is not None:
            return f"[{show(item)}]"
        case Record(fields):
            return "(" + ", ".join(f"{field.name}: {show(field.type)}" for field in fields) + ")"
        case _:
            return type(shown).__name__.lower()


def fits(given: Type, wanted: Type) -> bool:
    """Whether a value of the first type may stand where the second is wanted."""
    match given, wanted:
        case Labels(), Text():
            return True
        case Labels(some), Labels(all_labels):
            return set(some) <= set(all_labels)
        case ListOf(None), ListOf():
            return True
        case ListOf(item), ListOf(wanted_item) if item is not None and wanted_item is not None:
            return fits(item, wanted_item)
        case Record(fields), Record(wanted_fields):
            return len(fields) == len(wanted_fields) and all(
                one.name == other.name and fits(one.type, other.type)
                for one, other in zip(fields, wanted_fields, strict=True)
            )
        case _:
            return given == wanted


def join(one: Type, other: Type) -> Type | None:
    """The type of a name that two paths bind differently; None where they do not agree.

    Both fit it. Lists meet by their items, and records by their parts, which are of the same names in the same order.
    """
    match one, other:
        case Labels(first), Labels(second):
            return Labels(first + tuple(label for label in second if label not in first))
        case ListOf(first_item), ListOf(second_item) if first_item is not None and second_item is not None:
            joined = join(first_item, second_item)
            return None if joined is None else ListOf(joined)
        case Record(first_fields), Record(second_fields):
            return _join_fields(first_fields, second_fields)
        case _ if fits(one, other):
            return other
        case _ if fits(other, one):
            return one
        case _:
            return None


def _join_fields(one: tuple[Field, ...], other: tuple[Field, ...]) -> Record | None:
    if [field.name for field in one] != [field.name for field in other]:
        return None
    fields = []
    for first, second in zip(one, other, strict=True):
        joined = join(first.type, second.type)
        if joined is None:
            return None
        fields.append(Field(first.name, joined))
    return Record(tuple(fields))


def field_type(of: Type, name: str) -> Type | None:
    """The type of `.name` on a value of this type; None where it has no such field."""
    if isinstance(of, Record):
        return next((field.type for field in of.fields if field.name == name), None)
    return BUILT_IN_FIELDS.get(type(of), {}).get(name)


def field_names(of: Type) -> tuple[str, ...]:
    """What can be read with a dot on a value of this type."""
    if isinstance(of, Record):
        return tuple(field.name for field in of.fields)
    return tuple(BUILT_IN_FIELDS.get(type(of), {}))


def first_text(of: Type) -> str | None:
    """The name of a record's first text, which stands for the whole where one text is taken."""
    if not isinstance(of, Record):
        return None
    return next((field.name for field in of.fields if isinstance(field.type, Text | Labels)), None)


def mismatch(value: object, wanted: Type) -> str | None:
    """Why a run-time value is not of a type, as a short phrase; None where it is."""
    match wanted:
        case Text():
            return None if isinstance(value, str) else f"{_noun(value)} is not text"
        case Number():
            return None if _is_finite(value) else f"{_noun(value)} is not a finite number"
        case Bool():
            return None if isinstance(value, bool) else f"{_noun(value)} is neither true nor false"
        case Vector():
            good = isinstance(value, list) and all(mismatch(item, Number()) is None for item in value)
            return None if good else f"{_noun(value)} is not a list of numbers"
        case Labels(labels):
            return None if value in labels else f"{_noun(value)} is none of {show(wanted)}"
        case ListOf(item):
            if not isinstance(value, list):
                return f"{_noun(value)} is not a list"
            if item is None:
                return None if not value else "a list that is not empty"
            return next((f"item {i}: {why}" for i, v in enumerate(value) if (why := mismatch(v, item))), None)
        case Record(fields):
            return _record_mismatch(value, {field.name: field.type for field in fields})
        case _:
            return _record_mismatch(value, BUILT_IN_FIELDS[type(wanted)])


def _record_mismatch(value: object, fields: dict[str, Type]) -> str | None:
    if not isinstance(value, dict):
        return f"{_noun(value)} is not a record"
    for name, wanted in fields.items():
        if name not in value:
            return f"`{name}` is missing"
        if why := mismatch(value[name], wanted):
            return f"`{name}`: {why}"
    return None


def _is_finite(value: object) -> bool:
    """Whether it is a number that a float can hold: whole ones may come with any count of digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _noun(value: object) -> str:
    text = _SHORT.repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def json_schema(of: Type) -> dict[str, Any]:
    """The JSON Schema that a model's output is decoded under to give a value of this type."""
    match of:
        case Labels(labels):
            return {"type": "string", "enum": list(labels)}
        case Number():
            return {"type": "number"}
        case Bool():
            return {"type": "boolean"}
        case Vector():
            return {"type": "array", "items": {"type": "number"}}
        case ListOf(item):
            return {"type": "array", "items": {} if item is None else json_schema(item)}
        case Record(fields):
            return _object_schema({field.name: field.type for field in fields})
        case Passage() | Message():
            return _object_schema(BUILT_IN_FIELDS[type(of)])
        case _:
            return {"type": "string"}


def _object_schema(fields: dict[str, Type]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: json_schema(of) for name, of in fields.items()},
        "required": list(fields),
        "additionalProperties": False,
    }
