"""Whose service it is: what may not be read under `DIR/run` is not taken for what is not there.

A service's files are readable by its owner alone, so that to anybody else it looks like none. Whoever may not look is
told so, and that before anything is said of the service, or started on top of it.
"""

import os
import pwd
from pathlib import Path

from harmonia_compiler.contract.regular import open_regular
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.shell import shell_word

#: What tells whether a service runs, and where: `rundir.py` says what is in them.
_TELLING = ("lock", "state.json", "endpoints.json", "gateway.json")


def check_readable(bundle: Path) -> None:
    """Raise `Rejected` where somebody else's service may run from a bundle, and this user may not see whether."""
    for name in _TELLING:
        file = bundle / "run" / name
        try:
            with open_regular(file):
                pass
        except PermissionError:
            raise _closed(bundle, file) from None
        except OSError:
            # Missing or damaged, which whoever reads it says.
            continue


def of_another(bundle: Path, owner: int) -> Rejected:
    """What only the user may do who started the service of a bundle is asked for by somebody else."""
    name = name_of(owner)
    return _rejected(f"the service of `{bundle}` is that of the user {name}, not of {name_of(os.geteuid())}", _as(name))


def _closed(bundle: Path, file: Path) -> Rejected:
    place, owner = _closing(file)
    if owner == os.geteuid():
        message = f"`{place}` is closed to its owner, so that nobody can tell what runs from `{bundle}`"
        return _rejected(message, f"open it with `chmod -R u+rwX {shell_word(place)}`")
    name, mine = name_of(owner), name_of(os.geteuid())
    return _rejected(f"`{place}` belongs to the user {name}, and {mine} may not see what runs from there", _as(name))


def _as(name: str) -> str:
    return f"do this as {name}, who started the service: `sudo -u {shell_word(name)} harmoniac …`"


def _rejected(message: str, help_: str) -> Rejected:
    return Rejected([Diagnostic("E0925", message, help=help_)])


def _closing(file: Path) -> tuple[Path, int]:
    """What keeps from reading a file, and whose it is: the file itself, or the folder that keeps from looking at it.

    Root may have started the service from a folder of the user's own, where its files are root's.
    """
    for at in (file, *file.absolute().parents):
        try:
            return at, at.stat().st_uid
        except OSError:
            continue
    return file, 0


def name_of(user: int) -> str:
    """What a user is called, as `sudo -u` takes it."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"
