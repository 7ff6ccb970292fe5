"""Values as a user's function has them: records as objects of its own classes, and whole numbers as `int`.

What the annotations say decides what a function is given; what it returns is plain by what it is.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, get_args, get_origin, get_type_hints, is_typeddict

import msgspec

Maker = Callable[[Any], Any]

_BYTES = (bytes, bytearray, memoryview)


def makers(function: Callable[..., Any]) -> Mapping[str, Maker]:
    """What makes the arguments of a function, for those parameters whose annotation asks for more than JSON gives."""
    hints = _hints(function)
    return {name: make for name, hint in hints.items() if (make := _maker(hint, ())) is not None}


def plain(value: Any) -> Any:
    """A value as JSON holds it, in which every record, a named tuple too, is an object.

    Raises TypeError or ValueError for what JSON cannot hold, also where an encoder would write something else for it:
    text in an alphabet of its own for bytes, nothing for a number that is none.
    """
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"the number {value}")
        return value
    if isinstance(value, _BYTES):
        raise TypeError(f"{value!r:.60}, which is {type(value).__name__} and not text: decode it")
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif not isinstance(value, list | tuple | dict):
        # Sets, enumerations, dates and the like have a form in JSON; what is in them may have none.
        return plain(msgspec.to_builtins(value, builtin_types=_BYTES))
    if isinstance(value, dict):
        return {plain(name): plain(part) for name, part in value.items()}
    return [plain(part) for part in value]


def _hints(annotated: Any) -> dict[str, Any]:
    try:
        return get_type_hints(annotated)
    except Exception:  # noqa: BLE001 - annotations may be any code; what they do not say is given as it comes
        return {}


def _maker(hint: Any, around: tuple[Any, ...]) -> Maker | None:
    """What makes a value of this annotation; `around` are the records that it is a part of."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _maker(parts[0], around)
    if hint is int:
        return _whole
    if origin is list and parts:
        item = _maker(parts[0], around)
        return item and partial(_list, item)
    is_class = dataclasses.is_dataclass(hint) or hasattr(hint, "_fields")
    if origin is not None or hint in around or not (is_class or is_typeddict(hint)):
        return None
    fields = _hints(hint)
    inner = {name: make for name, of in fields.items() if (make := _maker(of, (*around, hint))) is not None}
    if is_class:
        return partial(_object, hint, frozenset(fields), inner)
    return partial(_object, dict, frozenset(fields), inner) if inner else None


def _whole(value: Any) -> Any:
    """The number as an `int`, as which JSON may have written it with a point. Raises TypeError for a fraction."""
    if not isinstance(value, float):
        return value
    if not value.is_integer():
        raise TypeError(f"{value} is not a whole number")
    return int(value)


def _list(item: Maker, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r:.60} is not a list")
    return [item(each) for each in value]


def _object(of: Callable[..., Any], fields: frozenset[str], inner: Mapping[str, Maker], value: Any) -> Any:
    """The record, without what the class has no field for. Raises TypeError where it is none, or lacks a field."""
    if not isinstance(value, dict):
        raise TypeError(f"{value!r:.60} is not a record")
    return of(**{name: inner[name](part) if name in inner else part for name, part in value.items() if name in fields})
