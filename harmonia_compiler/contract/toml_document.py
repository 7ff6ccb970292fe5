"""TOML that people write: its values with their lines, or the one thing that keeps a text from being TOML."""

import json
import re
import sys
import tomllib
from functools import cached_property
from typing import Any, NoReturn

import msgspec

from harmonia_compiler.contract.toml_places import STRING, Places, places

#: The standard parser takes time in the square of a key's parts.
_MOST_PARTS = 32
_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*"|'[^'\n]*')[ \t]*+"""
_LONG_KEY = re.compile(rf"^[ \t]*+(?:\[{{1,2}}[ \t]*+)?(?:{_PART}\.[ \t]*+){{{_MOST_PARTS}}}", re.MULTILINE)

#: How many characters of a text a sentence has room for.
_SHOWN = 40

_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class NotToml(Exception):
    """Why a text is no TOML, as a phrase, and the line that it is about."""

    def __init__(self, why: str, line: int) -> None:
        super().__init__(why)
        self.why, self.line = why, line


class Document(msgspec.Struct, frozen=True, dict=True):
    """The values of a text and where they stand; the standard parser gives values alone."""

    text: str
    values: dict[str, Any]

    @cached_property
    def places(self) -> Places:
        """Looked for only where somebody asks: most documents have no mistakes."""
        return places(self.text)


def parse_toml(text: str) -> Document:
    """The document that a text is; raises `NotToml`."""
    if long := _LONG_KEY.search(text):
        raise NotToml(f"a key has more than {_MOST_PARTS} parts", _line(text, long.end()))
    try:
        return Document(text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as problem:
        _refuse(str(problem), text)
    except RecursionError:
        raise NotToml("it is nested too deeply", 1) from None
    except ValueError:
        # Python itself refuses to read such a number, and says nothing of where it stands.
        raise NotToml("a number has too many digits", _line_of_digits(text)) from None


def _refuse(message: str, text: str) -> NoReturn:
    """In the parser's words and at its line; at the last line that is not empty where it names the end."""
    place = _PLACE.search(message)
    line = int(place[1]) if place and place[1] else _line(text, len(text.rstrip()))
    why = _PLACE.sub("", message)
    raise NotToml(f"{why[:1].lower()}{why[1:]}", line) from None


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _line_of_digits(text: str) -> int:
    """The line of the first number that is too long; digits of a text or a comment are none."""
    digits = re.compile(
        rf"{STRING.pattern}|#[^\n]*|(?P<digits>[0-9][0-9_]{{{sys.get_int_max_str_digits()},}})", re.DOTALL
    )
    return next((_line(text, found.start()) for found in digits.finditer(text) if found["digits"]), 1)


def shown(value: object) -> str:
    """A value for a sentence: short, on one line, and a number with all its digits where that is still readable."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, str):
        return json.dumps(value if len(value) <= _SHOWN else value[: _SHOWN - 3] + "...", ensure_ascii=False)
    return "a list" if isinstance(value, list) else "a table" if isinstance(value, dict) else "a time"


def _number(number: float) -> str:
    """A whole number of TOML may be larger than any float."""
    try:
        as_float = float(number)
    except OverflowError:
        return "enormous"
    return f"{number:,.0f}" if as_float.is_integer() and abs(as_float) < 1e15 else f"{number:g}"
