"""The site profile: what a target must know of the place where bundles are started, as data and never as code.

A TOML document with a table for each target that has something to ask. Only the table of the target in question is
looked into, by that target.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmonia_compiler.contract.regular import read_text
from harmonia_compiler.contract.toml_document import Document, NotToml, parse_toml
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.source import Source, Span


@dataclass(frozen=True)
class Site:
    """A profile as it was written: its text, for places, and its values."""

    source: Source
    document: Document

    def table(self, target: str) -> dict[str, Any]:
        """What it says of one target; nothing where it says nothing. Raises `Rejected` where that is no table."""
        found = self.document.values.get(target, {})
        if not isinstance(found, dict):
            message = f"`{target}` is no table"
            raise Rejected(
                [Diagnostic("E0930", message, self.place(target), help=f"write `[{target}]` on its own line")]
            )
        return found

    def place(self, *path: str | int) -> Span:
        """The line of a value."""
        return self.source.span_of_line(self.document.places.line(*path))


def load_site(path: Path) -> Site:
    """Read a site profile; raises `Rejected` where it cannot be read or is no TOML."""
    try:
        source = Source(str(path), read_text(path))
    except OSError as problem:
        message = f"cannot read the site profile `{path}`: {problem.strerror}"
        raise Rejected([Diagnostic("E0930", message, help="name a TOML file with --site")]) from None
    return parse_site(source)


def parse_site(source: Source) -> Site:
    """The site profile that a text is; raises `Rejected` where it is no TOML."""
    try:
        return Site(source, parse_toml(source.text))
    except NotToml as problem:
        place = source.span_of_line(problem.line)
        raise Rejected(
            [Diagnostic("E0930", f"this is not TOML: {problem.why}", place, help="mend this line")]
        ) from None
