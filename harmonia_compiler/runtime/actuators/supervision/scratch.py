"""Where a process writes what is of no use after its end: sockets, locks, what its parts hand to each other.

Engines that are killed, as they may be at the end of a service, remove nothing of it. So each process has a folder of
its own, which whoever keeps it removes. It lies among this machine's other temporary files and not beside the state of
the service: a bundle may be on a disk that takes no sockets.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

#: The most bytes of a socket's path, and those of its name as vLLM has it: a UUID, behind a slash.
_MOST_PATH, _NAME = 107, 37


def parent(outer: Mapping[str, str]) -> Path:
    """Where such folders lie, for whoever is given this environment; from any folder the same."""
    return Path(outer.get("TMPDIR") or tempfile.gettempdir()).absolute()


def made_for(bundle: Path, outer: Mapping[str, str]) -> Path | None:
    """A new folder for a process of a bundle; None where it would be too deep for sockets, or none can be made."""
    try:
        made = Path(tempfile.mkdtemp(prefix=_begins(bundle), dir=parent(outer)))
    except OSError:
        return None
    if len(os.fsencode(made)) + _NAME <= _MOST_PATH:
        return made
    made.rmdir()
    return None


def remove_left(bundle: Path, outer: Mapping[str, str]) -> None:
    """Remove the folders of a bundle whose keeper was killed; nobody keeps it now."""
    for left in parent(outer).glob(f"{_begins(bundle)}*"):
        # Who else may write there cannot have us remove anything: a link is not followed.
        shutil.rmtree(left, ignore_errors=True)


def _begins(bundle: Path) -> str:
    return f"harmonia-{hashlib.sha256(os.fsencode(bundle)).hexdigest()[:8]}-"
