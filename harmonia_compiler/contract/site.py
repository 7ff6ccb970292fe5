"""The site profile: what a target must know of the place where bundles are started, as data and never as code.

A TOML document with a table for each target that has something to ask. What is in the table of the target in question
is looked into by that target alone.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from harmonia_compiler.contract.regular import read_text
from harmonia_compiler.contract.toml_document import Document, NotToml, parse_toml, shown
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Findings, Rejected
from harmonia_compiler.diagnostics.near import listed, suggestion
from harmonia_compiler.diagnostics.source import Source, Span


class Site(msgspec.Struct, frozen=True):
    """A profile as it was written: its text, for places, and its values."""

    source: Source
    document: Document

    def check_tables(self, described: Collection[str], targets: Collection[str]) -> None:
        """Raise `Rejected` for what stands at its top and is none of the `described` targets, as an inventory's hosts.

        The other targets ask nothing about the place where they are started.
        """
        findings = Findings()
        for key in [key for key in self.document.values if key not in described]:
            if key in targets:
                message, step = f"target `{key}` has no table in a site profile", "leave it out"
            else:
                message = f"`{key[:64]}` is no target that a site profile has a table for"
                step = suggestion(key, described, f"there are tables for {listed(described)}")
            findings.add("E0931", message, self.place(key), help=step)
        if findings.failed:
            raise Rejected(findings.items)

    def table(self, target: str) -> dict[str, Any]:
        """What it says of one target; nothing where it says nothing. Raises `Rejected` where that is no table."""
        found = self.document.values.get(target, {})
        if not isinstance(found, dict):
            message = f"`{target}` is no table"
            raise Rejected(
                [Diagnostic("E0930", message, self.place(target), help=f"write `[{target}]` on its own line")]
            )
        return found

    def values(
        self, target: str, called: str, of: type[msgspec.Struct], words: Mapping[str, str], findings: Findings
    ) -> dict[str, Any]:
        """What it says of one target, each value as `of` wants it; `words` are its keys, and how each is written.

        What `of` does not have, the target itself looks into. Every mistake is a finding at its line.
        """
        found: dict[str, Any] = {}
        for key, value in self.table(target).items():
            where = self.place(target, key)
            if key not in words:
                step = suggestion(key, sorted(words), f"there are {listed(sorted(words))}")
                findings.add("E0931", f"`{key[:64]}` is no key of a site profile for {called}", where, help=step)
                continue
            try:
                found[key] = msgspec.convert(value, of.__annotations__.get(key, Any))
            except msgspec.ValidationError:
                what = _refused(value, of.__annotations__[key])
                findings.add("E0932", f"`{key}` cannot {what}", where, help=f"it takes {words[key]}")
        return found

    def place(self, *path: str | int) -> Span:
        """The line of a value."""
        return self.source.span_of_line(self.document.places.line(*path))


def _refused(value: object, of: Any) -> str:
    """What a value cannot be, for a sentence; what it cannot hold, where it may be a list or a table."""
    parts: list[tuple[object, str]] = []
    if isinstance(value, list):
        parts = [([part], shown(part)) for part in value]
    elif isinstance(value, dict):
        parts = [({key: part}, f"{shown(key)} = {shown(part)}") for key, part in value.items()]
    if parts and _fits(type(value)(), of):
        for part, said in parts:
            if not _fits(part, of):
                return f"hold {said}"
    return f"be {shown(value)}"


def _fits(value: object, of: Any) -> bool:
    try:
        msgspec.convert(value, of)
    except msgspec.ValidationError:
        return False
    return True


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
