"""`harmoniac ingest`: brings a collection of a running service in line with files and folders."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from harmonia_compiler.cli.exits import DIAGNOSTICS
from harmonia_compiler.cli.moving import ASKED_BY_MILVUS, Move, moving_options
from harmonia_compiler.cli.options import PATH, WRITTEN_PATH, format_option
from harmonia_compiler.cli.output import findings_document, print_diagnostics, print_json
from harmonia_compiler.cli.stopping import stopped_as_by_hand
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.shell import shell_word
from harmonia_compiler.ingest.discover import Tree, discover, place_of
from harmonia_compiler.ingest.embed import Embedder
from harmonia_compiler.ingest.lock import locked
from harmonia_compiler.ingest.run import ingest
from harmonia_compiler.ingest.scope import Options
from harmonia_compiler.ingest.target import Place, Target, locate, place
from harmonia_compiler.ingest.writing import OnProgress, Progress, Report
from harmonia_compiler.runtime.milvus import Milvus, StoreFailed


@click.command(name="ingest")
@click.argument("paths", nargs=-1, metavar="PATH...", type=WRITTEN_PATH)
@click.option("--component", help="Whose collection is filled, made from `milvus`; needed where there are several.")
@click.option("--service", default="bundle", show_default=True, type=PATH, help="The running bundle.")
@click.option(
    "--base",
    show_default="the current folder, for new documents",
    type=WRITTEN_PATH,
    help="Passages name their documents by the paths from this folder.",
)
@click.option("--prune/--no-prune", default=True, help="Delete documents that are gone from the paths. On by default.")
@click.option("--reembed", is_flag=True, help="Build a collection anew that was built otherwise, then switch to it.")
@click.option(
    "--forget",
    multiple=True,
    metavar="PATH",
    type=WRITTEN_PATH,
    help="Delete what was ingested from there and is not under PATH...; the path need not exist any more.",
)
@click.option("--forget-rest", is_flag=True, help="Delete what was ingested from anywhere else than PATH...")
@moving_options
@format_option
@click.pass_context
def command(
    context: click.Context,
    paths: tuple[str, ...],
    component: str | None,
    service: Path,
    base: str | None,
    forget: tuple[str, ...],
    *,
    prune: bool,
    reembed: bool,
    forget_rest: bool,
    move: Move,
    form: str,
) -> None:
    """Load the Markdown, text, HTML and PDF files of PATH... into a collection of a running service.

    A second run over the same paths adds, updates and deletes only what changed. With --export and --import a
    collection moves, with its vectors, from one service to another by way of a file.
    """
    if move.is_asked:
        if paths or base is not None or forget or forget_rest or reembed or not prune:
            raise click.UsageError("--export and --import take no PATH..., and no option about documents.")
        with stopped_as_by_hand():
            _move(move, place(service, component), form)
        return
    if not paths and not forget:
        raise click.UsageError("Missing argument 'PATH...'.")
    target = locate(service, component)
    tree = discover([_path(path) for path in paths], None if base is None else _path(base))
    if any(finding.code in _STOPS for finding in tree.findings):
        raise Rejected(tree.findings)
    forgotten = tuple(place_of(_path(path)) for path in forget)
    with stopped_as_by_hand():
        report = _run(target, tree, service, Options(prune, reembed, forgotten, forget_rest))
    if form == "json":
        print_json(_document(report, target))
    else:
        print_diagnostics(report.findings)
        click.echo(_as_text(report, target))
        if reembed and not report.switched and not any(finding.code == "W1005" for finding in report.findings):
            click.echo(f"nothing was to be built anew: `{target.wanted.collection}` is as the running plan expects it")
    if any(finding.is_error for finding in report.findings):
        context.exit(DIAGNOSTICS)


#: Findings about the paths themselves: a mistyped one must not look like documents that are gone.
_STOPS = {"E1001", "E1002"}


def _path(given: str) -> Path:
    """A path as it was given; an empty one, most often an unset variable of a script, is not the current folder."""
    if not given:
        raise Rejected([Diagnostic("E1001", "an empty path was given", help="for the current folder, give `.`")])
    return Path(given)


#: A line of a terminal holds a bar and some numbers beside it.
_MOST_NAME = 30

_GO_ON = "the same command goes on where this one stopped"


def _run(target: Target, tree: Tree, service: Path, options: Options) -> Report:
    collection = target.wanted.collection
    unswitched: list[Diagnostic] = []
    try:
        with (
            _store(service, collection, target.uri) as store,
            Embedder(target.engine, target.embedders, _see(service)) as embed,
            _progress(collection) as on_progress,
        ):
            return ingest(store, embed, target.wanted, tree, options, on_progress, unswitched.append)
    except Rejected as rejected:
        raise Rejected([*rejected.found, *unswitched]) from rejected
    except KeyboardInterrupt:
        print_diagnostics(unswitched)
        if not unswitched:
            click.echo(f"interrupted: `{collection}` keeps what was embedded; {_GO_ON}", err=True)
        raise


def _see(service: Path) -> str:
    return f"`harmoniac status {shell_word(service)}` shows whether it runs"


@contextmanager
def _store(service: Path, collection: str, uri: str, move: Move | None = None) -> Iterator[Milvus]:
    """The store, while nothing else of this bundle changes the collection; says what it fails with."""
    is_own = move is None or move.milvus is None
    token = "" if move is None or is_own else move.token
    try:
        with locked(service / "run", collection), closing(Milvus(uri, token=token)) as store:
            yield store
    except StoreFailed as failure:
        see = _see(service)
        if not is_own:
            see = f"see that it listens there, and that {ASKED_BY_MILVUS} holds what it asks for, if it does"
        help_text = f"{see}; running this again repairs what is half done"
        raise Rejected([Diagnostic("E1012", f"Milvus failed: {failure}", help=help_text)]) from failure


def _move(move: Move, at: Place, form: str) -> None:
    wanted = at.wanted
    with _store(at.bundle, wanted.collection, move.milvus or at.uri(), move) as store:
        moved = move(store, wanted)
    if form == "json":
        counts = {"passages": moved.passages, "switched": moved.switched}
        print_json(findings_document([], collection=wanted.collection, **counts))
    else:
        click.echo(move.as_text(wanted.collection, moved))


@contextmanager
def _progress(collection: str) -> Iterator[OnProgress]:
    """A bar for a person at a terminal, a line at each tenth for a log."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = (
        TextColumn("ingesting into {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("documents, {task.fields[chunks]} chunks{task.fields[doing]}", markup=False),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(collection, total=None, chunks=0, doing="")

        def show(at: Progress) -> None:
            bar.update(task, completed=_completed(at), total=at.total, chunks=at.chunks, doing=_doing(at))

        yield show


def _lines() -> OnProgress:
    shown = -1

    def show(at: Progress) -> None:
        nonlocal shown
        if at.looks:
            return
        tenth = int(10 * _completed(at) / at.total) if at.total else 10
        if tenth > shown:
            shown = tenth
            said = f"ingest: {at.done} of {at.total} documents, {at.chunks} chunks{_doing(at)}"
            print(said, file=sys.stderr, flush=True)

    return show


def _completed(at: Progress) -> float:
    """The documents that are written, with the part of the one at hand."""
    return at.done + (at.share or 0.0)


def _doing(at: Progress) -> str:
    """What is done with the document at hand, by the end of its name, which is the part that differs."""
    if not at.name:
        return ""
    name = "".join(char if char.isprintable() else " " for char in at.name)
    name = name if len(name) <= _MOST_NAME else f"…{name[1 - _MOST_NAME :]}"
    if at.looks:
        return f"; looking at {name}"
    return f"; reading {name}" if at.share is None else f"; embedding {name}"


def _as_text(report: Report, target: Target) -> str:
    line = (
        f"{target.wanted.collection}: {report.added} added, {report.updated} updated, {report.deleted} deleted, "
        f"{report.unchanged} unchanged; {report.chunks} chunks embedded"
    )
    if report.empty:
        line += f"; {report.empty} without text"
    unread = sum(finding.is_error for finding in report.findings)
    if unread:
        line += f"; {unread} could not be read" + (" and were left out" if report.switched else "")
    if report.switched:
        line += "; built anew and switched"
    return line


def _document(report: Report, target: Target) -> dict[str, Any]:
    counts = {name: getattr(report, name) for name in _COUNTS}
    return findings_document(report.findings, collection=target.wanted.collection, **counts)


_COUNTS = ("added", "updated", "deleted", "unchanged", "empty", "chunks", "switched")
