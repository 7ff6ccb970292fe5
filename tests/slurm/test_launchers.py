"""How a step is kept up, and what its launcher does on its node, without a Slurm."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.launch import Fill, Launch, Probe
from harmonia_compiler.runtime.actuators.actuator import (
    ProcessPhase,
    ProcessStatus,
)
from harmonia_compiler.runtime.actuators.slurm import keeping
from harmonia_compiler.runtime.actuators.slurm.folder import ProcessFolder, SharedFolder
from harmonia_compiler.runtime.actuators.slurm.step import Step
from harmonia_compiler.runtime.actuators.slurm.steps import KeptStep
from harmonia_compiler.runtime.actuators.supervision import placing
from harmonia_compiler.runtime.actuators.supervision.ending import STOPPED
from harmonia_compiler.runtime.actuators.supervision.rundir import Asked
from harmonia_compiler.runtime.actuators.supervision.spec import Spec


async def in_phase(step: KeptStep, phase: str) -> ProcessStatus:
    while (status := step.status).phase != phase or not (status.last_exit or status.waiting_for):
        await asyncio.sleep(0.01)
    return status


async def test_a_step_that_was_killed_is_said_to_have_been_over_its_next_life(tmp_path: Path) -> None:
    """Its launcher is killed with it, and the next one has seen nothing end."""
    folder = ProcessFolder(tmp_path / "step")
    ready = msgspec.json.encode(ProcessStatus("one", "e", "ready", 1.0)).decode()
    says = f"printf '%s' '{ready}' > '{folder.path}/state.json'"
    serves = f'while [ ! -e "{folder.path}/stop" ]; do sleep 0.05; done'
    script = f'{says}; if [ -e "{tmp_path}/again" ]; then {serves}; exit; fi; touch "{tmp_path}/again"; kill -KILL $$'
    step = KeptStep("one", "e", ["sh", "-c", script], folder)
    kept = asyncio.create_task(step.keep())
    try:
        async with asyncio.timeout(30):
            away = await in_phase(step, "restarting")
            assert away.last_exit == "SIGKILL"
            assert "its step ended with SIGKILL" in away.waiting_for
            back = await in_phase(step, "ready")
        assert (back.last_exit, back.restarts) == ("SIGKILL", 1)
    finally:
        await step.stop(grace_s=0.0)
        await kept


async def test_what_never_came_up_is_started_again_for_as_long_as_it_is_kept(tmp_path: Path) -> None:
    """Whoever keeps it decides whether it is to be given up for its failure."""
    folder = ProcessFolder(tmp_path / "step")
    serves = f'while [ ! -e "{folder.path}/stop" ]; do sleep 0.05; done'
    script = f'[ -e "{tmp_path}/again" ] || {{ touch "{tmp_path}/again"; exit 3; }}; {serves}'
    step = KeptStep("one", "e", ["sh", "-c", script], folder)
    kept = asyncio.create_task(step.keep())
    async with asyncio.timeout(30):
        away = await in_phase(step, "restarting")
        assert step.failure == "its step ended with exit code 3; the log of `job` says more"
        assert away.waiting_for == f"the next start, 0.5 s after: {step.failure}"
        while step.status.waiting_for != "Slurm to start its step":
            await asyncio.sleep(0.01)
    await step.stop(grace_s=0.0)
    await kept


@pytest.mark.parametrize("goes", ["says its last", "falls silent", "is asked to"])
async def test_a_launcher_that_outlives_its_step_is_not_started_again_before_it_goes(
    goes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the daemon of its node is dead: Slurm has given its step up, and starts no other."""
    monkeypatch.setattr(placing, "delay_s", lambda _: 0.3)
    tries, folder = tmp_path / "tries", ProcessFolder(tmp_path / "step")
    step = KeptStep("one", "e", ["sh", "-c", f"echo x >> {tries}; exit 1"], folder)
    kept = asyncio.create_task(step.keep())
    clock = 0

    def say(phase: ProcessPhase) -> None:
        # Its clock is another's, and every word has a time of its own.
        nonlocal clock
        clock += 1
        folder.set_status(ProcessStatus("one", "e", phase, 1.0, pid=7))
        os.utime(folder.path / "state.json", ns=(clock, clock))

    async def tried(more_than: int) -> int:
        while not tries.exists() or (count := len(tries.read_text().split())) <= more_than:
            await asyncio.sleep(0.01)
        return count

    async with asyncio.timeout(30):
        await tried(0)
        folder.set_endpoint(there := Endpoint("one", "e", "127.0.0.1", 1))
        while True:
            before = len(tries.read_text().split())
            for _ in range(20):
                say("ready")
                await asyncio.sleep(0.05)
            if len(tries.read_text().split()) == before > 1:
                break
        assert (step.status.phase, step.status.pid) == ("ready", 7)
        assert SharedFolder(tmp_path).endpoint(folder.path / "endpoint.json") == there
        if goes == "is asked to":
            stopping = asyncio.create_task(step.stop())
            while folder.stop_asked() != "now":
                await asyncio.sleep(0.01)
            say("ready")
            await kept
            assert not stopping.done()
            say("stopped")
            await stopping
            assert step.status.phase == "stopped"
            return
        if goes == "falls silent":
            monkeypatch.setattr("harmonia_compiler.runtime.actuators.slurm.folder.BELIEVED_S", -1.0)
        else:
            say("stopped")
        await tried(before)
        await step.stop()
        await kept


