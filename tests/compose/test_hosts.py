"""Containers that are there in seconds, on bridges: the files of two hosts, and a controller that adds a replica.

Each of two hosts has its part started by itself, as docs/compose.md says, and a network joins them: both hosts are this
machine, where a bridge stands for the network that spans hosts.

    HARMONIA_WORKER_IMAGE=harmonia-worker:test python -m pytest -m docker tests/compose/test_hosts.py
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import msgspec
import psutil
import pytest
from openai import OpenAI, OpenAIError

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.bundle import Address
from harmonia_compiler.contract.decision import KEPT
from harmonia_compiler.contract.inventory import load_inventory
from harmonia_compiler.contract.plan import Configuration, PipelineShare, Predicted, ProfileUse, Replica
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.planner import make_plan
from harmonia_compiler.runtime.actuators.actuator import ProcessStatus
from harmonia_compiler.runtime.actuators.compose import ACTUATOR
from harmonia_compiler.runtime.actuators.compose.preparing import owner
from tests.compose.test_docker import IMAGE, why_no_engine
from tests.emit.conftest import ROOT, Planned, planned
from tests.engines.conftest import harmoniac

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

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
        replicas=tuple(
            Replica(f"see-{at}", engine, host, (), 0.5, 0.5, config, ("see",)) for at, host in enumerate(hosts)
        ),
        profiles=(ProfileUse(engine, config.describe(), "a test", 4000.0 / takes_ms, takes_ms),),
        predicted={"look": Predicted(50.0, 100.0, 100.0, 0.0, engine)},
    )
    site = f'[compose]\nworker_image = "{IMAGE}"\nfirst_port = {FIRST_PORT}\n{site}'
    Planned(made.application, plan, project).write(folder / "bundle", "compose", site)
    return folder / "bundle"


@contextmanager
def up_on_hosts(bundle: Path) -> Iterator[dict[str, Path]]:
    """The service, brought up as the guide says, with a copy of the bundle for each host."""
    if NETWORK in docker("network", "ls", "--format", "{{.Name}}").split():
        pytest.skip(f"this engine has a network named {NETWORK} already")
    folders, before = {host: bundle.parent / host for host in HOSTS}, everything()
    docker("network", "create", NETWORK)
    try:
        # The first one has the gateway, which serves as soon as it is there.
        for host, folder in reversed(folders.items()):
            shutil.copytree(bundle, folder)
            of(host, "up", folder)
        yield folders
    finally:
        for host, folder in folders.items():
            if folder.is_dir():
                of(host, "down", folder)
        docker("network", "rm", NETWORK)
    assert everything() == before
    for folder in folders.values():
        assert {path.name for path in (folder / "run").iterdir()} <= {"logs", KEPT}


def of(host: str, command: str, folder: Path, *more: str) -> str:
    """What somebody types on a host, and is told."""
    program, outer = Path(sys.executable).with_name("harmoniac"), {**os.environ, "HARMONIA_HOST": host}
    done = subprocess.run(
        [program, command, str(folder), *more], env=outer, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0 or command == "status", done.stdout + done.stderr
    return done.stdout


def everything() -> list[str]:
    return docker("ps", "--all", "--format", "{{.Names}}").split()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[str]:
    """Where the service answers."""
    if why := why_no_engine():
        pytest.skip(why)
    with up_on_hosts(write(tmp_path, HOSTS)) as folders:
        assert "this host's part" in of("gpu02", "up", folders["gpu02"])
        yield address(folders)


def address(folders: Mapping[str, Path]) -> str:
    where = msgspec.json.decode((folders["gpu01"] / "run/gateway.json").read_bytes(), type=Address)
    return f"http://{where.host}:{where.port}/v1"


def container(host: str) -> str:
    return docker("ps", "--quiet", "--filter", f"label=com.docker.compose.service=see-{HOSTS.index(host)}")


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


def test_hosts_serve_together_and_the_loss_of_one_of_two_replicas_fails_no_request(started: str) -> None:
    clients = Clients(started)
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


def test_a_pipeline_is_served_by_engines_and_a_store_on_two_hosts(tmp_path: Path) -> None:
    """Filled from the network that joins them; and a store that was killed has its collections again."""
    if why := why_no_engine():
        pytest.skip(why)
    (tmp_path / "inventory.toml").write_text(harmoniac("inventory", "detect").stdout)
    checked = check_files([ROOT / "samples/quickstart.rag"], root=ROOT)
    assert checked.application is not None
    application = optimise(checked.application)
    plan = make_plan(application, inventory=load_inventory(tmp_path / "inventory.toml"))
    # The gateway is with the embedder, and the store and the language model are not.
    kinds = {one.id: plan.engines[one.engine].kind for one in plan.replicas}
    plan = msgspec.structs.replace(
        plan,
        replicas=tuple(
            msgspec.structs.replace(one, host=HOSTS[kinds[one.id] in ("milvus", "llm")])
            for one in sorted(plan.replicas, key=lambda one: kinds[one.id] != "embedder")
        ),
    )
    site = f'[compose]\nworker_image = "{IMAGE}"\nfirst_port = {FIRST_PORT}\n'
    Planned(application, plan, ROOT).write(tmp_path / "bundle", "compose", site)
    with up_on_hosts(tmp_path / "bundle") as folders:
        front = folders["gpu01"]
        user, group = owner()
        mounts = [f"{front}:/bundle:ro", f"{front}/run/service:/bundle/run", f"{ROOT}/docs:/docs:ro"]
        docker(
            *("run", "--rm", "--network", NETWORK, "--user", f"{user}:{group}"),
            *("--tmpfs", "/tmp", "--env", "HOME=/tmp"),
            *(word for mount in mounts for word in ("--volume", mount)),
            *(IMAGE, "harmoniac", "ingest", "/docs/first-steps.md", "--component", "search", "--service", "/bundle"),
        )
        assert answer(address(folders)).strip()
        (store,) = (name for name, kind in kinds.items() if kind == "milvus")
        name = next(one for one in everything() if f"-{store}-" in one)
        killed = docker("inspect", "--format", "{{.State.StartedAt}}", name)
        docker("kill", "--signal", "KILL", name)
        until(lambda: docker("inspect", "--format", "{{.State.StartedAt}}", name) != killed, 60)
        until(lambda: json.loads(of("gpu02", "status", folders["gpu02"], "--format", "json"))["ready"], 120)
        assert answer(address(folders)).strip()


def answer(url: str) -> str:
    with OpenAI(base_url=url, api_key="unused", max_retries=0, timeout=120) as client:
        said = client.chat.completions.create(
            model="quickstart", messages=[{"role": "user", "content": "Which command starts a bundle?"}]
        )
    return str(said.choices[0].message.content)


def test_a_killed_container_comes_back_and_it_is_said_how_it_ended(tmp_path: Path) -> None:
    if why := why_no_engine():
        pytest.skip(why)
    bundle = write(tmp_path, ["here"])

    def replica() -> ProcessStatus:
        return next(one for one in ACTUATOR.status(bundle).processes if one.name == "see-0")

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
    assert {path.name for path in (bundle / "run").iterdir()} <= {"logs", KEPT}


def until(so: Callable[[], bool], limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while not so():
        assert time.monotonic() < end
        time.sleep(0.2)
