"""Keys and passwords that stand in a file, where whoever reads the file, the plan or a log would have them."""

import re

import msgspec

from harmonia_compiler.check.program import Context
from harmonia_compiler.syntax import tree

#: What keys of well-known services begin with, and then many letters that are no words: a digit among them, or no dash.
_LIKE_A_KEY = (
    r"(?:(?:(?:sk|pk|rk)-|(?:hf|ghp|gho|glpat|xox[a-z])[_-])"
    r"(?=[A-Za-z_-]{0,128}[0-9]|[A-Za-z0-9]{16})[A-Za-z0-9_-]{16,}|AKIA[A-Z0-9]{12,})"
)
_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){_LIKE_A_KEY}")
#: A URL that names a user and a password.
_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s:@]*:[^/?#\s@]*@")
#: What a file holds that holds any of the two: escapes may stand before it there.
_EITHER = re.compile(rf"{_LIKE_A_KEY}|://[^/?#\s:@]*:[^/?#\s@]*@")


class Leak(msgspec.Struct, frozen=True):
    """What makes a text one that no file and no plan may hold, and where in the text."""

    what: str
    start: int
    end: int


def leak(value: str) -> Leak | None:
    """The first key in a text, or the password of the URL that it is; None where it has neither."""
    if found := _KEY.search(value):
        return Leak("looks like a key", found.start(), found.end())
    if found := _PASSWORD.match(value):
        return Leak("holds a password", found.start(), found.end())
    return None


def refuse_keys(context: Context) -> None:
    """Report every text with a key in it, wherever it stands, that its setting has not been reported for."""
    said = {item.span for item in context.findings.items if item.code == "E0606"}
    for unit in context.units:
        if _EITHER.search(unit.source.text) is None:
            continue
        texts = (node for each in unit.file.declarations for node, _ in tree.walk(each) if isinstance(node, tree.Text))
        for node in texts:
            if node.span not in said and (found := leak(node.value)):
                help = 'keep it out of the file: a setting that takes a key reads it at start, by `secret("NAME")`'
                context.findings.add("E0606", f"this text {found.what}", node.span, help=help)
