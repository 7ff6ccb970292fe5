"""Finds the live supervisor of a bundle, whatever somebody removed from its run directory.

The lock says who may become the supervisor; who it is, is said in three places. The two files can be removed under it
(it writes them anew, but not at once), and what it was started with cannot.
"""

import contextlib
from pathlib import Path

import psutil

from harmonia_compiler.runtime.actuators.supervision.pids import SUPERVISES, Ident, is_alive, marked_with
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory


def keeper_of(bundle: Path, run: RunDirectory) -> Ident | None:
    """The live supervisor that the lock names, or else the state, or that bears the bundle's mark."""
    named = _named(run)
    return named[0] if named else next(iter(_marked(bundle)), None)


def keepers_of(bundle: Path, run: RunDirectory) -> list[Ident]:
    """The same and any other: one that was robbed of its lock lives on until it notices that somebody else has it."""
    return list(dict.fromkeys([*_named(run), *_marked(bundle)]))


def _marked(bundle: Path) -> list[Ident]:
    """Those that bear the mark of what was here when they began, and whose folder is nowhere else now."""
    return [one for one in marked_with(bundle, SUPERVISES) if not _was_moved(one, bundle)]


def _was_moved(keeper: Ident, bundle: Path) -> bool:
    """Whether a keeper, which runs in the folder of its bundle, is that of another one, which was here before.

    One whose folder was removed is about to end, and is whoever is here until then.
    """
    with contextlib.suppress(psutil.Error, OSError):
        return not Path(psutil.Process(keeper.pid).cwd()).samefile(bundle)
    return False


def _named(run: RunDirectory) -> list[Ident]:
    # What a lock says that nobody holds may have been copied here, or been written by anybody.
    said = (run.holder() if run.is_locked() else None, run.last_supervisor())
    return [named for named in said if named is not None and is_alive(named)]
