"""What `up`, `down`, `status` and scaling do with jobs, by the states that Slurm says they are in, without a Slurm."""

from pathlib import Path

import pytest

from harmonia_compiler.runtime.actuators.actuator import (
    NotStarted,
    Phase,
    Status,
)
from harmonia_compiler.runtime.actuators.slurm import ACTUATOR, actuator, commands
from harmonia_compiler.runtime.actuators.slurm.folder import JobState, Owner, SharedFolder
from harmonia_compiler.runtime.actuators.slurm.keeping import read_job
from harmonia_compiler.runtime.actuators.slurm.scaling import bring
from harmonia_compiler.runtime.actuators.supervision.rundir import Asked

from .service import MIXED, fake, write


def test_down_tells_a_job_again_whose_script_had_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, told = write(tmp_path, MIXED), tmp_path / "told"
    (bundle / "run").mkdir()
    name = SharedFolder(bundle).begin(Asked(), {}).name
    monkeypatch.setattr(actuator, "_LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(actuator, "_TELL_EVERY_S", 0.0)
    # What it is told first is lost.
    running = f"[ -e {told} ] && [ $(wc -l < {told}) -gt 2 ] || echo '7|RUNNING|None|{name}'"
    fake(tmp_path, monkeypatch, squeue=running, scancel=f'echo "$*" >> {told}')
    assert ACTUATOR.stop(bundle)
    assert told.read_text().splitlines() == ["--batch --signal=TERM 7"] * 3


@pytest.mark.parametrize(
    ("state", "told"),
    [
        *[(state, "7") for state in ("PENDING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "SPECIAL_EXIT")],
        *[(state, "--batch --signal=TERM 7") for state in ("RUNNING", "SIGNALING")],
    ],
)
def test_down_lets_only_a_job_end_by_itself_whose_script_may_run(
    state: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To any other Slurm tells nothing, and its command tries for a minute."""
    bundle, ended = write(tmp_path, MIXED), tmp_path / "ended"
    (bundle / "run").mkdir()
    name = SharedFolder(bundle).begin(Asked(), {}).name
    fake(
        tmp_path, monkeypatch, squeue=f"[ -e {ended} ] || echo '7|{state}|None|{name}'", scancel=f'echo "$*" > {ended}'
    )
    assert ACTUATOR.stop(bundle)
    assert ended.read_text() == f"{told}\n"


def test_down_goes_on_where_a_command_that_ends_a_job_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, asked, ended = write(tmp_path, MIXED), tmp_path / "asked", tmp_path / "ended"
    (bundle / "run").mkdir()
    name = SharedFolder(bundle).begin(Asked(), {}).name
    monkeypatch.setattr(commands, "PATIENCE_S", 0.5)
    monkeypatch.setattr(actuator, "_TELL_EVERY_S", 0.0)
    scancel = f"[ -e {asked} ] || {{ touch {asked}; exec sleep 60; }}\ntouch {ended}"
    fake(tmp_path, monkeypatch, squeue=f"[ -e {ended} ] || echo '7|RUNNING|None|{name}'", scancel=scancel)
    assert ACTUATOR.stop(bundle)


def test_a_replica_that_is_to_go_ends_what_it_has_begun_where_it_has_begun_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, told = write(tmp_path, MIXED, "[slurm]\nsubmit_from_nodes = true\nscale_out = 3\n"), tmp_path / "told"
    documents, job = read_job(bundle)
    (further,) = job.further
    states = ("RUNNING", "PENDING", "SUSPENDED")
    lines = [
        f"{at}|{state}|None|ours.{name}" for at, (state, name) in enumerate(zip(states, further.names, strict=True))
    ]
    squeue = "cat <<'END'\n" + "\n".join(lines) + "\nEND"
    fake(tmp_path, monkeypatch, squeue=squeue, scancel=f'echo "$*" >> {told}')
    bring(bundle, documents, job, "ours", {further.engine: 2})
    assert told.read_text().splitlines() == ["--batch --signal=TERM 0", "1", "2"]


@pytest.fixture
def named(tmp_path: Path) -> tuple[Path, str]:
    """A bundle of a service that was up, and what its jobs are called."""
    bundle = write(tmp_path, MIXED)
    (bundle / "run/logs").mkdir(parents=True)
    folder = SharedFolder(bundle)
    name = folder.begin(Asked(), {}).name
    folder.enter("7.0")
    folder.set_owner(Owner("7.0"))
    folder.set_state("7.0", JobState(Status("running")))
    return bundle, name


def test_status_says_that_slurm_has_halted_a_job(
    named: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, name = named
    fake(tmp_path, monkeypatch, squeue=f"echo '7|SUSPENDED|None|{name}'")
    status = ACTUATOR.status(bundle)
    assert (status.phase, status.is_stale, status.ready) == ("running", True, False)
    assert status.notes[-1] == "job 7 is suspended for Slurm, and said this before"
    fake(tmp_path, monkeypatch, squeue=f"echo '7|RUNNING|None|{name}'")
    assert ACTUATOR.status(bundle).ready


def test_a_job_that_is_held_since_it_failed_waits_in_the_queue(
    named: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, name = named
    fake(tmp_path, monkeypatch, squeue=f"echo '7|SPECIAL_EXIT|job requeued in special exit state|{name}'")
    status = ACTUATOR.status(bundle)
    assert [one.waiting_for for one in status.processes] == ["the queue (job requeued in special exit state)"]


def test_of_a_job_that_has_handed_over_it_is_said_that_slurm_has_halted_it(
    named: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, name = named
    folder = SharedFolder(bundle)
    folder.enter("8.0")
    folder.set_owner(Owner("8.0", 1))
    folder.set_state("8.0", JobState(Status("running")))
    fake(tmp_path, monkeypatch, squeue=f"echo '7|SUSPENDED|None|{name}'; echo '8|RUNNING|None|{name}'")
    status = ACTUATOR.status(bundle)
    assert (status.ready, status.notes) == (True, ("job 8", "job 7 is suspended for Slurm"))


OVER = "job 7 has handed over, and ends what it has begun"
BESIDE = "job 8 is to take over, and starts beside it"


@pytest.mark.parametrize(
    ("owner", "first", "second", "shown"),
    [
        (7, "running", None, (7, "running", BESIDE)),
        (7, "running", "starting", (7, "running", BESIDE)),
        # Clients find the one before until the next says that it is up.
        (8, "running", "starting", (7, "running", BESIDE)),
        (8, "running", "running", (8, "running", OVER)),
        (8, "stopping", "running", (8, "running", OVER)),
        (8, "down", "running", (8, "running", OVER)),
        (8, "stopping", "starting", (8, "starting", OVER)),
        # With a store it ends first.
        (7, "stopping", "starting", (7, "stopping", BESIDE)),
        (7, "down", "starting", (8, "starting", OVER)),
        (7, "running", "failed", (7, "running", BESIDE)),
    ],
)
def test_of_two_jobs_the_one_is_shown_that_clients_find(
    owner: int,
    first: Phase,
    second: Phase | None,
    shown: tuple[int, str, str],
    named: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle, name = named
    folder = SharedFolder(bundle)
    folder.set_owner(Owner(f"{owner}.0", 1))
    folder.set_state("7.0", JobState(Status(first)))
    folder.enter("8.0")
    if second is not None:
        folder.set_state("8.0", JobState(Status(second)))
    fake(tmp_path, monkeypatch, squeue=f"echo '7|RUNNING|None|{name}'; echo '8|RUNNING|None|{name}'")
    status = ACTUATOR.status(bundle)
    assert (status.phase, status.notes) == (shown[1], (f"job {shown[0]}", shown[2]))


def test_up_ends_the_replicas_on_top_of_a_service_whose_own_job_has_gone_and_starts_it_anew(
    named: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, name = named
    told = tmp_path / "told"
    # What it submits anew bears another name.
    squeue = f"[ -e {told} ] || echo '8|RUNNING|None|{name}.see-2'"
    fake(tmp_path, monkeypatch, squeue=squeue, scancel=f'echo "$*" >> {told}', sbatch="echo 9")
    assert ACTUATOR.status(bundle).phase == "down"
    with pytest.raises(NotStarted):
        ACTUATOR.start(bundle, port=None, reembed=False, timeout_s=0.0, watch=lambda _: None)
    assert told.read_text().splitlines() == ["8"]