@pytest.mark.parametrize("ends", ["down", "another run", "its life"])
async def test_a_replica_ends_with_the_service_and_its_life_and_not_for_what_is_away_for_a_moment(
    ends: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "LOOK_EVERY_S", 0.01)
    shared = SharedFolder(tmp_path)
    (tmp_path / "run/logs").mkdir(parents=True)
    shared.begin(Asked(), {})
    shared.enter("7.0")
    one = Step(tmp_path, "7.0", Spec("one", "e", Launch(("sleep", "60"), Probe("none")), tmp_path), "127.0.0.1")
    serving = asyncio.create_task(one.serve())
    is_over, looked = one._folder.is_over, 0

    def look(life: str) -> bool:
        nonlocal looked
        looked += 1
        return is_over(life)

    async def goes_on() -> None:
        since = looked
        while looked < since + 20:
            await asyncio.sleep(0.01)
        assert not serving.done()

    monkeypatch.setattr(one._folder, "is_over", look)
    monkeypatch.setattr(keeping, "OVER_S", 60.0)
    away = shared.path.with_name("away")
    async with asyncio.timeout(30):
        await goes_on()
        shared.path.rename(away)
        await goes_on()
        away.rename(shared.path)
        await goes_on()
        monkeypatch.setattr(keeping, "OVER_S", 0.0)
        await goes_on()
        # It would write what it said last into the folder of the next run.
        if ends == "down":
            shared.clear()
        elif ends == "another run":
            shared.begin(Asked(), {})
        else:
            shared.set_over("7.0")
        assert await serving == STOPPED
    said = one._mine.status()
    assert (said is not None and said.phase == "stopped") == (ends == "its life")
    assert shared.path.exists() == (ends != "down")


async def test_a_replica_says_with_where_it_is_how_long_it_took_to_start(tmp_path: Path) -> None:
    shared = SharedFolder(tmp_path)
    (tmp_path / "run/logs").mkdir(parents=True)
    shared.begin(Asked(), {})
    shared.enter("7.0")
    mine = shared.of("7.0", "one")
    command = (Fill("python"), "-m", "http.server", "--bind", "127.0.0.1", Fill("port"))
    step = Step(tmp_path, "7.0", Spec("one", "e", Launch(command, Probe("http", "/")), tmp_path), "127.0.0.1")
    serving = asyncio.create_task(step.serve())
    try:
        async with asyncio.timeout(30):
            while not (found := shared.endpoints("7.0")):
                await asyncio.sleep(0.01)
        (path,) = found
        there, status = shared.endpoint(path), mine.status()
        assert there is not None
        assert status is not None
        assert there.started_in_s == status.started_in_s
        assert there.started_in_s
    finally:
        mine.ask_to_stop(drain=False)
        await serving
