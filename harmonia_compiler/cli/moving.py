"""What `harmoniac ingest --export` and `--import` add: their options, and what they say."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from harmonia_compiler.cli.options import IN_FILE, OUT_FILE
from harmonia_compiler.ingest.moving import Moved, export_collection, import_collection
from harmonia_compiler.ingest.run import Wanted
from harmonia_compiler.ingest.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])

#: Holds what a Milvus given by its address asks for: `USER:PASSWORD`, or a key.
ASKED_BY_MILVUS = "MILVUS_TOKEN"

#: After how many passages a line says how far it is.
_SAID_EACH = 10_000


@dataclass(frozen=True, slots=True)
class Move:
    """What is to be moved, and by way of which file."""

    to: Path | None
    source: Path | None
    replace: bool
    milvus: str | None
    token: str = field(default="", repr=False)

    @property
    def is_asked(self) -> bool:
        """Whether anything is to be moved."""
        return self.to is not None or self.source is not None

    def __call__(self, store: Store, wanted: Wanted) -> Moved:
        """Do it; raises `Rejected` and `StoreFailed`."""
        if self.to is not None:
            return export_collection(store, wanted.collection, self.to, _say)
        assert self.source is not None
        return import_collection(store, wanted, self.source, replace=self.replace, on_moved=_say)

    def as_text(self, collection: str, moved: Moved) -> str:
        """What was done, as a line."""
        if self.to is not None:
            return f"{collection}: {moved.passages} passages exported to {self.to}"
        switched = "; built anew and switched" if moved.switched else ""
        return f"{collection}: {moved.passages} passages imported from {self.source}{switched}"


def moving_options(command: Command) -> Command:
    """`--export`, `--import`, `--replace` and `--milvus`: gives the command a `Move`."""

    @wraps(command)
    def with_move(
        *given: Any, export_to: Path | None, import_from: Path | None, replace: bool, milvus: str | None, **named: Any
    ) -> Any:
        # An option would stand in the list of processes, for everybody to read.
        move = Move(export_to, import_from, replace, milvus, os.environ.get(ASKED_BY_MILVUS, ""))
        if export_to is not None and import_from is not None:
            raise click.UsageError("--export and --import are two runs.")
        if replace and import_from is None:
            raise click.UsageError("--replace is for --import.")
        if milvus is not None and not move.is_asked:
            raise click.UsageError("--milvus is for --export and --import.")
        return command(*given, move=move, **named)

    made: Any = with_move
    for option in reversed(_OPTIONS):
        made = option(made)
    return made  # type: ignore[no-any-return]


def _address(context: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    """An address of a server; a path would be one of a database that the client opens itself."""
    if given is None:
        return None
    try:
        parts = urlsplit(given)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and not parts.username
    except ValueError:
        fits = False
    if not fits:
        raise click.BadParameter(f"{given!r} is no address such as http://127.0.0.1:19530", context, parameter)
    return given


_OPTIONS = (
    click.option(
        "--export", "export_to", type=OUT_FILE, metavar="FILE", help="Write the collection with its vectors to FILE."
    ),
    click.option(
        "--import",
        "import_from",
        type=IN_FILE,
        metavar="FILE",
        help="Let the collection be what --export wrote to FILE; it must have been built as the bundle expects.",
    ),
    click.option("--replace", is_flag=True, help="With --import: in place of the documents that are there."),
    click.option(
        "--milvus",
        metavar="URL",
        callback=_address,
        help="With --export and --import: the Milvus that is asked, not the bundle's; MILVUS_TOKEN is its password.",
    ),
)


def _say(done: int, total: int | None) -> None:
    if done and done % _SAID_EACH == 0:
        of = "" if total is None else f" of {total:,}"
        print(f"ingest: {done:,}{of} passages", file=sys.stderr, flush=True)
