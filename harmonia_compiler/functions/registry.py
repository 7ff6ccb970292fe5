"""Finds the functions by listing this folder: adding one is adding a file."""

from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import harmonia_compiler.functions as package
from harmonia_compiler.functions.function import Function

#: What a function's module contains; the other modules of this folder are what functions are made of.
_DEFINITION = "\nFUNCTION = Function("


@cache
def function_names() -> tuple[str, ...]:
    """The names of all functions, in alphabetical order, without loading any."""
    return tuple(sorted(found.name for found in iter_modules(package.__path__) if _is_function(found.name)))


def _is_function(name: str) -> bool:
    return _DEFINITION in (Path(package.__path__[0]) / f"{name}.py").read_text(encoding="utf-8")


@cache
def functions() -> dict[str, Function]:
    """Every function by name, in alphabetical order."""
    return {name: _load(name) for name in function_names()}


def _load(name: str) -> Function:
    function: Function = import_module(f"{package.__name__}.{name}").FUNCTION
    if function.name != name:
        raise ValueError(f"the function in {name}.py calls itself {function.name!r}")
    return function
