"""Finds the kinds by listing this folder: adding one is adding a file."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

import harmonia_compiler.kinds as package
from harmonia_compiler.kinds.kind import Kind

_NOT_KINDS = {"kind", "registry", "openai"}


@cache
def kinds() -> dict[str, Kind]:
    """Every kind by name, in alphabetical order."""
    names = sorted(found.name for found in iter_modules(package.__path__) if found.name not in _NOT_KINDS)
    return {name: import_module(f"{package.__name__}.{name}").KIND for name in names}
