"""Where docker compose is on this machine, and bundles for it."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.emit.conftest import late, quickstart  # noqa: F401 - fixtures of these tests too
from tests.ingest.conftest import milvus_server  # noqa: F401 - likewise

WEIGHTS = {f"HARMONIA_WEIGHTS_{number}": f"/models/{number}" for number in range(1, 9)}


@pytest.fixture(autouse=True)
def _let_go(tmp_path: Path) -> Iterator[None]:
    """What still opens a store at the end of a test does so no longer, whoever has asked for it."""
    yield
    if (tmp_path / "bin").is_dir():
        (tmp_path / "bin" / "go").touch()


def why_no_compose() -> str:
    """Why compose files cannot be validated here; empty where they can. `docker compose config` needs no engine."""
    docker = shutil.which("docker")
    if docker is None:
        return "docker is not installed"
    done = subprocess.run([docker, "compose", "version"], capture_output=True, text=True, check=False, timeout=60)
    return (
        "" if done.returncode == 0 else "docker has no compose plugin (DOCKER_CONFIG names the folder of cli-plugins)"
    )


def compose_config(folder: Path, *files: str, given: Mapping[str, str] = WEIGHTS) -> subprocess.CompletedProcess[str]:
    """What Compose makes of files, as JSON."""
    named = [word for file in files for word in ("-f", file)]
    command = ["docker", "compose", *named, "--profile", "further", "config", "--format", "json"]
    outer = {name: value for name, value in os.environ.items() if not name.startswith("HARMONIA")}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=60, env={**outer, **given}
    )


@pytest.fixture(scope="session")
def docker_compose() -> None:
    if why := why_no_compose():
        pytest.skip(why)
