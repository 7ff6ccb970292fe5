"""Finds the kinds by listing this folder: adding one is adding a file."""

from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import harmonia_compiler.kinds as package
from harmonia_compiler.kinds.kind import Kind

#: What a kind's module contains; the other modules of this folder are what kinds are made of.
_DEFINITION = "\nKIND = Kind("


@cache
def kind_names() -> tuple[str, ...]:
    """The names of all kinds, in alphabetical order, without loading any."""
    return tuple(sorted(found.name for found in iter_modules(package.__path__) if _is_kind(found.name)))


def _is_kind(name: str) -> bool:
    return _DEFINITION in (Path(package.__path__[0]) / f"{name}.py").read_text(encoding="utf-8")


@cache
def kinds() -> dict[str, Kind]:
    """Every kind by name, in alphabetical order."""
    return {name: _load(name) for name in kind_names()}


def _load(name: str) -> Kind:
    kind: Kind = import_module(f"{package.__name__}.{name}").KIND
    if kind.name != name:
        raise ValueError(f"the kind in {name}.py calls itself {kind.name!r}")
    return kind
