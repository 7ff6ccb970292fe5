"""Keys and passwords in texts: how they are known, and how a text is shown without them.

Findings end up in the logs of others, and so do the lines of a source that they show.
"""

import re
from collections.abc import Iterator

import msgspec

_BEGINS = r"(?:(?:sk|pk|rk)-|(?:hf|ghp|gho|glpat|xox[a-z])[_-])"
#: Letters between dashes that are no words: eight with a digit among them, or sixteen.
_NO_WORD = r"(?:(?=[A-Za-z0-9]{8})[A-Za-z]{0,32}[0-9]|[A-Za-z0-9]{16})"
#: What keys of well-known services begin with, and then many letters of which some are no words.
_LIKE_A_KEY = rf"(?:{_BEGINS}(?=[A-Za-z0-9_-]{{0,48}}?{_NO_WORD})[A-Za-z0-9_-]{{16,}}|AKIA[A-Z0-9]{{12,}})"
#: The user and the password of a URL, to the last `@`: who does not escape a password may have `@` and `/` in it, and
#: who does may have a longer one. What a slash follows and is a number is a port.
_USER, _SECRET = r"(?!\[)[^/?#\s:]*", r"(?![0-9]+[/?#])(?:[^\s\"`]{1,128}|[^/?#\s@]+)"
#: A key in a URL's query, by what it is called there.
_NAMED = r"[?&](?i:[a-z_-]{0,32}(?:key|token|secret|password|signature))="
_QUERY = rf"{_NAMED}(?P<query>(?=[A-Za-z0-9_-]{{0,48}}?{_NO_WORD})[A-Za-z0-9_-]{{16,}})"
_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){_LIKE_A_KEY}|{_QUERY}")
#: A URL that names a user and a password.
_PASSWORD = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*://{_USER}:{_SECRET}@")
#: What a file holds that holds any of the two: escapes may stand before it there.
_EITHER = re.compile(rf"{_LIKE_A_KEY}|{_QUERY}|://{_USER}:{_SECRET}@")
#: What is not shown: a key, also behind an escape, also one that a sentence has cut short; and a URL's password.
_HIDDEN = re.compile(
    rf"(?:(?<![A-Za-z0-9_-])|(?<=\\[a-z]))"
    rf"(?:(?P<key>{_LIKE_A_KEY}(?:\.\.\.)?)|(?P<cut>{_BEGINS}[A-Za-z0-9_-]+|AKIA[A-Z0-9]+)(?=\.\.\.|…))"
    rf"|{_QUERY}|(?<=://){_USER}:(?P<password>{_SECRET})@"
)
#: The beginning of a command that is offered: nobody could follow it without a word of it.
_COMMAND = re.compile(r"`harmoniac [^`]*$")
#: Letters of a key that are shown: what it begins with, and a little by which it is known from others.
_SHOWN = 6


class Leak(msgspec.Struct, frozen=True):
    """What makes a text one that no file and no plan may hold, and where in the text."""

    what: str
    start: int
    end: int


def leak(value: str) -> Leak | None:
    """The first key in a text, or the password of the URL that it is; None where it has neither."""
    if found := _KEY.search(value):
        return Leak("looks like a key", *found.span(found.lastgroup or 0))
    if found := _PASSWORD.match(value):
        return Leak("holds a password", found.start(), found.end())
    return None


def may_leak(text: str) -> bool:
    """Whether some text in a file may be a key or hold a password."""
    return _EITHER.search(text) is not None


class Masked:
    """A text as it is shown: of a key the first letters, of a password nothing, and `…` for the rest."""

    def __init__(self, text: str, *, is_sentence: bool = False) -> None:
        self._hidden = tuple(_hidden(text, is_sentence=is_sentence))
        parts, at = [], 0
        for start, end in self._hidden:
            parts.append(text[at:start])
            at = end
        self.text = "…".join([*parts, text[at:]])

    def place(self, at: int) -> int:
        """Where the character at a place of the text stands now; what is hidden stands at its `…`, its end behind."""
        less = 0
        for start, end in self._hidden:
            if at <= start:
                break
            if at < end:
                return start - less
            less += end - start - 1
        return at - less


def masked(text: str) -> str:
    """A sentence as it is shown, without the keys and passwords in it; paths and commands stay, that one can follow."""
    return Masked(text, is_sentence=True).text


def _hidden(text: str, *, is_sentence: bool) -> Iterator[tuple[int, int]]:
    """What is hidden of a text, from and to."""
    for found in _HIDDEN.finditer(text):
        start, end = found.span(found.lastgroup or 0)
        if is_sentence and found.lastgroup != "password" and _is_named(text, start, end):
            continue
        start += 0 if found.lastgroup == "password" else _SHOWN
        if start < end:
            yield start, end


def _is_named(text: str, start: int, end: int) -> bool:
    """Whether what looks like a key is a part of a path, or stands in a command."""
    return "/" in (text[max(0, start - 1) : start], text[end : end + 1]) or bool(_COMMAND.search(text[:start]))
