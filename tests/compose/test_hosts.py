"""Containers that are there in seconds, on bridges: the files of two hosts, and a controller that adds a replica.

Each of two hosts' files is started by itself, and a network joins them: both hosts are this machine, where a bridge
stands for the network that spans hosts.

    HARMONIA_WORKER_IMAGE=harmonia-worker:test python -m pytest -m docker tests/compose/test_hosts.py
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import msgspec
import psutil
import pytest
from openai import OpenAI, OpenAIError

from harmonia_compiler.contract.plan import Configuration, PipelineShare, Predicted, ProfileUse, Replica
from harmonia_compiler.runtime.actuators.actuator import ProcessStatus
from harmonia_compiler.runtime.actuators.compose import ACTUATOR
from harmonia_compiler.runtime.actuators.compose.preparing import owner
from tests.compose.test_docker import IMAGE, why_no_engine
from tests.emit.conftest import Planned, planned

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

HOSTS = ("gpu01", "gpu02")
#: The name stands in the files; of that of a compose project there is one for each host.
NETWORK = "harmonia"
FIRST_PORT = 24100

_CODE = """
import os
import time


def seen(question):
    time.sleep({takes_s})
    return os.uname().nodename
"""
_RAG = """component see(question: text) -> text = python("seeing:seen")

