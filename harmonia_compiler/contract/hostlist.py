"""Host ranges as cluster managers write them: `gpu[01-16,20]` is gpu01 … gpu16 and gpu20."""

import re

_GROUP = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")


#: A name of a host has no more characters, and each range adds one at least.
LONGEST_NAME = 64

_SHOWN = 40


class HostlistError(Exception):
    """A range that cannot be written out; the message is one sentence without a full stop."""


class TooManyHosts(HostlistError):
    """A range that is one, and stands for more hosts than there may be."""


def expand(expression: str, most: int) -> list[str]:
    """The names that an expression stands for, in order; zeros in front of a range's start are kept.

    Raises HostlistError for a malformed range and, before it grows, TooManyHosts for one of more than `most` names.
    """
    names = [""]
    at = 0
    for count, group in enumerate(_GROUP.finditer(expression), 1):
        if count > LONGEST_NAME:
            raise HostlistError(f"`{_cut(expression)}` has more than {LONGEST_NAME} ranges in a name")
        numbers = _numbers(group.group(1), most)
        if len(names) * len(numbers) > most:
            raise TooManyHosts(f"`{_cut(expression)}` stands for more than {most:,} hosts")
        between = _plain(expression[at : group.start()], expression)
        names = [f"{name}{between}{number}" for name in names for number in numbers]
        at = group.end()
    rest = _plain(expression[at:], expression)
    return [name + rest for name in names]


def _plain(text: str, expression: str) -> str:
    if "[" in text or "]" in text:
        raise HostlistError(f"`{_cut(expression)}` has a bracket without its partner")
    return text


def _numbers(ranges: str, most: int) -> list[str]:
    found: list[str] = []
    for part in ranges.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise HostlistError(f"`[{_cut(ranges)}]` is no list of numbers and ranges")
        first, last = match.group(1), match.group(2) or match.group(1)
        # Python itself reads no numbers of very many digits, and no host's name has them.
        if max(len(first), len(last)) > LONGEST_NAME:
            raise HostlistError(f"`[{_cut(ranges)}]` has a number of more than {LONGEST_NAME} digits")
        if int(last) < int(first):
            raise HostlistError(f"the range `{part.strip()}` runs backwards")
        if len(found) + int(last) - int(first) + 1 > most:
            raise TooManyHosts(f"`[{_cut(ranges)}]` stands for more than {most:,} hosts")
        found += [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return found


def _cut(text: str) -> str:
    """As much of a text as a sentence has room for, on one line."""
    return (text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...").replace("\n", "\\n")
