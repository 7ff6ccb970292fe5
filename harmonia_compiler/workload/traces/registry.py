"""Finds the trace formats by listing this folder: adding one is adding a file."""

from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import harmonia_compiler.workload.traces as package
from harmonia_compiler.workload.traces.format import Format

#: What a format's module contains; the other modules of this folder are what formats are made of.
_DEFINITION = "\nFORMAT = Format("


@cache
def format_names() -> tuple[str, ...]:
    """The names of all formats, in alphabetical order, without loading any."""
    return tuple(sorted(found.name for found in iter_modules(package.__path__) if _is_format(found.name)))


def _is_format(name: str) -> bool:
    return _DEFINITION in (Path(package.__path__[0]) / f"{name}.py").read_text(encoding="utf-8")


@cache
def formats() -> dict[str, Format]:
    """Every format by name, in alphabetical order."""
    return {name: _load(name) for name in format_names()}


def _load(name: str) -> Format:
    found: Format = import_module(f"{package.__name__}.{name}").FORMAT
    if found.name != name:
        raise ValueError(f"the format in {name}.py calls itself {found.name!r}")
    return found
