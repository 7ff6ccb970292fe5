"""Words in a command that a diagnostic offers, so that it may be copied as it is."""

import shlex
from os import PathLike


def shell_word(word: str | PathLike[str]) -> str:
    """A path, or another word, as a shell takes it for one."""
    return shlex.quote(str(word))
