"""Words in a command that a diagnostic offers, so that it may be copied as it is."""

import shlex
from os import PathLike


def shell_word(word: str | PathLike[str]) -> str:
    """A path, or another word, as a shell takes it for one; what a terminal would obey is spelled out."""
    text = str(word)
    return shlex.quote(text) if text.isprintable() else "$'" + "".join(map(_spelled, text)) + "'"


def _spelled(letter: str) -> str:
    if letter in "\\'":
        return f"\\{letter}"
    if letter.isprintable():
        return letter
    return "".join(f"\\x{byte:02x}" for byte in letter.encode("utf-8", "surrogateescape"))
