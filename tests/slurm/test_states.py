"""Jobs of a real Slurm that are there and do not run: suspended, held, queued; and what is left without its service."""

from pathlib import Path

import pytest

from harmonia_compiler.runtime.actuators.slurm import ACTUATOR
from harmonia_compiler.runtime.actuators.slurm.folder import SharedFolder

from .cluster import NODES, Cluster
from .service import ask, until, up, write

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]

#: Replicas come on top, each as a job.
MORE = """[slurm]
nodes = "any"
submit_from_nodes = true
scale_out = 1
"""


def queued(cluster: Cluster) -> dict[str, str]:
    """The state of each job by its number."""
    lines = cluster.call("squeue", "--noheader", "--format=%i %T").splitlines()
    return dict(line.split(maxsplit=1) for line in lines)


async def test_status_says_that_a_job_is_suspended_and_down_ends_it(cluster: Cluster, tmp_path: Path) -> None:
    bundle = write(tmp_path, [("plain1", (), "", 1.0)])
    with up(bundle):
        (job,) = queued(cluster)
        cluster.call("scontrol", "suspend", job)
        status = ACTUATOR.status(bundle)
        assert not status.ready
        assert status.notes[-1] == f"job {job} is suspended for Slurm, and said this before"
        cluster.call("scontrol", "resume", job)
        assert ACTUATOR.status(bundle).ready
        cluster.call("scontrol", "suspend", job)
    assert not queued(cluster)


async def test_down_ends_a_job_that_is_held(cluster: Cluster, tmp_path: Path) -> None:
    bundle = write(tmp_path, [("plain1", (), "", 1.0)])
    with up(bundle):
        (job,) = queued(cluster)
        cluster.call("scontrol", "requeuehold", "State=SpecialExit", job)
        await until(lambda: queued(cluster) == {job: "SPECIAL_EXIT"})
        (waiting,) = ACTUATOR.status(bundle).processes
        assert waiting.waiting_for.startswith("the queue")
    assert not queued(cluster)


async def test_a_replica_on_top_whose_job_waits_is_withdrawn(cluster: Cluster, tmp_path: Path) -> None:
    bundle = write(tmp_path, [("anywhere", (), "", 1.0)], MORE)
    (engine,) = ACTUATOR.room(bundle)
    with up(bundle):
        (first,) = queued(cluster)
        for node in NODES:
            cluster.drain_node(node, "a fan is broken")
        try:
            ACTUATOR.scale(bundle, {engine: 2})
            await until(lambda: [*queued(cluster).values()].count("PENDING") == 1)
            ACTUATOR.scale(bundle, {engine: 1})
            await until(lambda: [*queued(cluster)] == [first], 30)
        finally:
            for node in NODES:
                cluster.resume_node(node)
        assert ACTUATOR.status(bundle).ready


async def test_up_starts_a_service_anew_of_which_a_replica_on_top_is_left(cluster: Cluster, tmp_path: Path) -> None:
    bundle = write(tmp_path, [("anywhere", (), "", 1.0)], MORE)
    (engine,) = ACTUATOR.room(bundle)
    with up(bundle):
        (first,) = queued(cluster)
        ACTUATOR.scale(bundle, {engine: 2})
        await until(lambda: [one.phase for one in ACTUATOR.status(bundle).beside] == ["ready"])
        before = SharedFolder(bundle).run()
        (more,) = queued(cluster).keys() - {first}
        cluster.call("scancel", first)
        await until(lambda: ACTUATOR.status(bundle).phase == "down")
        assert "starts it again" in ACTUATOR.status(bundle).notes[1]
        assert more in queued(cluster)
        assert ACTUATOR.start(bundle, port=None, reembed=False, timeout_s=60, watch=lambda _: None)
        assert SharedFolder(bundle).run() != before
        assert ask(bundle).split(" ")[1] not in (first, more)
        await until(lambda: more not in queued(cluster))
