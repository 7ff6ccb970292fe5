"""A service that is handed over from job to job of a real Slurm, where what is to take over fails."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError

import pytest

from harmonia_compiler.runtime.actuators.actuator import NotStarted, ProcessStatus
from harmonia_compiler.runtime.actuators.slurm import ACTUATOR
from harmonia_compiler.runtime.actuators.slurm.folder import Owner, SharedFolder, job_of
from harmonia_compiler.runtime.actuators.supervision.ports import free_port

from .cluster import Cluster
from .service import CODE, Load, ask, gateway, until, up, watched, write, write_store

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]

#: A successor is submitted a few seconds after the start.
ANY = """[slurm]
nodes = "any"
submit_from_nodes = true
wall_time = "00:05:00"
drain = "00:00:30"
handover = "00:04:25"
"""


def serving(bundle: Path) -> str:
    """The job that has the service."""
    owner = SharedFolder(bundle).owner()
    return "" if owner is None else job_of(owner.life)


def notes(bundle: Path) -> str:
    return "\n".join(ACTUATOR.status(bundle).notes)


async def test_a_successor_that_fails_or_is_cancelled_is_followed_by_another(cluster: Cluster, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    code = f"{CODE}\nif os.path.exists({str(broken)!r}):\n    raise RuntimeError('no such table')\n"
    bundle = write(tmp_path, [("anywhere", (), "", 1.0)], ANY, code)
    load = Load(bundle)
    with up(bundle):
        first = serving(bundle)
        broken.touch()
        async with load.going(), watched(bundle) as seen:
            await until(lambda: "`see-0` did not become ready: it ended with exit code 1" in notes(bundle), 90)
            assert "was to take over and ended before it did" in notes(bundle)
            await until(lambda: other_jobs(cluster, first))
            cluster.call("scancel", *other_jobs(cluster, first), check=False)
            broken.unlink()
            await until(lambda: serving(bundle) != first, 120)
            await until(lambda: first not in cluster.call("squeue", "--noheader", "--format=%i"))
        assert ACTUATOR.status(bundle).ready
    assert load.failures == []
    # Who looks does not notice either.
    assert [status for status in seen if not status.ready] == []
    assert not any(f"job {first} is to take over" in note for status in seen for note in status.notes)
    assert not cluster.call("squeue", "--noheader")


@pytest.mark.parametrize("is_port_fixed", [False, True], ids=["any port", "a port"])
async def test_who_has_handed_over_ends_what_it_has_begun_and_new_requests_go_to_the_other(
    cluster: Cluster, tmp_path: Path, *, is_port_fixed: bool
) -> None:
    # Much longer than a gateway has where the service ends.
    code = CODE.replace("time.sleep(0.02)", 'time.sleep(25 if question == "much" else 0.02)')
    site = ANY.replace('"any"', '"named"') + "exclusive = false\n"
    bundle = write(tmp_path, [("plain1", (), "", 1.0)], site, code)
    load = Load(bundle)
    with up(bundle, port=free_port(()) if is_port_fixed else None):
        first, url = serving(bundle), gateway(bundle)
        async with load.going():
            # Shortly before the other has a gateway, which may listen on the same port.
            await until(lambda: is_ready_elsewhere(bundle, first), 90)
            much = asyncio.create_task(asyncio.to_thread(ask, bundle, "much", url))
            await until(lambda: serving(bundle) != first, 20)
            await until(lambda: f"job {first} has handed over, and ends what it has begun" in notes(bundle))
            assert not much.done()
            assert (await much).split(" ")[1] == first
            await until(lambda: first not in cluster.call("squeue", "--noheader", "--format=%i"))
        if not is_port_fixed:
            # What is asked while the service is taken down has an answer or a reason.
            cut = asyncio.create_task(asyncio.to_thread(ask, bundle, "much"))
            await asyncio.sleep(1)
    if not is_port_fixed:
        with pytest.raises(HTTPError, match="503") as refused:
            await cut
        refused.value.close()
    assert [failure for failure in load.failures if not is_port_fixed or "Connector" in failure] == []
    assert {answer.split(" ")[1] for answer in load.answers} > {first}


def is_ready_elsewhere(bundle: Path, first: str) -> bool:
    """Whether the replica of another job is there."""
    folder = SharedFolder(bundle)
    said = [folder.of(life, "see-0").status() for life in folder.lives() if job_of(life) != first]
    return any(one is not None and one.phase == "ready" for one in said)


async def test_the_next_gateway_listens_on_a_port_of_the_users_before_the_old_one_goes(
    cluster: Cluster, tmp_path: Path
) -> None:
    site = ANY.replace('"any"', '"named"') + "exclusive = false\n"
    bundle = write(tmp_path, [("plain1", (), "", 1.0)], site)
    port = free_port(())
    load = Load(bundle)
    with up(bundle, port=port):
        first = serving(bundle)
        async with load.going():
            await until(lambda: serving(bundle) != first, 90)
            await until(lambda: first not in cluster.call("squeue", "--noheader", "--format=%i"))
        assert ACTUATOR.status(bundle).url.endswith(f":{port}")
    # The connection that a client has open may be closed under its request, once; none is refused.
    assert len(load.failures) <= 4
    assert [failure for failure in load.failures if "ClientConnectorError" in failure] == []
    assert {answer.split(" ")[1] for answer in load.answers} > {first}


async def test_what_was_to_take_over_goes_on_trying_once_the_wall_time_has_ended_the_other(
    cluster: Cluster, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    code = f"{CODE}\nif os.path.exists({str(broken)!r}):\n    raise RuntimeError('no such table')\n"
    times = 'wall_time = "00:02:00"\ndrain = "00:00:20"\nhandover = "00:01:35"\n'
    site = '[slurm]\nnodes = "any"\nsubmit_from_nodes = true\n'
    bundle = write(tmp_path, [("anywhere", (), "", 1.0)], site + times, code)
    with up(bundle):
        first = serving(bundle)
        broken.touch()
        await until(lambda: first not in cluster.call("squeue", "--noheader", "--format=%i"), 150)
        await until(lambda: f"job {first} ended with its wall time" in notes(bundle))
        assert ACTUATOR.status(bundle).phase == "starting"
        broken.unlink()
        await until(lambda: ACTUATOR.status(bundle).ready, 90)
        assert ask(bundle).split(" ")[1] == serving(bundle) != first


async def test_who_serves_goes_on_where_one_that_took_over_has_gone(cluster: Cluster, tmp_path: Path) -> None:
    bundle = write(tmp_path, [("plain1", (), "", 1.0)])
    with up(bundle):
        folder, first = SharedFolder(bundle), serving(bundle)
        folder.set_owner(Owner("999999.0", 7))
        await until(lambda: folder.owner() == Owner(f"{first}.0", 8))
        assert ACTUATOR.status(bundle).ready
        assert ask(bundle).split(" ")[1] == first


def test_a_port_of_the_gateways_node_that_somebody_else_has_is_said(cluster: Cluster, tmp_path: Path) -> None:
    bundle = write(tmp_path, [("plain1", (), "", 1.0)])
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(NotStarted) as failed:
            ACTUATOR.start(bundle, port=port, reembed=False, timeout_s=60, watch=lambda _: None)
    (found,) = failed.value.found
    assert found.message == f"`gateway` did not become ready: port {port} is in use on its machine"
    assert not cluster.call("squeue", "--noheader")


def other_jobs(cluster: Cluster, first: str) -> list[str]:
    return [job for job in cluster.call("squeue", "--noheader", "--format=%i").split() if job != first]


@pytest.mark.engines
async def test_a_store_that_is_killed_while_it_is_handed_over_is_started_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    bundle, store = write_store(tmp_path, ANY)
    with up(bundle, 120):
        folder, first = SharedFolder(bundle), serving(bundle)
        # For one that claims it and has gone, nobody ends.
        folder.set_claim(Owner("999999.0", 1))
        await until(lambda: folder.claim() != Owner("999999.0", 1), 120)
        await until(lambda: folder.claim() is not None, 120)
        claim = folder.claim()
        assert claim is not None
        await until(lambda: kill_before_it_is_ready(lambda: folder.of(claim.life, store).status()))
        await until(lambda: serving(bundle) == job_of(claim.life), 120)
        await until(lambda: ACTUATOR.status(bundle).ready)
        assert job_of(claim.life) != first


def kill_before_it_is_ready(status: Callable[[], ProcessStatus | None]) -> bool:
    """Kill a process once it is seen to run; False where it does not yet."""
    said = status()
    if said is None or said.pid is None:
        return False
    assert said.phase != "ready"
    os.kill(said.pid, signal.SIGKILL)
    return True
