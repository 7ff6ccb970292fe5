"""The quickstart over Milvus itself, in an image of its own, in place of milvus-lite's server in ours.

    HARMONIA_WORKER_IMAGE=harmonia-worker:test HARMONIA_MILVUS_IMAGE=harmonia-milvus:test \
        python -m pytest -m docker tests/compose/test_standalone.py

`tests/compose/milvus` is what such an image can be built from, where there is no registry to have one from.
"""

import os
import signal
from collections.abc import Iterator

import pytest

from harmonia_compiler.runtime.actuators.compose.docker import Docker
from tests.compose.test_docker import ask, come_back, process, started, why_no_engine, why_no_image
from tests.engines.conftest import RunningService, harmoniac

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

IMAGE = os.environ.get("HARMONIA_MILVUS_IMAGE", "")
STORE = "search-0"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    if why := why_no_engine() or why_no_image("HARMONIA_MILVUS_IMAGE", "Milvus itself"):
        pytest.skip(why)
    with started(tmp_path_factory.mktemp("standalone"), f'milvus_image = "{IMAGE}"\n') as service:
        yield service


def ingest(service: RunningService, *words: str) -> str:
    return harmoniac("ingest", *words, "--component", "search", "--service", str(service.bundle)).stdout


def test_it_answers_from_milvus_itself(running: RunningService) -> None:
    found = Docker(running.bundle, os.environ).containers()[STORE]
    assert (found["Config"]["Image"], found["Config"]["Cmd"]) == (IMAGE, ["milvus", "run", "standalone"])
    assert not found["Config"]["User"].startswith("0")
    assert ask(running).strip()
    assert running.status()["ready"]


def test_what_was_ingested_is_known_again(running: RunningService) -> None:
    assert ": 0 added, 0 updated, 0 deleted, 1 unchanged; " in ingest(running, "README.md")


def test_a_collection_leaves_and_comes_back(running: RunningService) -> None:
    """What comes is built beside what serves, which the alias then leaves."""
    file = str(running.bundle.parent / "docs.jsonl.gz")
    ingest(running, "--export", file)
    ingest(running, "--import", file, "--replace")
    assert ": 0 added, 0 updated, 0 deleted, 1 unchanged; " in ingest(running, "README.md")
    assert ask(running).strip()


def test_a_killed_store_has_its_collections_again(running: RunningService) -> None:
    before = process(running, STORE)
    os.kill(before["pid"], signal.SIGKILL)
    come_back(running, {STORE: before})
    assert ask(running).strip()
    assert ": 0 added, 0 updated, 0 deleted, 1 unchanged; " in ingest(running, "README.md")
