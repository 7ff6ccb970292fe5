"""The quickstart in real containers: real vLLM, real Milvus, asked with the `openai` client, killed and scaled.

Once with all of them on the host's own network, and once on a bridge of their own.

    HARMONIA_WORKER_IMAGE=harmonia-worker:test python -m pytest -m docker tests/compose

It needs an engine of Docker's and an image that holds the worker with vLLM for CPU, and skips where one is not there.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from harmonia_compiler.contract.decision import KEPT
from harmonia_compiler.runtime.actuators.actuator import actuator_for
from harmonia_compiler.runtime.actuators.compose.docker import Docker
from tests.compose.conftest import why_no_compose
from tests.engines.conftest import RunningService, harmoniac

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

IMAGE = os.environ.get("HARMONIA_WORKER_IMAGE", "")
PATIENCE_S = 240


def why_no_engine() -> str:
    return why_no_compose() or why_no_image("HARMONIA_WORKER_IMAGE", "the worker")


def why_no_image(variable: str, of: str) -> str:
    """Why Docker's engine has not the image that a variable names; empty where it has."""
    image = os.environ.get(variable, "")
    if not image:
        return f"{variable} names no image of {of}"
    found = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False, timeout=60)
    return "" if found.returncode == 0 else f"there is no engine of Docker's here that has the image {image}"


@pytest.fixture(scope="module", params=["host", "bridge"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    if why := why_no_engine():
        pytest.skip(why)
    with started(tmp_path_factory.mktemp("compose"), f'network = "{request.param}"\nscale_out = 1\n') as service:
        yield service


@contextmanager
def started(folder: Path, more: str) -> Iterator[RunningService]:
    """The quickstart, filled, with more in its site profile than the image and the ports."""
    bundle = compiled(folder, IMAGE, more)
    try:
        harmoniac("up", str(bundle))
        harmoniac("ingest", "README.md", "--component", "search", "--service", str(bundle))
        where = json.loads((bundle / "run" / "gateway.json").read_text())
        yield RunningService(bundle, f"http://{where['host']}:{where['port']}")
    finally:
        harmoniac("down", str(bundle))
        assert Docker(bundle, os.environ).containers() == {}
        assert {path.name for path in (bundle / "run").iterdir()} <= {"logs", KEPT}


def compiled(folder: Path, image: str, more: str, first_port: int = 23_100) -> Path:
    bundle, site, inventory = folder / "bundle", folder / "site.toml", folder / "inventory.toml"
    site.write_text(f'[compose]\nfirst_port = {first_port}\nworker_image = "{image}"\n{more}')
    inventory.write_text(harmoniac("inventory", "detect").stdout)
    given = ("--inventory", str(inventory), "--site", str(site), "--target", "compose", "--out", str(bundle))
    harmoniac("compile", "samples/quickstart.rag", *given)
    return bundle


def until(what: Callable[[], bool], service: RunningService) -> None:
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end, service.status()
        time.sleep(1)


def process(service: RunningService, name: str) -> dict[str, Any]:
    found = service.status()
    everyone: list[dict[str, Any]] = [*found["processes"], *found["beside"]]
    return next((one for one in everyone if one["name"] == name), {"phase": "", "restarts": 0, "pid": None})


def come_back(service: RunningService, before: dict[str, dict[str, Any]]) -> None:
    """Await that those which were killed have started again and serve, as the keeper and the gateway both see it."""
    until(lambda: all(process(service, name)["pid"] not in (None, was["pid"]) for name, was in before.items()), service)
    # What the gateway is told a moment later, it says itself.
    until(lambda: bool(service.status()["ready"]) and is_ready(service), service)


def is_ready(service: RunningService) -> bool:
    try:
        return httpx.get(f"{service.url}/readyz", timeout=10).is_success
    except httpx.TransportError:
        return False


def ask(service: RunningService) -> str:
    with OpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0, timeout=120) as client:
        answer = client.chat.completions.create(
            model="quickstart", messages=[{"role": "user", "content": "Which command starts a bundle?"}]
        )
    return str(answer.choices[0].message.content)


def test_it_answers(running: RunningService) -> None:
    assert ask(running).strip()
    assert running.status()["ready"]


def test_a_killed_container_comes_back(running: RunningService) -> None:
    before = process(running, "minilm-0")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, running)
        os.kill(before["pid"], signal.SIGKILL)
        asked.exception()  # what was cut may fail, and ends
    come_back(running, {"minilm-0": before})
    assert process(running, "minilm-0")["restarts"] > before["restarts"]
    assert ask(running).strip()


