"""Which documents a run may delete, by where they come from, and what it says of those that it leaves."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import PurePath

from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.shell import shell_word
from harmonia_compiler.ingest.discover import Tree, is_within

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Options:
    """What the user decides.

    `prune` deletes what is gone from the given paths, `forget` has places whose documents go where no
    given path holds them, and `forget_rest` deletes all that is from other paths than the given ones.
    `reembed` allows to build a collection anew whose record differs from what is wanted.
    """

    prune: bool = True
    reembed: bool = False
    forget: tuple[str, ...] = ()
    forget_rest: bool = False


DEFAULTS = Options()


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run is about. `unread` are the places of files that are there and give no document.

    A `fresh` collection has never served: it gets what this run gives it, and nothing of earlier attempts.
    """

    tree: Tree
    options: Options = DEFAULTS
    unread: Collection[str] = ()
    fresh: bool = False

    def covers(self, place: str) -> bool:
        """Whether the user said what is to become of a document there: it lies under a path of this run."""
        return self.forgets(place) or any(is_within(place, root) for root in self.tree.roots)

    def forgets(self, place: str) -> bool:
        """Whether the user said that a document there goes where no given path holds it."""
        return any(is_within(place, root) for root in self.options.forget)

    def is_gone(self, place: str) -> bool:
        """Whether to delete a stored document whose place no file of this run has."""
        if place in self.unread or any(is_within(place, folder) for folder in self.tree.closed):
            return False
        if self.fresh or self.forgets(place):
            return True
        within = any(is_within(place, root) for root in self.tree.roots)
        return self.options.prune if within else self.options.forget_rest


def report_unforgotten(scope: Scope, stored: Collection[str], collection: str, findings: Findings) -> None:
    """Say which places to forget had nothing to forget; a mistyped one must not look like success."""
    here = {file.place for file in scope.tree.files}
    for root in scope.options.forget:
        if not any(is_within(place, root) for place in stored if place not in here):
            message = f"`{collection}` holds no documents from `{root}` that could be forgotten"
            if any(is_within(place, root) for place in stored):
                advice = "the given paths hold them; leave these out"
            else:
                folders = sorted({str(PurePath(place).parent) for place in stored})
                advice = f"it holds documents from {_listed(folders)}" if folders else "it is empty"
            findings.add("W1004", message, help=advice)


def report_lost(scope: Scope, stored: Iterable[str], collection: str, findings: Findings) -> None:
    """Say which documents stay though their files are gone, since no path of this run has to do with them."""
    lost = [place for place in stored if not scope.covers(place) and not os.path.lexists(place)]
    if lost and not scope.options.forget_rest:
        what = f"{len(lost)} documents" if len(lost) > 1 else "a document"
        gone = sorted({_topmost_gone(place) for place in lost})
        message = f"`{collection}` still holds {what} of files that are gone from {_listed(gone)}"
        forget = " ".join(f"--forget {shell_word(place)}" for place in gone[:_NAMED])
        findings.add("W1003", message, help=f"to delete what is left of them: {forget}")


def _topmost_gone(place: str) -> str:
    """The folder whose absence explains that of the file, or the file."""
    while not os.path.lexists(above := str(PurePath(place).parent)):
        place = above
    return place


def _listed(places: list[str]) -> str:
    return ", ".join(f"`{place}`" for place in places[:_NAMED]) + (", …" if len(places) > _NAMED else "")
