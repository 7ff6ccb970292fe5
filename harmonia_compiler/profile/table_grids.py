"""The grids of NVIDIA's tables on disk, so that only the first plan for a model and a GPU type loads the package.

A file says what it was made for, and counts for exactly that: another version of the package or of this format is
another file. That the package has no figures for a shape is kept as well. What cannot be read, or is somebody
else's, is made anew; where nothing can be written, it is made each time.
"""

import contextlib
import hashlib
from pathlib import Path

import msgspec

from harmonia_compiler.contract.regular import MOST_TEXT_BYTES, read_regular, write_whole
from harmonia_compiler.profile.grid import Grid, grid_of
from harmonia_compiler.profile.tables import Shape, table_of

#: Another one where a grid has other points or means another thing by them.
FORMAT_VERSION = 1


class _Kept(msgspec.Struct, frozen=True):
    format_version: int
    shape: Shape
    grid: Grid | None


def grid_for(shape: Shape, folder: Path) -> Grid | None:
    """The grid of a shape, from the folder if it is there; None where the package has no figures for it."""
    path = folder / "tables" / _name(shape)
    kept = _read(path)
    if kept is None or (kept.format_version, kept.shape) != (FORMAT_VERSION, shape):
        table = table_of(shape)
        kept = _Kept(FORMAT_VERSION, shape, None if table is None else grid_of(table))
        with contextlib.suppress(OSError):
            write_whole(path, msgspec.json.encode(kept) + b"\n")
    return kept.grid


def _name(shape: Shape) -> str:
    facts = msgspec.json.encode([FORMAT_VERSION, shape], order="deterministic")
    return f"{shape.gpu}-{shape.tensor_parallel}-{hashlib.sha256(facts).hexdigest()[:24]}.json"


def _read(path: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(read_regular(path, MOST_TEXT_BYTES), type=_Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
