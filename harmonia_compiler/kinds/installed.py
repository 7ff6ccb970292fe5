"""The kinds that other distributions have, by entry points of the group `harmonia_compiler.kinds`.

Each names a `Kind` as `module:KIND` and bears its name. Only `registry` loads this module, when a name
is asked for that no kind of this folder has: what is installed takes time to find.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache, wraps
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from msgspec.structs import astuple, replace

from harmonia_compiler.contract.launch import Launch
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.kinds.kind import Extent, Fault, FaultsOf, Kind, Setting, Slip, Work
from harmonia_compiler.kinds.sound import Unsound, as_declared, sound

GROUP = "harmonia_compiler.kinds"

#: What the compiler asks of a kind beside contradictions, and what it is to get; what the gateway asks fails its call
#: alone.
_ASKED: dict[str, type] = {"work": Work, "result_extent": Extent, "launch": Launch}


@cache
def _found() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = defaultdict(list)
    for point in entry_points(group=GROUP):
        found[point.name].append(point)
    return dict(sorted(found.items()))


def installed_names() -> tuple[str, ...]:
    """The names of those kinds, in alphabetical order, without loading any."""
    return tuple(_found())


def distributions(name: str) -> list[str]:
    """The distributions that say they have a kind of that name."""
    return sorted(_distribution(point) for point in _found().get(name, ()))


@cache
def load(name: str) -> Kind:
    """The kind of that name.

    Raises KeyError where no distribution has it, and Rejected where two have it or where it cannot be used.
    """
    point, *others = _found()[name]
    if others:
        both = " and ".join(f"`{one}`" for one in distributions(name))
        message = f"several distributions have a kind `{name}`: {both}"
        raise Rejected([Diagnostic("E0808", message, help="uninstall all of them but one")])
    try:
        kind = point.load()
    except (Exception, SystemExit) as problem:
        raise _unusable(point, f"`{point.value}` cannot be loaded ({type(problem).__name__}: {problem})") from problem
    if not isinstance(kind, Kind):
        raise _unusable(point, f"`{point.value}` is no `Kind`, but a `{type(kind).__name__}`")
    if kind.name != name:
        raise _unusable(point, f"it calls itself `{kind.name}`")
    try:
        kind = sound(kind)
    except Unsound as problem:
        raise _unusable(point, str(problem)) from problem
    blamed: dict[str, Any] = {
        name: _blamed(point, name, function, wanted)
        for name, wanted in _ASKED.items()
        if (function := getattr(kind, name)) is not None
    }
    if kind.own_faults is not None:
        blamed["own_faults"] = _finding_faults(point, kind, kind.own_faults)
    return replace(kind, settings=tuple(_looked_into(point, setting) for setting in kind.settings), **blamed)


def _looked_into(point: EntryPoint, setting: Setting) -> Setting:
    """A setting of somebody else's kind; what it says of a text may fail as well."""
    if setting.slip_in is None:
        return setting
    name = f"slip_in` of `{setting.name}"
    slip_in = _guarded(point, name, setting.slip_in)

    def asked(text: str) -> Slip | None:
        found = slip_in(text)
        slip: Slip | None = None if found is None else _declared(point, name, found, Slip)
        if slip is not None and not 0 <= slip.start <= slip.end <= len(text):
            raise _unusable(point, f"its `{name}` gave the place {slip.start} to {slip.end} of {len(text)} characters")
        return slip

    return replace(setting, slip_in=asked)


def _finding_faults(point: EntryPoint, kind: Kind, own_faults: FaultsOf) -> FaultsOf:
    """What finds contradictions: among settings of the kind, and in what somebody gave."""
    # Several may come one by one, and so fail one by one.
    guarded = _guarded(point, "own_faults", lambda settings: [*own_faults(settings)])

    def asked(settings: Mapping[str, Any]) -> list[Fault]:
        faults = [_declared(point, "own_faults", one, Fault) for one in guarded(settings)]
        for fault in faults:
            known = [setting for name in fault.settings if (setting := kind.setting(name)) is not None]
            if not known or len(known) < len(fault.settings):
                raise _unusable(point, f"its `own_faults` gave {fault}, which does not name settings that it has")
            if all(settings[setting.name] == setting.default for setting in known):
                raise _unusable(point, f"its `own_faults` gave {fault}, where nothing but defaults stands")
        return faults

    return asked


def _blamed(point: EntryPoint, name: str, function: Callable[..., Any], wanted: type) -> Callable[..., Any]:
    """A function of somebody else's kind, whose bugs are not taken for ours."""
    guarded = _guarded(point, name, function)

    @wraps(function)
    def asked(*given: Any, **named: Any) -> Any:
        found = _declared(point, name, guarded(*given, **named), wanted)
        if isinstance(found, Work | Extent) and not all(map(_is_amount, astuple(found))):
            raise _unusable(point, f"its `{name}` gave {found}, in which something is no amount")
        return found

    return asked


def _guarded(point: EntryPoint, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def asked(*given: Any, **named: Any) -> Any:
        try:
            return function(*given, **named)
        except Rejected:
            raise
        except (Exception, SystemExit) as problem:
            raise _unusable(point, f"its `{name}` failed ({type(problem).__name__}: {problem})") from problem

    return asked


def _declared(point: EntryPoint, name: str, found: object, wanted: type) -> Any:
    """What a function gave, with the fields that its type declares and no others: those of a subclass are its own."""
    if not isinstance(found, wanted):
        raise _unusable(point, f"its `{name}` gave a `{type(found).__name__}`, and not a `{wanted.__name__}`")
    try:
        return as_declared(found, wanted)
    except Unsound as problem:
        raise _unusable(point, f"its `{name}` gave a `{wanted.__name__}` that is wrong: {problem}") from problem


def _is_amount(value: float | None) -> bool:
    """Whether a part of some work or extent is finite and not below zero; what is not known is None."""
    return value is None or 0.0 <= value < math.inf


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def _unusable(point: EntryPoint, why: str) -> Rejected:
    own = _distribution(point)
    message = f"the kind `{point.name}` of the distribution `{own}` cannot be used: {why}"
    return Rejected([Diagnostic("E0809", message, help=f"install another version of `{own}`, or uninstall it")])
