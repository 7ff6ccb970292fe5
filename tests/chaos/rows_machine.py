"""What a service promises while its disk is full, its files are locked, its port is taken and descriptors run out.

Run by `make chaos`.
"""

import asyncio
import fcntl
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
from tests.chaos.beside import RPS, Start, load, loaded, written
from tests.chaos.controlled import controlled
from tests.chaos.service import MODEL, emulated
from tests.gateway.processes import command

OFTEN_S = 0.5


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
        code = await gateway.process.wait()
        assert code == 0, f"the gateway exited {code}"


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


async def test_what_an_inventory_claims_and_a_machine_has_not_is_named_before_anything_starts(
    seed: int, tmp_path: Path
) -> None:
    cores, gpus = 1000 + seed, 16
    (tmp_path / "liar.toml").write_text(
        f'[[hosts]]\nname = "one"\ncpus = {cores}\nmemory_gib = 9000\ngpus = [{{type = "a100_sxm", count = {gpus}}}]\n'
    )
    (tmp_path / "says.rag").write_text(
        f'component model = llm("{MODEL}")\n'
        'component answer(question: text) -> text ~ 30 tokens = model("{question}", max_tokens: 60)\n'
        "pipeline says(question: text ~ 20 tokens) -> text { load 1 rps\n return stream answer(question) }\n"
    )
    out = tmp_path / "bundle"

    def harmoniac(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("harmoniac")), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    made = await asyncio.to_thread(
        harmoniac, "compile", str(tmp_path / "says.rag"), "--inventory", str(tmp_path / "liar.toml"), "--out", str(out)
    )
    assert made.returncode == 0, made.stderr
    ended = await asyncio.to_thread(harmoniac, "up", str(out))
    assert ended.returncode == 1
    assert f"warning[W0903]: the plan uses {gpus} GPUs and this machine shows " in ended.stderr
    assert "warning[W0901]: the plan uses " in ended.stderr
    assert ended.stderr.count("error[E") == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (out / "run").exists()


def assert_refused(ended: subprocess.CompletedProcess[str]) -> None:
    """It said in a few lines that the disk is full, and did nothing."""
    assert ended.returncode not in (0, 70), ended
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) < 10


async def test_counts_that_somebody_else_has_locked_keep_nobody_from_an_answer(
    scenario: Scenario, seed: int, tmp_path: Path
) -> None:
    how, ledger = Start(log=tmp_path / "log"), tmp_path / "bundle" / "run" / LEDGER
    ledger.parent.mkdir(parents=True)
    with ledger.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        async with loaded(tmp_path, scenario, "walks", 4.0, seed, how=how) as (_, gateway, loading):
            assert set(await loading) == {"answered"}
            assert gateway.scrapes > 1
    said = [line for line in how.log.read_text().splitlines() if "counts_not_kept" in line]
    assert len(said) == 1, said
    assert ledger.read_bytes() == b""


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
