"""A real Slurm for the tests that need one, and services that run on it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.emit.conftest import quickstart  # noqa: F401 - a fixture of these tests too

from .cluster import NODES, Cluster, Nodes, why_not


@contextmanager
def running(nodes: Nodes) -> Iterator[Cluster]:
    """A Slurm of these nodes, to which this process speaks; skips, and says why, where there can be none."""
    if why := why_not():
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="harmonia-slurm-"))
    found = Cluster(folder, nodes)
    before = {name: os.environ.get(name) for name in found.environment}
    os.environ.update(found.environment)
    try:
        found.start()
        yield found
    finally:
        found.stop()
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Four nodes on this machine, by turns everybody's."""
    with running(NODES) as found:
        yield found
