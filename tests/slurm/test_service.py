"""Services as jobs of a real Slurm: where replicas run, what survives, and who takes over."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from harmonia_compiler.runtime.actuators.actuator import NotStarted, ProcessStatus
from harmonia_compiler.runtime.actuators.slurm import ACTUATOR

from .cluster import Cluster
from .service import CODE, Load, ask, gateway, until, up, write

pytestmark = pytest.mark.slurm

MIXED = [
    ("large", (2,), "a100_sxm", 1.0),
    ("large", (0, 3), "a100_sxm", 2.0),
    ("small", (1,), "l40s", 1.0),
    ("plain1", (), "", 0.5),
]


#: What Slurm says of a job for which there are no nodes.
NO_NODES = "allocation failure: Requested node configuration is not available"


def told(answers: list[str]) -> set[tuple[str, str]]:
    """The nodes and GPUs that answers tell of."""
    return {(answer.split(" ")[0], answer.split(" ")[2]) for answer in answers}


def test_each_replica_has_the_gpus_that_the_plan_names_on_the_node_that_it_names(
    cluster: Cluster, tmp_path: Path
) -> None:
    bundle = write(tmp_path, MIXED)
    with up(bundle):
        status = ACTUATOR.status(bundle)
        assert status.ready
        assert [process.name for process in status.processes] == ["see-0", "see-1", "see-2", "see-3", "gateway"]
        answers = [ask(bundle) for _ in range(40)]
        assert told(answers) == {("large", "2"), ("large", "0,3"), ("small", "1"), ("plain1", "")}
        assert any("ssh -N -L" in note for note in status.notes)
        # Asked again it is adopted, by whomever.
        assert not ACTUATOR.start(bundle, port=None, reembed=False, timeout_s=10, watch=lambda _: None)
    assert not cluster.call("squeue", "--noheader")


def test_modules_of_the_site_profile_are_loaded_before_it_starts(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "init").mkdir()
    (tmp_path / "init/bash").write_text('module() { echo "$@ of $MODULEPATH" >>"$MODULESHOME/loaded"; }\n')
    monkeypatch.setenv("MODULESHOME", str(tmp_path))
    monkeypatch.setenv("MODULEPATH", "/site/modules")
    bundle = write(tmp_path, [("plain1", (), "", 0.5)], '[slurm]\nmodules = ["python/3.11", "cuda"]\n')
    with up(bundle):
        assert ask(bundle).startswith("plain1 ")
    loaded = (tmp_path / "loaded").read_text().splitlines()
    assert loaded == ["load python/3.11 of /site/modules", "load cuda of /site/modules"]


def test_what_whoever_calls_up_says_by_variables_counts_for_preflight_and_in_the_job(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write(tmp_path, [("plain1", (), "", 0.5), ("plain2", (), "", 1.5)])
    monkeypatch.setenv("SBATCH_PARTITION", "second")
    monkeypatch.setenv("HARMONIA_ALLOWED_HOSTS", "rag.example.org")
    monkeypatch.setenv("HARMONIA_GATEWAY_PROCESSES", "2")
    (found,) = ACTUATOR.preflight(bundle, port=None)
    assert (found.code, "invalid partition" in found.message.lower()) == ("E0936", True)
    cluster.call("scontrol", "create", "partitionname=second", "nodes=ALL")
    # Nothing but the variable names a partition.
    cluster.call("scontrol", "update", "partitionname=main", "default=NO")
    try:
        assert ACTUATOR.preflight(bundle, port=None) == []
        with up(bundle):
            assert {*cluster.call("squeue", "--noheader", "--format=%P").split()} == {"second"}
            named = urllib.request.Request(f"{gateway(bundle)}/v1/models", headers={"host": "rag.example.org"})
            with urllib.request.urlopen(named, timeout=30) as answer:
                assert answer.status == 200
            pid = one_of(bundle, "gateway").pid
            assert pid is not None
            assert len(psutil.Process(pid).children()) == 2
    finally:
        cluster.call("scontrol", "update", "partitionname=main", "default=YES")
        cluster.call("scontrol", "delete", "partitionname=second")
    # The profile goes before variables.
    shutil.rmtree(bundle)
    assert (
        ACTUATOR.preflight(write(tmp_path, [("plain1", (), "", 0.5)], '[slurm]\npartition = "main"\n'), port=None) == []
    )


def test_an_environment_of_the_site_that_no_node_has_is_said(cluster: Cluster, tmp_path: Path) -> None:
    bundle = write(tmp_path, [("plain1", (), "", 0.5)], '[slurm]\nvenv = "/opt/nowhere/venv"\n')
    with pytest.raises(NotStarted) as failed:
        ACTUATOR.start(bundle, port=None, reembed=False, timeout_s=60, watch=lambda _: None)
    assert "there is no /opt/nowhere/venv/bin/python3 on this node" in "\n".join(failed.value.said)
    assert not cluster.call("squeue", "--noheader")


def test_slurm_refuses_gpus_that_no_node_has_though_another_node_is_away(cluster: Cluster, tmp_path: Path) -> None:
    site = '[slurm]\nnodes = "any"\ngpu_types = {a100_sxm = "a100"}\n'
    bundle = write(tmp_path, [("large", (0,), "a100_sxm", 1.0)], site)
    cluster.drain_node("plain2", "a fan is broken")
    try:
        assert [found.code for found in ACTUATOR.preflight(bundle, port=None)] == ["E0936"]
    finally:
        cluster.resume_node("plain2")


def test_signs_that_slurm_takes_for_patterns_may_stand_in_the_folders_path(cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "rag%20demo" / "x\\y %j"
    folder.mkdir(parents=True)
    bundle = write(folder, [("plain1", (), "", 0.5)])
    with up(bundle):
        assert ask(bundle).startswith("plain1 ")
        assert any("the service is up" in line for _, line in ACTUATOR.log(bundle, ["job"], lines=9, follow=False))


def test_a_start_that_fails_says_which_probe_and_leaves_nothing(cluster: Cluster, tmp_path: Path) -> None:
    bundle = write(tmp_path, MIXED, code="def seen(question):\n    pass\n\nraise RuntimeError('no such table')\n")
    with pytest.raises(NotStarted) as failed:
        ACTUATOR.start(bundle, port=None, reembed=False, timeout_s=60, watch=lambda _: None)
    assert failed.value.process.startswith("see-")
    assert [found.code for found in failed.value.found] == ["E0909"]
    assert "it ended with exit code 1 before it was ready" in failed.value.found[0].message
    assert "no such table" in "\n".join(failed.value.said)
    assert not cluster.call("squeue", "--noheader")
    assert ACTUATOR.status(bundle).phase == "down"
    assert not (bundle / "run" / "slurm").exists()


def test_up_says_what_the_queue_waits_for(cluster: Cluster, tmp_path: Path) -> None:
    bundle = write(tmp_path, [("plain1", (), "", 1.0), ("plain2", (), "", 1.0)])
    cluster.drain_node("plain2", "a fan is broken")
    harmoniac = Path(sys.executable).with_name("harmoniac")
    try:
        done = subprocess.run(
            [harmoniac, "up", str(bundle), "--timeout", "4s"], check=False, capture_output=True, text=True
        )
    finally:
        cluster.resume_node("plain2")
    away = "and `plain2` is away (drained: a fan is broken)"
    assert f"Slurm could not start the job at present: {NO_NODES}, {away}" in " ".join(done.stderr.split())
    assert "up: job waiting, waits for the queue: " in done.stderr
    assert "error[E0909]: `job` did not become ready: after 4 s in all it still waits for the queue: " in done.stderr
    assert "wait longer, as with `--timeout 2h`; what was submitted is taken back" in " ".join(done.stderr.split())
    assert not cluster.call("squeue", "--noheader")


def test_a_start_whose_wall_time_is_over_before_says_so_and_for_what_it_waited(
    cluster: Cluster, tmp_path: Path
) -> None:
    site = '[slurm]\nwall_time = "00:01:00"\ndrain = "00:00:58"\n'
    bundle = write(tmp_path, [("plain1", (), "", 1.0)], site, f"import time\n\ntime.sleep(100)\n{CODE}")
    with pytest.raises(NotStarted) as failed:
        ACTUATOR.start(bundle, port=None, reembed=False, timeout_s=90, watch=lambda _: None)
    (found,) = failed.value.found
    assert found.message.startswith(
        "`job` did not become ready: its wall time was nearly over before all was up, after "
    )
    assert "`see-0` still waits for " in found.message
    assert "the wall time is nearly over" in "\n".join(failed.value.said)
    assert not cluster.call("squeue", "--noheader")


def test_a_folder_that_no_node_sees_is_said(cluster: Cluster, tmp_path: Path) -> None:
    write(tmp_path, [("plain1", (), "", 1.0)])
    here = tmp_path / "here"
    here.mkdir()
    # Only this command sees what is mounted there.
    hidden = f"mount -t tmpfs none {here} && cp -r {tmp_path / 'bundle'} {here} && touch {here}/there && exec "
    command = f"{hidden} {Path(sys.executable).with_name('harmoniac')} up {here}/bundle"
    done = subprocess.run(["unshare", "-m", "sh", "-c", command], check=False, capture_output=True, text=True)
    if "mount" in done.stderr:
        pytest.skip(done.stderr)
    said = " ".join(done.stderr.split())
    assert "ended: its script failed with exit code 1, and it wrote nothing: its nodes have to see" in said
    assert "cleans up" not in said
    assert not cluster.call("squeue", "--noheader")


async def test_status_says_how_a_job_ended_that_was_cancelled(cluster: Cluster, tmp_path: Path) -> None:
    bundle = write(tmp_path, [("plain1", (), "", 1.0)])
    with up(bundle):
        job = cluster.call("squeue", "--noheader", "--format=%i")
        cluster.call("scancel", job)
        await until(lambda: ACTUATOR.status(bundle).phase == "down")
        assert ACTUATOR.status(bundle).notes[0] == f"job {job} ended: somebody cancelled it"


async def test_no_request_is_lost_where_an_engine_and_a_step_are_killed_a_node_drained_and_its_daemon_gone(
    cluster: Cluster, tmp_path: Path
) -> None:
    bundle = write(tmp_path, [("plain1", (), "", 1.0), ("plain2", (), "", 1.0), ("small", (1,), "l40s", 1.0)])
    load = Load(bundle)
    with up(bundle):
        async with load.going():
            await asyncio.sleep(1)
            # An engine, on whose calls nobody reckons any more.
            struck = one_of(bundle, "see-0").pid
            assert struck is not None
            os.kill(struck, signal.SIGKILL)
            await until(lambda: one_of(bundle, "see-0").phase == "ready" and one_of(bundle, "see-0").restarts == 1)
            assert one_of(bundle, "see-0").last_exit == "SIGKILL"
            # A launcher, and with it the engine that it started.
            (killed,) = [one.pid for one in ACTUATOR.status(bundle).processes if one.name == "see-1"]
            assert killed is not None
            os.kill(psutil.Process(killed).ppid(), signal.SIGKILL)
            await until(lambda: one_of(bundle, "see-1").phase == "ready" and one_of(bundle, "see-1").pid != killed)
            cluster.drain_node("small", "test")
            cluster.kill_node("plain2")
            try:
                # Long enough for Slurm to give the node up.
                await until(lambda: cluster.states()["plain2"].startswith("down"), 90)
                await asyncio.sleep(3)
                assert ACTUATOR.status(bundle).phase == "running"
            finally:
                cluster.start_node("plain2")
                cluster.resume_node("small")
            await asyncio.sleep(2)
    assert load.failures == []
    assert {node for node, _ in told(load.answers)} == {"plain1", "plain2", "small"}


ANY = """[slurm]
nodes = "any"
submit_from_nodes = true
scale_out = 1
"""


async def test_a_successor_takes_over_before_the_wall_time_and_nobody_notices(cluster: Cluster, tmp_path: Path) -> None:
    times = 'wall_time = "00:04:00"\ndrain = "00:00:30"\nhandover = "00:03:25"\n'
    bundle = write(tmp_path, [("anywhere", (), "", 1.0), ("elsewhere", (), "", 1.0)], ANY + times)
    load = Load(bundle)
    with up(bundle):
        async with load.going():
            await until(lambda: len(jobs_in(load.answers)) == 1)
            (first,) = jobs_in(load.answers)
            await until(lambda: len(jobs_in(load.answers)) == 2, 90)
            await until(lambda: first not in cluster.call("squeue", "--noheader", "--format=%i"), 60)
            await asyncio.sleep(1)
        status = ACTUATOR.status(bundle)
        assert status.ready
        assert f"job {(jobs_in(load.answers) - {first}).pop()}" in status.notes
    assert load.failures == []
    assert not cluster.call("squeue", "--noheader")


async def test_replicas_beyond_the_plans_are_jobs_that_come_and_go(cluster: Cluster, tmp_path: Path) -> None:
    bundle = write(tmp_path, [("anywhere", (), "", 1.0)], ANY + "exclusive = false\n")
    load = Load(bundle)
    ((engine, (name,)),) = ACTUATOR.room(bundle).items()
    with up(bundle):
        async with load.going():
            for _ in range(2):
                ACTUATOR.scale(bundle, {engine: 2})
            await until(lambda: len(jobs_in(load.answers)) == 2)
            assert name in ACTUATOR.log_names(bundle)
            assert [(one.name, one.phase) for one in ACTUATOR.status(bundle).beside] == [(name, "ready")]
            ACTUATOR.scale(bundle, {engine: 1})
            await until(lambda: len(cluster.call("squeue", "--noheader").splitlines()) == 1)
            await asyncio.sleep(1)
    assert load.failures == []


async def test_the_controller_submits_a_job_where_its_replicas_do_not_suffice(cluster: Cluster, tmp_path: Path) -> None:
    slow = CODE.replace("time.sleep(0.02)", "time.sleep(0.4)")
    bundle = write(tmp_path, [("anywhere", (), "", 1.0)], ANY + "exclusive = false\n", slow, takes_ms=400.0)
    load = Load(bundle)
    with up(bundle):
        async with load.going(clients=16):
            await until(lambda: len(jobs_in(load.answers)) == 2, 90)
            said = ACTUATOR.status(bundle).said
        assert said is not None
        assert ACTUATOR.status(bundle).beside[0].name == "controller"
    assert load.failures == []
    assert not cluster.call("squeue", "--noheader")


def jobs_in(answers: list[str]) -> set[str]:
    """The jobs that answers came from."""
    return {answer.split(" ")[1] for answer in answers}


def one_of(bundle: Path, name: str) -> ProcessStatus:
    """How one process stands."""
    return next(process for process in ACTUATOR.status(bundle).processes if process.name == name)


def test_compile_validates_with_slurm_what_it_wrote(cluster: Cluster, tmp_path: Path) -> None:
    for site, code in (('partition = "main"', 0), ('partition = "nowhere"', 1)):
        (tmp_path / "site.toml").write_text(f"[slurm]\n{site}\n")
        (tmp_path / "hosts.toml").write_text('[[hosts]]\nname = "plain1"\ncpus = 8\nmemory_gib = 60\n')
        write(tmp_path, [("plain1", (), "", 1.0)])
        words = [str(tmp_path / "project/look.rag"), "--inventory", str(tmp_path / "hosts.toml"), "--target", "slurm"]
        words += ["--site", str(tmp_path / "site.toml"), "--out", str(tmp_path / "compiled"), "--validate"]
        harmoniac = Path(sys.executable).with_name("harmoniac")
        done = subprocess.run([harmoniac, "compile", *words], check=False, capture_output=True, text=True)
        assert (done.returncode, "E0936" in done.stderr) == (code, code == 1), done.stderr
        assert ("next: harmoniac up" in done.stdout) == (code == 0)