pipeline look(question: text) -> text {
    load 1 rps
    return see(question)
}
"""


def docker(*words: str, cwd: Path | None = None, check: bool = True) -> str:
    user, group = owner()
    done = subprocess.run(
        ["docker", *words],
        cwd=cwd,
        env={**os.environ, "HARMONIA_USER": f"{user}:{group}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


def write(folder: Path, hosts: Sequence[str], site: str = "", takes_ms: float = 50.0) -> Path:
    """A bundle with a replica on each host, whose controller knows how long a call takes."""
    project = folder / "project"
    project.mkdir()
    (project / "seeing.py").write_text(_CODE.replace("{takes_s}", str(takes_ms / 1000.0)))
    (project / "look.rag").write_text(_RAG)
    made = planned(project / "look.rag", root=project)
    (engine,) = made.plan.engines
    config = Configuration(0.5, 0.5, batch=4)
    plan = msgspec.structs.replace(
        made.plan,
        pipelines=(PipelineShare("look", 1.0, {"see": 1.0}),),
        replicas=tuple(Replica(f"see-{host}", engine, host, (), 0.5, 0.5, config, ("see",)) for host in hosts),
        profiles=(ProfileUse(engine, config.describe(), "a test", 4000.0 / takes_ms, takes_ms),),
        predicted={"look": Predicted(50.0, 100.0, 100.0, 0.0, engine)},
    )
    site = f'[compose]\nworker_image = "{IMAGE}"\nfirst_port = {FIRST_PORT}\n{site}'
    Planned(made.application, plan, project).write(folder / "bundle", "compose", site)
    return folder / "bundle"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[None]:
    """The service, brought up as the guide says, with a copy of the bundle for each host."""
    if why := why_no_engine():
        pytest.skip(why)
    if NETWORK in docker("network", "ls", "--format", "{{.Name}}").split():
        pytest.skip(f"this engine has a network named {NETWORK} already")
    bundle = write(tmp_path, HOSTS)
    folders = {host: tmp_path / host for host in HOSTS}
    docker("network", "create", NETWORK)
    try:
        for host, folder in folders.items():
            shutil.copytree(bundle, folder)
            for name in ("run/service", "run/control"):
                (folder / name).mkdir(parents=True)
            shutil.copy(folder / "compose/endpoints.json", folder / "run/service")
            for path in (folder / "run").rglob("*"):
                os.chown(path, *owner())
            docker(*_files(host), "up", "--detach", "--wait", cwd=folder)
        yield
    finally:
        for host, folder in folders.items():
            if folder.is_dir():
                docker(*_files(host), "down", "--timeout", "5", cwd=folder, check=False)
        docker("network", "rm", NETWORK)


def _files(host: str) -> tuple[str, ...]:
    return ("compose", "-p", f"harmonia-{host}", "-f", f"compose.{host}.yaml", "-f", "compose.overlay.yaml")


def container(host: str) -> str:
    return docker("ps", "--quiet", "--filter", f"label=com.docker.compose.service=see-{host}")


@dataclass
class Clients:
    """What clients were told who ask one question after the other, and what failed."""

    url: str
    answers: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def asking(self, number: int) -> Iterator[None]:
        """Ask for as long as this lasts."""
        enough = Event()
        with OpenAI(base_url=self.url, api_key="unused", max_retries=0, timeout=30) as client:

            def keep_asking() -> None:
                while not enough.is_set():
                    try:
                        answer = client.chat.completions.create(
                            model="look", messages=[{"role": "user", "content": "where?"}]
                        )
                        self.answers.append(str(answer.choices[0].message.content))
                    except OpenAIError as problem:
                        self.failures.append(str(problem))

            with ThreadPoolExecutor(number) as pool:
                asked = [pool.submit(keep_asking) for _ in range(number)]
                try:
                    yield
                finally:
                    enough.set()
                for one in asked:
                    one.result()


def test_hosts_serve_together_and_the_loss_of_one_of_two_replicas_fails_no_request(started: None) -> None:
    clients = Clients(f"http://127.0.0.1:{FIRST_PORT}/v1")
    before = [container(host)[:12] for host in HOSTS]
    with clients.asking(4):
        until(lambda: {*clients.answers} == {*before})
        pid = int(docker("inspect", "--format", "{{.State.Pid}}", container("gpu02")))
        docker("kill", "--signal", "KILL", container("gpu02"))
        until(lambda: not Path(f"/proc/{pid}").exists())
        since = len(clients.answers)
        until(lambda: len(clients.answers) > since + 40)
        assert {*clients.answers[since + 8 :]} == {before[0]}
        docker("start", before[1])
        until(lambda: before[1] in clients.answers[since + 8 :])
    assert clients.failures == []


def test_a_killed_container_comes_back_and_it_is_said_how_it_ended(tmp_path: Path) -> None:
    if why := why_no_engine():
        pytest.skip(why)
    bundle = write(tmp_path, ["here"])

    def replica() -> ProcessStatus:
        return next(one for one in ACTUATOR.status(bundle).processes if one.name == "see-here")

    try:
        assert ACTUATOR.start(bundle, port=None, reembed=False, timeout_s=120, watch=lambda _: None)
        pid = replica().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: replica().restarts == 1 and replica().phase == "ready")
        assert (replica().last_exit, replica().pid == pid) == ("exit code 137 (SIGKILL)", False)
    finally:
        ACTUATOR.stop(bundle)


def test_on_a_bridge_the_controller_adds_a_replica_and_what_is_let_go_ends_its_calls(tmp_path: Path) -> None:
    if why := why_no_engine():
        pytest.skip(why)
    bundle = write(tmp_path, ["here"], "scale_out = 1\n", takes_ms=400.0)
    ((engine, _),) = ACTUATOR.room(bundle).items()
    try:
        assert ACTUATOR.start(bundle, port=None, reembed=False, timeout_s=120, watch=lambda _: None)
        clients = Clients(f"{ACTUATOR.status(bundle).url}/v1")
        with clients.asking(16):
            until(lambda: len({*clients.answers}) == 2, 120)
            # Its own wish would be another one in a moment: nobody else is to have a say.
            (controller,) = (one for one in ACTUATOR.status(bundle).beside if one.name == "controller")
            assert controller.pid is not None
            stopped = psutil.Process(controller.pid).children(recursive=True)
            for one in stopped:
                one.suspend()
            try:
                ACTUATOR.scale(bundle, {engine: 1})
                until(lambda: len({*clients.answers[-40:]}) == 1, 120)
            finally:
                for one in stopped:
                    one.resume()
        assert clients.failures == []
    finally:
        ACTUATOR.stop(bundle)
    assert sorted(path.name for path in (bundle / "run").iterdir()) == ["logs"]


def until(so: Callable[[], bool], limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while not so():
        assert time.monotonic() < end
        time.sleep(0.2)
