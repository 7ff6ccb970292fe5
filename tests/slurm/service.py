"""A service of Python workers that runs as a job, whose answers tell which replica gave them and what it sees."""

import asyncio
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from harmonia_compiler.contract.bundle import Address
from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.contract.plan import Configuration, PipelineShare, Predicted, ProfileUse, Replica
from harmonia_compiler.runtime.actuators.actuator import Status
from harmonia_compiler.runtime.actuators.slurm import ACTUATOR
from tests.emit.conftest import Planned, planned

#: Two replicas, one of which has a GPU, each on a host of its own.
MIXED = [("large", (2,), "a100_sxm", 2.0), ("plain", (), "", 1.0)]

CODE = """
import os
import time


def of_slurm(name, pid):
    # A worker is shown nothing of Slurm; the launchers that it descends from are.
    while pid > 1:
        for variable in open(f"/proc/{pid}/environ").read().split("\\0"):
            if variable.startswith(name + "="):
                return variable.partition("=")[2]
        pid = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
    return "?"


def seen(question):
    time.sleep(0.02)
    node, job = of_slurm("SLURMD_NODENAME", os.getppid()), of_slurm("SLURM_JOB_ID", os.getppid())
    return f"{node} {job} {os.environ['CUDA_VISIBLE_DEVICES']}"
"""

_RAG = """component see(question: text) -> text = python("seeing:seen")

pipeline look(question: text) -> text {
    load 1 rps
    return see(question)
}
"""

_STORE = """component near = embedder("all-MiniLM-L6-v2")
component search = milvus("docs", embedder: near, top_k: 5)

pipeline find(question: text) -> [passage] {
    load 1 rps
    return search(question)
}
"""

#: Where a replica is: its host, its GPUs and their type, and its cores.
Place = tuple[str, tuple[int, ...], str, float]


def write(
    folder: Path,
    places: list[Place],
    site: str = "",
    code: str = CODE,
    takes_ms: float = 0.0,
    hosts: Sequence[Host] = (),
) -> Path:
    """A bundle of a pipeline with a replica at each place, and a controller where it is said how long a call takes."""
    project = folder / "project"
    project.mkdir(exist_ok=True)
    (project / "seeing.py").write_text(code)
    source = project / "look.rag"
    source.write_text(_RAG)
    made = planned(source, root=project)
    (engine,) = made.plan.engines
    replicas = tuple(
        Replica(
            f"see-{at}",
            engine,
            host,
            devices,
            cores,
            0.5,
            Configuration(cores, 0.5, gpu, float(len(devices)), batch=4),
            ("see",),
        )
        for at, (host, devices, gpu, cores) in enumerate(places)
    )
    uses = tuple(
        ProfileUse(engine, config, "a test", 4 * 1000.0 / max(1.0, takes_ms), takes_ms)
        for config in sorted({one.config.describe() for one in replicas})
    )
    plan = msgspec.structs.replace(
        made.plan,
        pipelines=(PipelineShare("look", 1.0, {"see": 1.0}),),
        replicas=replicas,
        profiles=uses if takes_ms else (),
        predicted={"look": Predicted(50.0, 100.0, 100.0, 0.0, engine)},
    )
    out = folder / "bundle"
    Planned(made.application, plan, project).write(out, "slurm", site, hosts)
    return out


def write_store(folder: Path, site: str) -> tuple[Path, str]:
    """A bundle of a pipeline that searches a vector store, on any one node, and the name of the store's replica."""
    source = folder / "find.rag"
    source.write_text(_STORE)
    made = planned(source, root=folder)
    replicas = tuple(
        msgspec.structs.replace(one, host="anywhere", cores=1.0, config=Configuration(1.0, one.memory_gib, batch=4))
        for one in made.plan.replicas
    )
    bundle = folder / "bundle"
    Planned(made.application, msgspec.structs.replace(made.plan, replicas=replicas), folder).write(
        bundle, "slurm", site
    )
    (store,) = (one.id for one in replicas if one.id.startswith("search"))
    return bundle, store


@contextmanager
def up(bundle: Path, timeout_s: float = 60.0, port: int | None = None) -> Iterator[None]:
    """A service that runs for as long as it is asked, and leaves nothing behind."""
    assert ACTUATOR.start(bundle, port=port, reembed=False, timeout_s=timeout_s, watch=lambda _: None)
    try:
        yield
    finally:
        assert ACTUATOR.stop(bundle)
        assert ACTUATOR.status(bundle).phase == "down"


def gateway(bundle: Path) -> str:
    """Where the gateway of a service listens at present."""
    address = msgspec.json.decode((bundle / "run" / "gateway.json").read_bytes(), type=Address)
    return f"http://{address.host}:{address.port}"


def ask(bundle: Path, question: str = "where?", url: str = "") -> str:
    """One answer, of the gateway that is found there or of one that was."""
    body = {"model": "look", "messages": [{"role": "user", "content": question}]}
    request = urllib.request.Request(
        f"{url or gateway(bundle)}/v1/chat/completions", msgspec.json.encode(body), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = msgspec.json.decode(answer.read())
    text: str = found["choices"][0]["message"]["content"]
    return text


@dataclass
class Load:
    """Requests one after another from several clients, who look up the gateway anew for each."""

    bundle: Path
    answers: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def going(self, clients: int = 4) -> AsyncIterator[None]:
        """Ask for as long as this lasts."""
        enough = asyncio.Event()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            asking = [asyncio.create_task(self._client(session, enough)) for _ in range(clients)]
            try:
                yield
            finally:
                enough.set()
                await asyncio.gather(*asking)

    async def _client(self, session: aiohttp.ClientSession, until: "asyncio.Event") -> None:
        while not until.is_set():
            body = {"model": "look", "messages": [{"role": "user", "content": "where?"}]}
            try:
                async with session.post(f"{gateway(self.bundle)}/v1/chat/completions", json=body) as answer:
                    text = await answer.text()
                    if answer.status == 200:
                        self.answers.append(msgspec.json.decode(text)["choices"][0]["message"]["content"])
                    else:
                        self.failures.append(f"{answer.status} {text[:200]}")
            except (aiohttp.ClientError, OSError, TimeoutError) as problem:
                self.failures.append(f"{type(problem).__name__} {problem}")
            await asyncio.sleep(0.02)


@asynccontextmanager
async def watched(bundle: Path) -> AsyncIterator[list[Status]]:
    """How a service stands, again and again for as long as this lasts."""
    seen: list[Status] = []
    enough = asyncio.Event()

    async def watch() -> None:
        while not enough.is_set():
            seen.append(await asyncio.to_thread(ACTUATOR.status, bundle))
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        enough.set()
        await watching


async def until(so: Any, limit_s: float = 60.0) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + limit_s
    while not await asyncio.to_thread(so):
        assert time.monotonic() < end, f"it was not so within {limit_s:g} s"
        await asyncio.sleep(0.3)


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Programs that stand in for Slurm's."""
    for name, script in scripts.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
