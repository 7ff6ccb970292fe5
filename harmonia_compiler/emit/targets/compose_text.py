"""Texts of a compose file: which are the plan's and mean themselves, and which are variables of ours.

Compose replaces `$NAME` and `${NAME}` in every text of a file by what the environment holds, so that a prompt or a name
with a `$` would give away the environment, or fail. So each text of the plan has its `$` doubled, and what is to be
replaced is a `Variable`, a type of its own that no text can forge.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: What Compose replaces, and the doubled sign that stands for itself.
_REPLACED = re.compile(r"\$(?:(?P<sign>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<more>[:?-][^{}$]*)?\})")


@dataclass(frozen=True, slots=True)
class Variable:
    """A value that the start gives, with what stands for it where nothing does.

    None is one that Compose would miss: it looks at all of a file whatever it is asked for, as when it builds an image.
    """

    name: str
    default: str = ""
    prefix: str = ""
    suffix: str = ""

    def __str__(self) -> str:
        return f"{self.prefix}${{{self.name}:-{self.default}}}{self.suffix}"


def rendered(value: Any) -> Any:
    """A tree of plain values and variables as the tree that is written."""
    if isinstance(value, Variable):
        return str(value)
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {name.replace("$", "$$"): rendered(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rendered(inner) for inner in value]
    return value


def replaced(text: str) -> str:
    """A text of a file as Compose reads it, its variables written `${NAME}`; raises ValueError for a stray sign."""
    parts, at = [], 0
    for found in _REPLACED.finditer(text):
        parts += [text[at : found.start()], "$" if found["sign"] else f"${{{found['name']}}}"]
        at = found.end()
    parts.append(text[at:])
    if any("$" in plain for plain in parts[::2]):
        raise ValueError(f"{text!r} has a `$` that is neither doubled nor a variable's")
    return "".join(parts)