def test_the_controller_adds_a_replica_under_load(running: RunningService) -> None:
    def added() -> set[str]:
        served = json.loads((running.bundle / "run/endpoints.json").read_text())["replicas"]
        return {one["replica"] for one in served if "-more-" in one["replica"]}

    with ThreadPoolExecutor(4) as pool:
        ended = threading.Event()

        def keep_asking() -> int:
            answers = 0
            while not ended.is_set():
                answers += bool(ask(running).strip())
            return answers

        asked = [pool.submit(keep_asking) for _ in range(4)]
        try:
            until(lambda: bool(added()), running)
        finally:
            ended.set()
        assert all(one.result() for one in asked)
    assert running.status()["ready"]


def test_more_replicas_than_the_bundle_has_room_for_are_refused(running: RunningService) -> None:
    actuator = actuator_for("compose")
    assert actuator is not None
    with pytest.raises(OSError, match="between 1 and 2"):
        actuator.scale(running.bundle, {"minilm": 3})


def test_a_keeper_that_is_killed_is_followed_by_another(running: RunningService) -> None:
    before = ids(running)
    kill_keeper(running)
    harmoniac("up", str(running.bundle))
    assert ids(running) == before
    assert ask(running).strip()

    def said_once() -> bool:
        """Whether the log of a container that was not killed has each line that it wrote, and no line twice."""
        told = subprocess.run(["docker", "logs", before["rerank-0"]], capture_output=True, check=True, timeout=60)
        log = (running.bundle / "run/logs/rerank-0.log").read_bytes()
        return sorted(log.splitlines()) == sorted((told.stdout + told.stderr).splitlines())

    until(said_once, running)


def test_a_keeper_that_takes_over_may_be_asked_for_a_replica_meanwhile(running: RunningService) -> None:
    actuator = actuator_for("compose")
    assert actuator is not None
    before = ids(running)
    kill_keeper(running)

    def asked() -> bool:
        try:
            actuator.scale(running.bundle, {"minilm": 2})
        except OSError:
            return False
        return True

    with ThreadPoolExecutor(1) as pool:
        taking_over = pool.submit(harmoniac, "up", str(running.bundle))
        until(asked, running)
        taking_over.result()
    assert ids(running).items() >= {name: one for name, one in before.items() if "-more-" not in name}.items()
    assert ask(running).strip()


def test_what_is_removed_while_it_runs_is_put_back(running: RunningService) -> None:
    run = running.bundle / "run"
    there = [run / "service/endpoints.json", *(run / f"logs/{name}.log" for name in (*ids(running), "supervisor"))]
    containers = ids(running)
    # One whose log is followed anew, and who asks where the replicas are.
    killed = {name: process(running, name) for name in ("minilm-0", "gateway")}
    shutil.rmtree(run / "logs")
    (run / "service/endpoints.json").unlink()
    docker("kill", "--signal", "KILL", *(containers[name] for name in killed))
    come_back(running, killed)
    until(lambda: all(path.is_file() for path in there), running)
    assert ask(running).strip()


def test_a_start_that_fails_shows_what_was_said(tmp_path: Path) -> None:
    if why := why_no_engine():
        pytest.skip(why)
    image = "harmonia-worker:no-python"
    container = docker("create", IMAGE, "true").strip()
    docker("commit", "--change", "ENV PYTHONHOME=/nowhere", container, image)
    try:
        # Another service may still have the usual ports.
        bundle = compiled(tmp_path, image, 'network = "host"\n', first_port=23_200)
        done = harmoniac("up", str(bundle), check=False)
        assert done.returncode == 1
        (failed,) = re.findall(r"`([\w-]+)` did not become ready: it ended with exit code 1", done.stderr)
        said = f"{done.stdout}{done.stderr}"
        assert f"the last lines of {failed}'s log:" in said
        assert "No module named 'encodings'" in said
        assert "No module named 'encodings'" in harmoniac("logs", str(bundle), failed).stdout
        assert Docker(bundle, os.environ).containers() == {}
    finally:
        docker("rm", container)
        docker("rmi", image)


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, check=True, text=True, timeout=300).stdout


def kill_keeper(service: RunningService) -> None:
    os.kill(json.loads((service.bundle / "run/lock").read_text())["pid"], signal.SIGKILL)


def ids(service: RunningService) -> dict[str, str]:
    """The containers that there are, by their services."""
    return {name: one["Id"] for name, one in Docker(service.bundle, os.environ).containers().items()}
