"""Everything that the command prints about findings and bugs, in text or JSON."""

import json
import os
import sys
import traceback
from collections.abc import Collection
from typing import Any

import click

from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.diagnostics.render import FORMAT_VERSION, as_object, count, render


def wants_colour() -> bool:
    """Colour only for a person at a terminal who has not set NO_COLOR."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def print_diagnostics(found: Collection[Diagnostic], left_out: int = 0) -> None:
    """Findings to stderr, one frame each, how many there are, and how many more that were left out."""
    colour = wants_colour()
    for item in found:
        click.echo(_sayable(render(item, colour=colour)), err=True)
    if found:
        click.echo(count(found, left_out), err=True)


def print_json(document: dict[str, Any]) -> None:
    """A document to stdout."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=True))


def findings_document(found: Collection[Diagnostic], left_out: int = 0, **more: Any) -> dict[str, Any]:
    """Findings as a JSON document, with the number of those left out; `more` is what else the command has to say."""
    shown = [as_object(item) for item in found]
    return {"format_version": FORMAT_VERSION, "findings": shown, "left_out": left_out, **more}


def print_bug(bug: Exception) -> None:
    """A failure of ours: say so, and give what a report needs."""
    click.echo(_sayable("".join(traceback.format_exception(bug))), err=True, nl=False)
    click.echo(
        "harmoniac: this is a bug in harmoniac, not in your files; please report it with the lines above", err=True
    )


def _sayable(text: str) -> str:
    """A text that stderr can encode: file names may hold bytes that are no text, and terminals may be ASCII only."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    return text.encode(encoding, errors="backslashreplace").decode(encoding)
