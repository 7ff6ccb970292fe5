"""What a service promises while its disk is full, its port is taken, descriptors run out and the clock jumps.

Run by `make chaos`.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.faults import Fault
from harmonia_compiler.runtime.gateway.ledger import LEDGER
from tests.chaos.beside import RPS, Beside, Start, load, loaded, written
from tests.chaos.controlled import controlled
from tests.chaos.service import SOURCE, emulated
from tests.emulate.planned import planned_for
from tests.gateway.processes import command

OFTEN_S = 0.5
HOUR_S = 3600
#: Where the library is that lies to a process about the time of day: where one says, or distributions put it.
FAKETIME = [
    *(Path(said) for said in [os.environ.get("LIBFAKETIME", "")] if said),
    *(found for folder in ("/usr/lib", "/usr/lib64") for found in Path(folder).glob("**/faketime/libfaketime.so.1")),
]


@contextmanager
def small_disk(at: Path) -> Iterator[None]:
    """A file system of 64 KiB at this place."""
    at.mkdir(parents=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(at)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("only root may mount a file system that is as small as that")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def fill(disk: Path, but: int = 0) -> Path:
    """Leave so many bytes of a disk; the file that takes the others."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
        file.truncate(file.tell() - but)
    return ballast


async def test_a_log_that_cannot_be_written_keeps_nobody_from_an_answer(
    scenario: Scenario, seed: int, tmp_path: Path
) -> None:
    how = Start(log=Path("/dev/full"))
    fault = Fault("walk-1", "die", 1.0, 2.0)
    async with loaded(tmp_path, scenario, "walks", 4.0, seed, fault, how=how) as (_, gateway, loading):
        assert set(await loading) == {"answered"}
        gateway.process.terminate()
        assert await gateway.process.wait() == 0


async def test_a_full_disk_stops_the_controller_s_pen_and_nothing_else(
    scenario: Scenario, seed: int, tmp_path: Path
) -> None:
    run, said = tmp_path / "bundle" / "run", Start(log=tmp_path / "controller.log")
    with small_disk(run):
        async with loaded(tmp_path, scenario, "walks", 8.0, seed) as (_, gateway, loading):
            ballast = fill(run)
            async with controlled(gateway, OFTEN_S, said) as controller:
                await asyncio.sleep(4.0)
                lines = said.log.read_text().splitlines()
                assert [line.rpartition(": ")[2] for line in lines] == ["No space left on device"], lines
                assert controller.said() is None
                assert {path.name for path in run.iterdir()} <= {"endpoints.json", "gateway.json", LEDGER, "ballast"}
                ballast.unlink()
                await controller.until(controller.said, 5.0)
            assert set(await loading) == {"answered"}


async def test_a_full_disk_leaves_the_bundle_that_was_there(seed: int, tmp_path: Path) -> None:
    inventory = tmp_path / "host.toml"
    inventory.write_text('[[hosts]]\nname = "one"\ncpus = 4\nmemory_gib = 16\n')
    source = tmp_path / "ask.rag"
    out = tmp_path / "disk" / "bundle"

    def compiled(takes_ms: int) -> subprocess.CompletedProcess[str]:
        source.write_text(
            f'component walk(question: text) -> text ~ 20 tokens = python("code:walk", takes: {takes_ms} ms)\n'
            "pipeline walks(question: text ~ 20 tokens) -> text { load 1 rps\n return walk(question) }\n"
        )
        (tmp_path / "code.py").write_text("def walk(question: str) -> str:\n    return question\n")
        words = [
            str(Path(sys.executable).with_name("harmoniac")),
            "compile",
            str(source),
            "--inventory",
            str(inventory),
        ]
        return subprocess.run([*words, "--out", str(out)], capture_output=True, text=True, check=False)

    with small_disk(out.parent):
        ballast = fill(out.parent, but=8192)
        assert_refused(await asyncio.to_thread(compiled, 40))
        assert not (out / "plan.json").exists()
        assert not (out / "service.json").exists()
        ballast.unlink()
        made = await asyncio.to_thread(compiled, 40)
        assert made.returncode == 0, made.stderr
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        fill(out.parent)
        assert_refused(await asyncio.to_thread(compiled, 50 + seed))
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def assert_refused(ended: subprocess.CompletedProcess[str]) -> None:
    """It said in a few lines that the disk is full, and did nothing."""
    assert ended.returncode not in (0, 70), ended
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) < 10


async def test_a_port_that_is_taken_is_one_line_and_a_failure(scenario: Scenario, seed: int, tmp_path: Path) -> None:
    async with emulated(scenario) as (_, _, endpoints):
        bundle = written(tmp_path, scenario, endpoints)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ended = await asyncio.create_subprocess_exec(*command(bundle, port), stderr=asyncio.subprocess.PIPE)
            _, said = await ended.communicate()
        assert ended.returncode == 1
        (line,) = said.decode().splitlines()
        assert line.startswith(f"gateway: cannot listen on 127.0.0.1:{port}: Address already in use")


