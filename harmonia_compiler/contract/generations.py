"""Which generations of a service its gateway serves: `run/generations.json`, written by the target that replaces them.

A generation is a bundle that took, or is to take, the place of the one before in a running service. Its files lie in
`run/generations/NUMBER/`, and beside them where its replicas listen. A request belongs to the generation that it came
to; new ones are divided by `share`. A service that was never replaced may have no such document.
"""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

FORMAT_VERSION = 1

#: The document, and the folder of generations, both below `run/`; and where the replicas of one listen, in its folder.
GENERATIONS, FOLDER, ENDPOINTS = "generations.json", "generations", "endpoints.json"

Number = Annotated[int, Meta(ge=1, le=2**31)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Serving(msgspec.Struct, frozen=True):
    """A generation, and the part of new requests that it gets."""

    number: Number
    share: Share


class Generations(msgspec.Struct, frozen=True):
    """All that are served; the first one is the service's, which its controller looks after. `epoch` grows."""

    epoch: Annotated[int, Meta(ge=1, le=2**53)]
    serving: Annotated[tuple[Serving, ...], Meta(min_length=1)]
    format_version: int = FORMAT_VERSION


def folder_of(run: Path, number: int) -> Path:
    """Where the files of a generation lie, given a service's `run/`."""
    return run / FOLDER / str(number)
