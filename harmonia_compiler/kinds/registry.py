"""Finds the kinds by listing this folder: adding one is adding a file. Other distributions may bring more.

Those are looked for only when a name is asked for that this folder does not have, or when all are listed.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import harmonia_compiler.kinds as package
from harmonia_compiler.kinds.kind import Kind

#: What a kind's module contains either of; the other modules of this folder are what kinds are made of.
_DEFINITIONS = ("\nKIND = ", "\nKIND: ")


@cache
def kind_names() -> tuple[str, ...]:
    """The names of the kinds of this folder, in alphabetical order, without loading any."""
    found = (
        module.name for folder in package.__path__ for module in iter_modules([folder]) if _is_kind(folder, module.name)
    )
    return tuple(sorted(found))


def _is_kind(folder: str, name: str) -> bool:
    text = (Path(folder) / f"{name}.py").read_text(encoding="utf-8")
    return any(definition in text for definition in _DEFINITIONS)


class Kinds(Mapping[str, Kind]):
    """Every kind by name: those of this folder, then those of other distributions, each in alphabetical order.

    A kind is loaded when it is asked for. Where one of another distribution cannot be used, that raises Rejected.
    """

    def __getitem__(self, name: str) -> Kind:
        """The kind of that name; raises KeyError where there is none."""
        if name in kind_names():
            return _load(name)
        kind: Kind = _installed().load(name)
        return kind

    def __iter__(self) -> Iterator[str]:
        """All names; loads no kind."""
        yield from kind_names()
        yield from (name for name in _installed().installed_names() if name not in kind_names())

    def __len__(self) -> int:
        """How many there are."""
        return sum(1 for _ in self)


@cache
def kinds() -> Kinds:
    """Every kind by name."""
    return Kinds()


@cache
def _load(name: str) -> Kind:
    kind: Kind = import_module(f"{package.__name__}.{name}").KIND
    if kind.name != name:
        raise ValueError(f"the kind in {name}.py calls itself {kind.name!r}")
    return kind


def _installed() -> ModuleType:
    """Loaded by name, as the kinds are: most runs never need it."""
    return import_module(f"{package.__name__}.installed")
