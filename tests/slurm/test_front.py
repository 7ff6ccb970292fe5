"""What the gateway's launcher makes of what replicas say, without a Slurm."""

import asyncio
import os
import resource
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoint, Endpoints
from harmonia_compiler.runtime.actuators.slurm import front
from harmonia_compiler.runtime.actuators.slurm.folder import ProcessFolder, SharedFolder
from harmonia_compiler.runtime.actuators.slurm.front import Front
from harmonia_compiler.runtime.actuators.slurm.tunnel import LOOPBACK, Outlet
from harmonia_compiler.runtime.actuators.supervision.rundir import ENDPOINTS, Asked

from .service import write


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A service of one replica, of which nothing runs."""
    found = write(tmp_path, [("plain1", (), "", 1.0)])
    (found / "run/logs").mkdir(parents=True)
    SharedFolder(found).begin(Asked(), {})
    return found


def routed(mine: ProcessFolder) -> tuple[Endpoint, ...]:
    """The replicas that the gateway finds."""
    return msgspec.json.decode((mine.path / ENDPOINTS).read_bytes(), type=Endpoints).replicas


def forget(launcher: Front) -> None:
    """Listen for no replica any more."""
    for path in tuple(launcher._known):
        launcher._forget(path)


async def test_a_replica_that_was_silent_for_a_while_is_reached_again_once_it_speaks(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = SharedFolder(bundle)
    answering = await asyncio.start_server(lambda _, writer: writer.close(), LOOPBACK, 0)
    outlet = Outlet(folder.token(), lambda: answering.sockets[0].getsockname()[1])
    there = Endpoint("see-0", "e", LOOPBACK, await outlet.open(LOOPBACK))
    folder.enter("7.0")
    replica, mine, launcher = folder.of("7.0", "see-0"), folder.of("7.0", "gateway"), Front(bundle, "7.0")
    replica.make()
    mine.make()
    replica.set_endpoint(there)
    await launcher._look()
    (found,) = routed(mine)
    monkeypatch.setattr(front, "BELIEVED_S", -1.0)
    await launcher._look()
    assert routed(mine) == ()
    monkeypatch.setattr(front, "BELIEVED_S", 60.0)
    replica.set_endpoint(there)
    await launcher._look()
    assert routed(mine) == (found,)
    reader, writer = await asyncio.open_connection(found.host, found.port)
    assert await reader.read() == b""
    writer.close()
    assert [record.getMessage() for record in caplog.records] == [
        "see-0 has said nothing for -1 s",
        "see-0 says again that it is there",
    ]
    forget(launcher)
    outlet.close()
    answering.close()


async def test_what_the_gateway_finds_is_written_again_until_it_can_be(bundle: Path) -> None:
    folder = SharedFolder(bundle)
    folder.enter("7.0")
    replica, mine, launcher = folder.of("7.0", "see-0"), folder.of("7.0", "gateway"), Front(bundle, "7.0")
    replica.make()
    replica.set_endpoint(Endpoint("see-0", "e", LOOPBACK, 9))
    mine.path.write_bytes(b"in its way")
    await launcher._look()
    mine.path.unlink()
    mine.make()
    await launcher._look()
    assert [one.replica for one in routed(mine)] == ["see-0"]
    forget(launcher)


def test_a_replica_says_that_it_is_there_where_nothing_more_can_be_written(tmp_path: Path) -> None:
    mine, there = ProcessFolder(tmp_path), Endpoint("see-0", "e", LOOPBACK, 9)
    mine.set_endpoint(there)
    said = tmp_path / "endpoint.json"
    os.utime(said, (1.0, 1.0))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            mine.set_endpoint(Endpoint("see-0", "e", LOOPBACK, 10))
        mine.set_endpoint(there)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert said.stat().st_mtime > 1.0
    # Of another place, or where somebody removed it, it is written.
    mine.set_endpoint(Endpoint("see-0", "e", LOOPBACK, 10))
    assert b"10" in said.read_bytes()
    said.unlink()
    mine.set_endpoint(there)
    assert b"9" in said.read_bytes()
