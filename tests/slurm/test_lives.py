"""Jobs of a real Slurm whose node's daemon dies while their processes live on: one life each, and nothing is left."""

import asyncio
from pathlib import Path

import msgspec
import psutil
import pytest

from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.runtime.actuators.actuator import ProcessStatus
from harmonia_compiler.runtime.actuators.slurm import ACTUATOR
from harmonia_compiler.runtime.actuators.slurm.folder import Owner, SharedFolder
from tests.emit.conftest import Planned, planned

from .cluster import Cluster
from .service import CODE, Load, ask, until, up, write, write_store

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]

ANY = '[slurm]\nnodes = "any"\n'

_TWO = """component see(question: text) -> text = python("seeing:seen")
component on(text: text) -> text = python("passing:passed")

pipeline look(question: text) -> text {
    load 1 rps
    return see(on(question))
}
"""


def owner(bundle: Path) -> Owner | None:
    return SharedFolder(bundle).owner()


def processes_of(bundle: Path, life: str = "") -> list[int]:
    """What runs of a service, be it of one life alone; a job's own process says so by its variables."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(bundle) not in (words := process.cmdline()) and process.cwd() != str(bundle):
                continue
            job, _, restarts = life.partition(".")
            there = process.environ()
            its = (there.get("SLURM_JOB_ID"), there.get("SLURM_RESTART_COUNT") or "0")
            if any("actuators.slurm." in word for word in words) and (not life or its == (job, restarts)):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def node_of(cluster: Cluster, job: str) -> str:
    return cluster.call("squeue", "--noheader", f"--jobs={job}", "--format=%N")


async def begin_anew(cluster: Cluster, job: str) -> None:
    """Wait until Slurm has queued a job anew, and have it start at once rather than in two minutes."""
    await until(lambda: cluster.call("squeue", "--noheader", f"--jobs={job}", "--format=%T") == "PENDING", 90)
    cluster.call("scontrol", "update", f"jobid={job}", "starttime=now")


async def test_a_job_that_is_queued_anew_ends_what_it_was_before(cluster: Cluster, tmp_path: Path) -> None:
    bundle = write(tmp_path, [("anywhere", (), "", 1.0)], ANY)
    load = Load(bundle)
    with up(bundle):
        before, job, _ = ask(bundle).split(" ")
        assert owner(bundle) == Owner(f"{job}.0", 0)
        assert processes_of(bundle, f"{job}.0")
        cluster.kill_node(before)
        try:
            async with load.going():
                await begin_anew(cluster, job)
                await until(lambda: owner(bundle) == Owner(f"{job}.1", 1), 90)
                await until(lambda: ACTUATOR.status(bundle).ready)
            # What it was before answered until it began anew, though its node had been given up.
            assert {answer.split(" ")[0] for answer in load.answers[:100]} == {before}
            await until(lambda: not processes_of(bundle, f"{job}.0"))
            node = ask(bundle).split(" ")[0]
            assert node != before
            again = Load(bundle)
            async with again.going():
                await asyncio.sleep(5)
            assert again.failures == []
            assert {answer.split(" ")[0] for answer in again.answers} == {node}
            assert owner(bundle) == Owner(f"{job}.1", 1)
        finally:
            cluster.start_node(before)
            cluster.resume_node(before)
    assert not processes_of(bundle)


@pytest.mark.engines
async def test_a_store_is_closed_by_what_a_job_was_before_it_was_queued_anew(cluster: Cluster, tmp_path: Path) -> None:
    bundle, store = write_store(tmp_path, ANY)
    with up(bundle, 120):
        job = cluster.call("squeue", "--noheader", "--format=%i")
        before = node_of(cluster, job)
        cluster.kill_node(before)
        try:
            await begin_anew(cluster, job)
            await until(lambda: owner(bundle) == Owner(f"{job}.1", 1), 120)
            await until(lambda: ACTUATOR.status(bundle).ready)
            closed, opened = (SharedFolder(bundle).of(f"{job}.{at}", store).status() for at in (0, 1))
            assert closed is not None
            assert opened is not None
            assert (closed.phase, opened.phase, opened.restarts) == ("stopped", "ready", 0)
        finally:
            cluster.start_node(before)
            cluster.resume_node(before)


async def test_nothing_of_a_service_outlives_down_where_a_daemon_is_dead(cluster: Cluster, tmp_path: Path) -> None:
    bundle = write(tmp_path, [("anywhere", (), "", 1.0)], ANY)
    node = ""
    try:
        with up(bundle):
            node, job, _ = ask(bundle).split(" ")
            cluster.kill_node(node)
        # Slurm has ended nothing there: it goes by itself, also where another service has begun meanwhile.
        with up(bundle):
            other = ask(bundle).split(" ")[1]
            assert other != job
            for _ in range(40):
                assert owner(bundle) == Owner(f"{other}.0", 0)
                await asyncio.sleep(0.1)
            await until(lambda: not processes_of(bundle, f"{job}.0"))
            assert ask(bundle).split(" ")[1] == other
            assert SharedFolder(bundle).lives() == [f"{other}.0"]
        assert not processes_of(bundle)
        assert not (bundle / "run/slurm").exists()
        assert not (bundle / "run/gateway.json").exists()
    finally:
        if node:
            cluster.start_node(node)
            cluster.resume_node(node)


def of_the_one(bundle: Path) -> ProcessStatus:
    """How the replica stands that nobody can stand in for."""
    return next(one for one in ACTUATOR.status(bundle).processes if one.name.startswith("see"))


async def test_the_only_replica_of_an_engine_stays_in_use_where_its_nodes_daemon_is_dead(
    cluster: Cluster, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "seeing.py").write_text(CODE)
    (project / "passing.py").write_text("def passed(text):\n    return text\n")
    source = project / "look.rag"
    source.write_text(_TWO)
    made = planned(source, root=project)
    replicas = tuple(
        msgspec.structs.replace(
            one, host=host, cores=1.0, memory_gib=0.5, config=Configuration(1.0, 0.5, "", 0.0, batch=4)
        )
        for one, host in zip(
            sorted(made.plan.replicas, key=lambda one: one.id.startswith("see")), ("plain1", "plain2"), strict=True
        )
    )
    bundle = tmp_path / "bundle"
    Planned(made.application, msgspec.structs.replace(made.plan, replicas=replicas, profiles=()), project).write(
        bundle, "slurm"
    )
    load = Load(bundle)
    with up(bundle):
        only = of_the_one(bundle)
        cluster.kill_node("plain2")
        try:
            async with load.going():
                # Its step ends for Slurm, and is tried again.
                await until(lambda: cluster.states()["plain2"].startswith("down"), 90)
                await until(lambda: of_the_one(bundle).restarts > 0)
                await asyncio.sleep(20)
            assert (of_the_one(bundle).phase, of_the_one(bundle).pid) == ("ready", only.pid)
        finally:
            cluster.start_node("plain2")
            cluster.resume_node("plain2")
    assert load.failures == []
    assert {answer.split(" ")[0] for answer in load.answers} == {"plain2"}
