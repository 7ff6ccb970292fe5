"""Fetches weights for a command, and shows how far that is: a bar on a terminal, lines elsewhere."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from harmonia_compiler.runtime.fetching import Said, Tell, fetch

#: How often it is said how far it is where nobody watches a terminal, in seconds.
_SAY_EVERY_S = 10.0


def fetched(models: Iterable[str]) -> list[Path]:
    """Where the weights of each are, one after the other; raises `Rejected` where they cannot be had."""
    places = []
    for model in models:
        with _progress(model) as tell:
            places.append(fetch(model, os.environ, tell))
    return places


@contextmanager
def _progress(model: str) -> Iterator[Tell]:
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _Lines(model)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True))
    with Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(model, total=None, visible=False)
        yield lambda said: bar.update(task, completed=said.bytes, total=said.of, visible=said.of > 0)


class _Lines:
    """A line when it begins, and one from time to time."""

    def __init__(self, model: str) -> None:
        self._model, self._said = model, 0.0

    def __call__(self, said: Said) -> None:
        """Print how far it is, where that is due."""
        now = time.monotonic()
        if said.of and (not self._said or now - self._said > _SAY_EVERY_S):
            self._said = now
            parts = f"{said.bytes / 2**30:.2f} of {said.of / 2**30:.2f} GiB"
            print(f"fetching {self._model}: {parts}", file=sys.stderr, flush=True)
