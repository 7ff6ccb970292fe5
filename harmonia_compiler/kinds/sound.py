"""Whether a kind's data is what everything else relies on: a struct that is made in Python takes fields of any type.

The kinds of this folder are held to it by tests; those of other distributions when they are loaded.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, Protocol, get_args, get_origin, get_type_hints

import msgspec
from msgspec.structs import replace

from harmonia_compiler.kinds.kind import COMMON_SETTINGS, Kind, Setting, Through
from harmonia_compiler.syntax.literals import LARGEST

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What a default is where there is one.
_DEFAULTS: dict[str, type] = {
    "text": str,
    "number": float,
    "integer": int,
    "tokens": int,
    "bool": bool,
    "duration": float,
    "memory": float,
    "prompt": str,
    "component": str,
    "device": str,
}


class Unsound(Exception):
    """Data that no kind has; says in a sentence what is wrong first."""


def sound(kind: Kind) -> Kind:
    """The kind, with tuples where it has lists. Raises Unsound."""
    fields = _fields(kind, Kind, "its", skipped=("settings",))
    if not isinstance(kind.settings, tuple | list):
        raise Unsound(f"its `settings` is a `{type(kind.settings).__name__}`, and no tuple of `Setting`")
    made = replace(kind, settings=tuple(_setting(one, at) for at, one in enumerate(kind.settings, 1)), **fields)
    for problem in _contradictions(made):
        raise Unsound(problem)
    return made


def as_declared(value: Any, wanted: Any) -> Any:
    """A value made anew of what its type declares, without what a subclass adds. Raises Unsound."""
    try:
        plain = msgspec.to_builtins(value, enc_hook=_plain)
        # A text of half a character pair could be neither printed nor sent.
        msgspec.json.encode(plain)
        return msgspec.convert(plain, wanted)
    # What is no plain data raises a TypeError, and what lies within itself a RecursionError.
    except (msgspec.ValidationError, TypeError, ValueError, RecursionError) as problem:
        said = str(problem)
        raise Unsound(f"{said[:1].lower()}{said[1:]}") from problem


def _plain(value: object) -> object:
    """A mapping that is no dict; msgspec takes apart nothing else that is not its own."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a `{type(value).__name__}` is no plain data")


def _fields(of: Any, declared: type, whose: str, skipped: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields that a kind or a setting declares."""
    found: dict[str, Any] = {}
    for name, wanted in get_type_hints(declared).items():
        try:
            value = getattr(of, name)
        except Exception as problem:
            raise Unsound(f"{whose} `{name}` cannot be read ({type(problem).__name__}: {problem})") from problem
        if name in skipped or wanted is Any:
            continue
        if _is_function(wanted):
            if value is None and type(None) not in get_args(wanted):
                raise Unsound(f"{whose} `{name}` is missing")
            if value is not None and not callable(value):
                raise Unsound(f"{whose} `{name}` is a `{type(value).__name__}`, and no function")
            continue
        try:
            found[name] = as_declared(value, wanted)
        except Unsound as problem:
            raise Unsound(f"{whose} `{name}` is wrong: {problem}") from problem
    return found


def _is_function(wanted: Any) -> bool:
    """Whether an annotation is that of a function, or of one that may be left out."""
    parts = get_args(wanted) if isinstance(wanted, UnionType) else (wanted,)
    return any(get_origin(part) is Callable or Protocol in getattr(part, "__mro__", ()) for part in parts)


def _setting(one: object, at: int) -> Setting:
    if not isinstance(one, Setting):
        raise Unsound(f"number {at} of its `settings` is a `{type(one).__name__}`, and no `Setting`")
    whose = f"of its setting `{one.name}`,"
    setting = replace(one, **_fields(one, Setting, whose))
    for problem in _faults(setting):
        raise Unsound(f"{whose} {problem}")
    return setting


def _faults(setting: Setting) -> Iterator[str]:
    if not _NAME.fullmatch(setting.name):
        yield "`name` is no name of the language"
    if setting.pattern is not None:
        try:
            re.compile(setting.pattern)
        except (re.error, RecursionError, OverflowError) as problem:
            yield f"`pattern` is no regular expression ({problem})"
    least, most, default = setting.minimum, setting.maximum, setting.default
    if any(bound is not None and math.isnan(bound) for bound in (least, most)):
        yield "a bound is no number"
    if least is not None and most is not None and least > most:
        yield f"`minimum` is {least:g}, and `maximum` {most:g}"
    if setting.confidential and not setting.late:
        yield "`confidential` is true and `late` is not, so that nobody could give it"
    if default is None:
        return
    try:
        msgspec.convert(default, _DEFAULTS[setting.type])
    except msgspec.ValidationError:
        yield f"`default` is {default!r}, which is no value of type `{setting.type}`"
        return
    if setting.accepts and setting.type == "text" and default not in setting.accepts:
        yield f"`default` is {default!r}, which it does not accept"
    if isinstance(default, int | float) and not (
        abs(default) <= LARGEST and (least is None or least <= default) and (most is None or default <= most)
    ):
        yield f"`default` is {str(default)[:40]}, which is out of its bounds"


def _contradictions(kind: Kind) -> Iterator[str]:
    """What is wrong between fields that are fine one by one."""
    for name, times in Counter(each.name for each in (*kind.settings, *COMMON_SETTINGS)).items():
        if times > 1:
            yield f"it has the setting `{name}` twice, or every kind has it"
    named = {"unnamed": kind.unnamed, "function_setting": kind.function_setting, "model_setting": kind.model_setting}
    for field, setting in named.items():
        if setting is not None and kind.setting(setting) is None:
            yield f"its `{field}` names `{setting}`, and it has no such setting"
    for narrowing in kind.narrowings:
        if kind.setting(narrowing.setting) is None:
            yield f"its `narrowings` name `{narrowing.setting}`, and it has no such setting"
    if (kind.launch is None) != kind.external:
        yield "it has a `launch` exactly where it is not `external`, and this one has both or neither"
    if not kind.runs_on and not kind.external:
        yield "its `runs_on` is empty, so that it could run nowhere"
    if (kind.encode_many is None) != (kind.decode_many is None):
        yield "it has one of `encode_many` and `decode_many` without the other"
    ports = [] if kind.signature is None else [port.name for port in kind.signature.ports]
    if len(set(ports)) < len(ports):
        yield "two ports of its `signature` have one name"
    for port, way in kind.through.items():
        yield from (f"its `through` of `{port}` {problem}" for problem in _detours(kind, port, way, ports))


def _detours(kind: Kind, port: str, way: Through, ports: Iterable[str]) -> Iterator[str]:
    by = kind.setting(way.setting)
    if port not in ports:
        yield "is of no port of its `signature`"
    if by is None or by.type != "component":
        yield f"names `{way.setting}`, which is no setting for a component"
    if (way.plain is None) != (way.wherever is None):
        yield "has one of `plain` and `wherever` without the other"
    if way.plain is not None and way.plain in ports:
        yield f"sends to `{way.plain}` what another port holds"
    if way.wherever is not None and ((switch := kind.setting(way.wherever)) is None or switch.type != "bool"):
        yield f"hangs on `{way.wherever}`, which is no setting that is true or false"
