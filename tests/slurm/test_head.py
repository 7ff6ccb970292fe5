"""What a job makes of what it finds in the shared folder while it comes up, without a Slurm."""

import asyncio
import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.slurm import SlurmFurther
from harmonia_compiler.runtime.actuators.actuator import ProcessStatus
from harmonia_compiler.runtime.actuators.slurm import head as head_module
from harmonia_compiler.runtime.actuators.slurm import keeping, more
from harmonia_compiler.runtime.actuators.slurm.folder import Owner, SharedFolder
from harmonia_compiler.runtime.actuators.slurm.head import Head
from harmonia_compiler.runtime.actuators.slurm.steps import KeptStep
from harmonia_compiler.runtime.actuators.supervision.ending import FAILED, STOPPED
from harmonia_compiler.runtime.actuators.supervision.rundir import Asked
from harmonia_compiler.runtime.bundle import GATEWAY

from .service import fake, write

MINE, OTHER = "7.0", "8.0"


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Head:
    """One of two jobs that run. Its steps are as good as started."""
    bundle = write(tmp_path, [("plain1", (), "", 1.0)])
    (bundle / "run/logs").mkdir(parents=True)
    folder = SharedFolder(bundle)
    name = folder.begin(Asked(), {}).name
    for life in (MINE, OTHER):
        folder.enter(life)
    jobs = "\n".join(f"{life[0]}|RUNNING|None|{name}" for life in (MINE, OTHER))
    shown = 'case "$*" in *hostnames*) echo plain1;; *) echo NodeAddr=127.0.0.1;; esac'
    fake(tmp_path, monkeypatch, squeue=f"cat <<'END'\n{jobs}\nEND", scontrol=shown)
    monkeypatch.setenv("SLURM_JOB_NODELIST", "plain1")
    monkeypatch.setattr(keeping, "LOOK_EVERY_S", 0.01)
    found = Head(bundle, MINE, name)
    gateway = folder.of(MINE, GATEWAY)

    async def started(_: Iterable[KeptStep]) -> bool:
        gateway.make()
        gateway.set_status(ProcessStatus(GATEWAY, "", "ready", 1.0, port=8080))
        return True

    monkeypatch.setattr(found, "_start", started)
    return found


async def test_one_that_is_overtaken_as_it_takes_over_does_not_wait_for_clients_to_find_it(
    head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = head._folder
    seen: list[ProcessStatus] = []

    def look() -> bool:
        assert folder.owner() in (Owner(MINE, 0), Owner(OTHER, 9))
        folder.set_owner(Owner(OTHER, 9))
        seen.append(head._state().status.processes[-1])
        return False

    monkeypatch.setattr(head, "_is_found", look)
    # As where its launcher says how it stands.
    monkeypatch.setattr(head._front, "_process", object())
    async with asyncio.timeout(30):
        assert await head._come_up()
    assert (seen[0].phase, seen[0].waiting_for) == ("starting", "its address to be in run/gateway.json")
    assert folder.owner() == Owner(OTHER, 9)


async def test_one_that_is_told_to_end_before_clients_find_it_was_never_up(
    head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look() -> bool:
        head._stop.set()
        return False

    monkeypatch.setattr(head, "_is_found", look)
    async with asyncio.timeout(30):
        assert not await head._come_up()


@pytest.mark.parametrize(
    ("life", "said"), [(OTHER, "job 8 to close it"), ("7.1", "what this job was before to close it")]
)
async def test_whose_store_is_waited_for_is_said(
    life: str, said: str, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    (step,) = head._replicas.values()
    seen: list[str] = []

    async def with_store() -> str:
        seen.append(step.waits_for)
        return life if len(seen) < 2 else ""

    monkeypatch.setattr(head._succession, "with_store", with_store)
    assert await head._have_store([step])
    assert seen[1] == said


async def test_other_lives_are_listened_to_while_steps_come_up(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    (step,) = head._replicas.values()
    monkeypatch.setattr(head, "_keep", lambda _: None)
    # As where its launcher says how it stands.
    monkeypatch.setattr(step, "_process", object())

    async def listen() -> list[str]:
        mine = head._folder.of(MINE, step.name)
        mine.make()
        mine.set_status(ProcessStatus(step.name, "", "ready", 1.0))
        return []

    monkeypatch.setattr(head._succession, "listen", listen)
    async with asyncio.timeout(10):
        assert await Head._start(head, [step])


async def test_a_replica_on_top_does_not_join_a_run_that_its_job_is_not_of(
    head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = head._folder.run()
    assert run is not None
    monkeypatch.setenv("SLURM_JOB_NAME", "harmonia-0123456789ab.see-1")
    assert await more._serve(head._bundle, "see-1") == FAILED
    # With its own it would go on, to what this plan does not have.
    monkeypatch.setenv("SLURM_JOB_NAME", f"{run.name}.see-1")
    with pytest.raises(RuntimeError, match="StopIteration"):
        await more._serve(head._bundle, "see-1")


@pytest.mark.parametrize("ends", ["down", "another run", "another life"])
async def test_one_whose_service_has_ended_or_whose_job_began_anew_ends_and_leaves_nothing(
    ends: str, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "OVER_S", 0.0)
    folder = head._folder
    serving = asyncio.create_task(head.serve())
    async with asyncio.timeout(30):
        while folder.owner() is None:
            await asyncio.sleep(0.01)
        if ends == "down":
            folder.clear()
        elif ends == "another run":
            folder.begin(Asked(), {})
        else:
            # Its launcher sees so as well.
            folder.of(MINE, GATEWAY).set_status(ProcessStatus(GATEWAY, "", "stopped", 2.0))
            folder.set_over(MINE)
        assert await serving == STOPPED
    state = folder.state(MINE)
    assert (state is not None and state.status.phase == "down") == (ends == "another life")
    assert folder.path.exists() == (ends != "down")
    assert folder.lives() == ([MINE, OTHER] if ends == "another life" else [])


async def test_what_slurm_takes_its_time_for_keeps_nobody_from_ending_the_service(
    head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers, left = threading.Event(), threading.Event(), threading.Event()

    def bring(*_: object) -> None:
        asked.set()
        answers.wait(15)
        left.set()

    monkeypatch.setattr(head_module, "bring", bring)
    further = SlurmFurther("see", ("see-1",), "slurm/more-see.sbatch", "see-0")
    head._job = msgspec.structs.replace(head._job, further=(further,))
    looking = asyncio.create_task(head._look_after())
    try:
        async with asyncio.timeout(30):
            await asyncio.to_thread(asked.wait)
            head._stop.set()
            assert await looking is None
        assert not left.is_set()
    finally:
        answers.set()


async def test_one_that_has_handed_over_is_up_for_as_long_as_clients_may_still_find_it(head: Head) -> None:
    head._phase = "running"
    draining = asyncio.create_task(head._drain())
    await asyncio.sleep(0.1)
    assert head._state().status.phase == "running"
    head._stop.set()
    await draining
    assert head._state().status.phase == "stopping"