async def test_who_keeps_all_connections_open_takes_nothing_from_who_has_one(
    scenario: Scenario, seed: int, tmp_path: Path
) -> None:
    how = Start(behind=("bash", "-c", 'ulimit -n 128; exec "$@"', "-"))
    async with (
        loaded(tmp_path, scenario, "walks", 0.0, seed, how=how) as (_, gateway, loading),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=4, keepalive_timeout=30.0)) as kept,
    ):
        await loading
        await asyncio.gather(*(gateway.ask(kept, "walks") for _ in range(4)))
        crowd = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(300)]
        became = await load(gateway, kept, "walks", RPS, 4.0, seed)
        assert set(became) == {"answered"}
        async with asyncio.timeout(5.0):
            told = [await reader.read() for reader, _ in crowd[-100:]]
        assert {line[:12] for line in told} <= {b"HTTP/1.1 503", b""}
        for _, writer in crowd:
            writer.close()
        await asyncio.sleep(0.5)
        async with aiohttp.ClientSession() as fresh:
            assert {await gateway.ask(fresh, "walks") for _ in range(20)} == {"answered"}
            assert gateway.itself.num_fds() < 128


PROMISED = SOURCE.replace(
    "    load 1 rps\n    return walk", "    slo p95 latency <= 3 s\n    load 1 rps\n    return walk"
)
#: What Python runs before anything else: the time of day is off by what stands in a file.
OFF_BY = """
import os, time
real = time.time
def shifted():
    with open(os.environ["FAKETIME_TIMESTAMP_FILE"]) as file:
        return real() + float(file.read() or 0)
time.time = shifted
time.time_ns = lambda: int(shifted() * 1e9)
"""


@pytest.fixture(scope="session")
def promised(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """The plan of the same service, one of whose pipelines promises a time."""
    return planned_for(tmp_path_factory.mktemp("promised"), PROMISED)


@pytest.fixture(params=["python", "system"])
def clock(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Start, Path]:
    """How a process is started whose time of day can be moved, and the file that says by how much."""
    off = tmp_path / "off"
    off.write_text("+0")
    told = {"FAKETIME_TIMESTAMP_FILE": str(off)}
    if request.param == "python":
        (tmp_path / "shim").mkdir()
        (tmp_path / "shim" / "sitecustomize.py").write_text(OFF_BY)
        return Start({**told, "PYTHONPATH": str(tmp_path / "shim")}), off
    if not FAKETIME:
        pytest.skip("libfaketime is not installed")
    only_day = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}
    return Start({**told, **only_day, "LD_PRELOAD": str(FAKETIME[0])}), off


def move(off: Path, seconds: int) -> None:
    off.write_text(f"{seconds:+d}")


async def jump(off: Path) -> None:
    """An hour ahead, an hour back, and as it was."""
    for seconds in (HOUR_S, -HOUR_S, 0):
        await asyncio.sleep(1.5)
        move(off, seconds)


async def test_a_clock_that_jumps_by_an_hour_ends_nothing_early(
    promised: Scenario, seed: int, tmp_path: Path, clock: tuple[Start, Path]
) -> None:
    how, off = clock
    async with (
        loaded(tmp_path, promised, "walks", 7.0, seed, how=how) as (_, gateway, loading),
        controlled(gateway, OFTEN_S, how) as controller,
    ):
        await controller.until(controller.said, 10.0)
        await jump(off)
        said = controller.said()
        await controller.until(lambda: controller.said() != said, 5.0)
        assert set(await loading) == {"answered"}


async def test_a_clock_that_jumps_by_an_hour_ends_nothing_late(
    promised: Scenario, seed: int, tmp_path: Path, clock: tuple[Start, Path]
) -> None:
    how, off = clock
    faults = [Fault(f"walk-{number}", "hang", 0.0) for number in (1, 2, 3)]
    async with (
        loaded(tmp_path, promised, "walks", 0.0, seed, *faults, how=how) as (_, gateway, loading),
        aiohttp.ClientSession() as session,
    ):
        await loading
        jumping = asyncio.create_task(jump(off))
        took = await asyncio.gather(*(timed(gateway, session) for _ in range(10)))
        assert {became for became, _ in took} == {"504 deadline_exceeded"}
        assert all(2.5 < seconds < 4.0 for _, seconds in took), took
        await jumping


async def timed(gateway: Beside, session: aiohttp.ClientSession) -> tuple[str, float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    became = await gateway.ask(session, "walks")
    return became, loop.time() - began


def test_the_shim_moves_the_time_of_day_of_a_process(clock: tuple[Start, Path]) -> None:
    how, off = clock
    off.write_text("+3600")
    words = [sys.executable, "-c", "import time; print(time.time(), time.monotonic())"]
    there, monotonic = map(
        float, subprocess.check_output(words, env={**os.environ, **how.environment}, text=True).split()
    )
    here, here_monotonic = map(float, subprocess.check_output(words, text=True).split())
    assert 3500 < there - here < 3700
    assert abs(monotonic - here_monotonic) < 60
