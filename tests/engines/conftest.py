"""One running service for all tests that need real engines: vLLM, Milvus, the embedder, the reranker.

It is made with the commands that a user types, so that every test here also proves those.
"""

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from harmonia_compiler.contract.decision import KEPT

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
#: How long a test may take that starts the engines as well, in seconds.
START_S = 900
#: Room for one replica of the language model: each further one keeps a core busy for half a minute while it starts.
MEMORY_GIB = 10
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs", "grammar")


@dataclass(frozen=True)
class RunningService:
    """A bundle under `up`: where it is and where its gateway listens."""

    bundle: Path
    url: str

    def status(self) -> dict[str, Any]:
        """What `harmoniac status` says, parsed; its exit code says whether all is well."""
        document: dict[str, Any] = json.loads(
            harmoniac("status", str(self.bundle), "--format", "json", check=False).stdout
        )
        return document

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON answer to a request; an error status is raised."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"content-type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            document: dict[str, Any] = json.loads(answer.read())
        return document


def harmoniac(*arguments: str, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would; a failure shows what it printed."""
    done = subprocess.run(
        [Path(sys.executable).parent / "harmoniac", *arguments],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "NO_COLOR": "1"},
    )
    if check and done.returncode != 0:
        pytest.fail(f"harmoniac {' '.join(arguments)} exited {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """All samples and `lookup.rag` compiled together for this machine, started, filled with our own documentation."""
    folder = tmp_path_factory.mktemp("engines")
    bundle, inventory = folder / "bundle", folder / "inventory.toml"
    detected = harmoniac("inventory", "detect").stdout
    bounded, hosts = re.subn(r"^memory_gib = .*$", f"memory_gib = {MEMORY_GIB}", detected, flags=re.MULTILINE)
    assert hosts == 1
    inventory.write_text(bounded)
    paths = [*sorted((ROOT / "samples").glob("*.rag")), Path(__file__).parent / "lookup.rag"]
    sources = [str(path.relative_to(ROOT)) for path in paths]
    harmoniac("compile", *sources, "--inventory", str(inventory), "--target", "local", "--out", str(bundle))
    try:
        harmoniac("up", str(bundle))
        harmoniac("ingest", *DOCUMENTS, "--component", "search", "--service", str(bundle))
        where = json.loads((bundle / "run" / "gateway.json").read_text())
        yield RunningService(bundle, f"http://{where['host']}:{where['port']}")
    finally:
        stop_and_look(bundle)


def stop_and_look(bundle: Path) -> None:
    """`down`, after which no process, no port and no lock of the service may be left. A second time is nothing."""
    processes = json.loads(harmoniac("status", str(bundle), "--format", "json", check=False).stdout)["processes"]
    trees = [psutil.Process(each["pid"]) for each in processes if each["pid"] and psutil.pid_exists(each["pid"])]
    everyone = [process for tree in trees for process in (tree, *tree.children(recursive=True))]
    harmoniac("down", str(bundle))
    assert [process for process in everyone if _lives(process)] == []
    for port in [each["port"] for each in processes if each["port"]]:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} is still open"
    left = sorted(path.name for path in (bundle / "run").glob("*") if path.name not in ("logs", KEPT))
    assert left == []


def _lives(process: psutil.Process) -> bool:
    """A zombie has ended; that nobody has fetched its exit code is up to the machine's init."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test here also starts all engines and fills them, which takes minutes where others use the cores."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(START_S))
