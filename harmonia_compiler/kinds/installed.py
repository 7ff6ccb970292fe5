"""The kinds that other distributions have, by entry points of the group `harmonia_compiler.kinds`.

Each names a `Kind` as `module:KIND` and bears its name. Only `registry` loads this module, when a name
is asked for that no kind of this folder has: what is installed takes time to find.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from functools import cache, wraps
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from msgspec.structs import astuple, replace

from harmonia_compiler.contract.launch import Launch
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.kinds.kind import Extent, Fault, Kind, Work

GROUP = "harmonia_compiler.kinds"

#: What the compiler asks of a kind, and what it is to get, or several of; what the gateway asks fails its call alone.
_ASKED: dict[str, type] = {"work": Work, "result_extent": Extent, "launch": Launch, "own_faults": Fault}


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
    blamed: dict[str, Any] = {
        name: _blamed(point, name, function, wanted)
        for name, wanted in _ASKED.items()
        if (function := getattr(kind, name)) is not None
    }
    return replace(kind, **blamed)


def _blamed(point: EntryPoint, name: str, function: Callable[..., Any], wanted: type) -> Callable[..., Any]:
    """A function of somebody else's kind, whose bugs are not taken for ours."""

    @wraps(function)
    def asked(*given: Any, **named: Any) -> Any:
        try:
            found = function(*given, **named)
            # Several may come one by one, and so fail one by one.
            parts = [*found] if name == "own_faults" else [found]
        except Rejected:
            raise
        except (Exception, SystemExit) as problem:
            raise _unusable(point, f"its `{name}` failed ({type(problem).__name__}: {problem})") from problem
        for one in parts:
            if not isinstance(one, wanted):
                raise _unusable(point, f"its `{name}` gave a `{type(one).__name__}`, and not a `{wanted.__name__}`")
            if isinstance(one, Work | Extent) and not all(map(_is_amount, astuple(one))):
                raise _unusable(point, f"its `{name}` gave {one}, in which something is no amount")
        return parts if name == "own_faults" else parts[0]

    return asked


def _is_amount(value: Any) -> bool:
    """Whether a part of some work or extent is finite and not below zero; what is not known is None."""
    return value is None or (isinstance(value, int | float) and 0.0 <= value < math.inf)


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def _unusable(point: EntryPoint, why: str) -> Rejected:
    own = _distribution(point)
    message = f"the kind `{point.name}` of the distribution `{own}` cannot be used: {why}"
    return Rejected([Diagnostic("E0809", message, help=f"install another version of `{own}`, or uninstall it")])
