"""YAML as every reader reads it: what is a text here is a text there.

YAML 1.1 and 1.2 take different bare words for numbers and truth values, and what they take is not what Python takes. So
only plain lower-case words stand bare; every other text is quoted, with all but ASCII written as escapes. There are no
tags, anchors or aliases.
"""

import re
from typing import Any

import yaml

#: Words that stand for themselves in each version of YAML, but for those that some version takes for a value.
_BARE = re.compile(r"[a-z][a-z_]*")
_TAKEN = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}

#: libyaml's, where the library was built with it, takes a tenth of the time.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TEXT = "tag:yaml.org,2002:str"


class _Dumper(yaml.SafeDumper):
    """Writes block style without aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the library's signature
        """A value that occurs twice is written twice."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    bare = _BARE.fullmatch(text) is not None and text not in _TAKEN
    return dumper.represent_scalar(_TEXT, text, style=None if bare else '"')


_Dumper.add_representer(str, _text)


def dump(document: Any) -> bytes:
    """Plain values (texts, numbers, truth values, lists, maps by texts) as one document, in the order of the maps."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=2**20, allow_unicode=False).encode("ascii")


def load(text: bytes) -> Any:
    """The values of a document that `dump` wrote."""
    return yaml.load(text, _Loader)  # noqa: S506 - both are safe ones
