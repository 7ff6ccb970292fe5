"""Which of several jobs has the service, by what they left in the shared folder and what Slurm lists."""

import asyncio
from pathlib import Path

import pytest

from harmonia_compiler.runtime.actuators.actuator import Phase, Status
from harmonia_compiler.runtime.actuators.slurm.commands import Queued, SlurmFailed
from harmonia_compiler.runtime.actuators.slurm.folder import JobState, Owner, SharedFolder
from harmonia_compiler.runtime.actuators.slurm.succession import Succession, Taken
from harmonia_compiler.runtime.actuators.supervision.rundir import Asked

MINE, NEXT, THIRD = "7", "8", "9"


class Jobs:
    """The jobs of a service, and the folder that they share."""

    def __init__(self, folder: Path) -> None:
        self.folder = SharedFolder(folder)
        self.name = self.folder.begin(Asked(), {}).name
        self.queue = [self.queued(MINE)]
        self.answers = True

    def queued(self, job: str, state: str = "RUNNING", name: str = "") -> Queued:
        """A job as Slurm lists it."""
        return Queued(job, state, "None", name or self.name)

    def list(self, name: str) -> list[Queued]:
        """What `queue` gives."""
        if not self.answers:
            raise SlurmFailed("squeue: slurmctld does not answer")
        assert name == self.name
        return self.queue

    def start(self, *jobs: str) -> None:
        """Have these running beside the first."""
        self.queue += [self.queued(job) for job in jobs]

    def say(self, job: str, phase: Phase) -> None:
        """What a job says of itself."""
        self.folder.set_state(job, JobState(Status(phase)))

    def seen_by(self, job: str = MINE) -> Succession:
        """The succession as a job sees it."""
        return Succession(self.folder, job, self.name, self.list)


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


def taken(jobs: Jobs) -> Taken | None:
    """By whom the service is taken from the first job."""
    return asyncio.run(jobs.seen_by().taken_from(Owner(MINE, 0)))


def test_the_first_job_of_a_service_comes_after_nobody(jobs: Jobs) -> None:
    seen = jobs.seen_by()
    assert asyncio.run(seen.other()) is None
    assert seen.next_epoch(None) == 0


def test_a_job_that_serves_keeps_the_service_until_another_says_so(jobs: Jobs) -> None:
    jobs.folder.set_owner(Owner(MINE, 0))
    jobs.start(NEXT)
    assert taken(jobs) is None
    jobs.folder.set_owner(Owner(NEXT, 1))
    assert taken(jobs) == Taken(NEXT, waits_for_store=False)


def test_a_successor_comes_after_who_serves(jobs: Jobs) -> None:
    jobs.folder.set_owner(Owner(MINE, 3))
    jobs.start(NEXT)
    seen = jobs.seen_by(NEXT)
    assert (before := asyncio.run(seen.other())) == Owner(MINE, 3)
    assert seen.next_epoch(before) == 4


@pytest.mark.parametrize("phase", ["down", "failed", None])
def test_a_service_that_was_taken_by_a_job_that_has_ended_is_this_ones_again(jobs: Jobs, phase: Phase | None) -> None:
    jobs.folder.set_owner(Owner(NEXT, 1))
    if phase is not None:
        jobs.start(NEXT)
        jobs.say(NEXT, phase)
    assert taken(jobs) is None
    assert jobs.folder.owner() == Owner(MINE, 0)


def test_a_job_that_claims_the_store_has_the_service_ended_for_it(jobs: Jobs) -> None:
    jobs.folder.set_owner(Owner(MINE, 0))
    jobs.folder.set_claim(Owner(NEXT, 1))
    jobs.start(NEXT)
    assert taken(jobs) == Taken(NEXT, waits_for_store=True)


def test_a_claim_of_a_job_that_has_ended_is_forgotten(jobs: Jobs) -> None:
    jobs.folder.set_owner(Owner(MINE, 0))
    jobs.folder.set_claim(Owner(NEXT, 1))
    assert taken(jobs) is None
    assert jobs.folder.claim() is None


def test_a_claim_that_this_job_made_itself_takes_nothing_from_it(jobs: Jobs) -> None:
    jobs.folder.set_claim(Owner(MINE, 1))
    jobs.folder.set_owner(Owner(MINE, 1))
    assert taken(jobs) is None
    assert jobs.folder.claim() == Owner(MINE, 1)


def test_who_comes_while_another_waits_for_the_store_comes_after_that_one(jobs: Jobs) -> None:
    jobs.folder.set_owner(Owner(MINE, 0))
    jobs.folder.set_claim(Owner(NEXT, 1))
    jobs.start(NEXT, THIRD)
    seen = jobs.seen_by(THIRD)
    assert (before := asyncio.run(seen.other())) == Owner(NEXT, 1)
    assert seen.next_epoch(before) == 2


def test_a_job_is_alive_where_slurm_does_not_answer_and_it_has_not_said_that_it_ended(jobs: Jobs) -> None:
    jobs.answers = False
    assert asyncio.run(jobs.seen_by().is_alive(NEXT))
    jobs.say(NEXT, "failed")
    assert not asyncio.run(jobs.seen_by().is_alive(NEXT))


def test_nobody_misses_a_job_of_a_service_that_never_was_up_or_that_another_has(jobs: Jobs) -> None:
    jobs.start(NEXT)
    assert asyncio.run(jobs.seen_by(NEXT).is_dispensable())
    jobs.folder.set_owner(Owner(MINE, 0))
    assert asyncio.run(jobs.seen_by(NEXT).is_dispensable())
    jobs.say(MINE, "stopping")
    assert not asyncio.run(jobs.seen_by(NEXT).is_dispensable())


def test_a_job_that_serves_alone_is_missed(jobs: Jobs) -> None:
    jobs.folder.set_owner(Owner(MINE, 0))
    assert not asyncio.run(jobs.seen_by().is_dispensable())


@pytest.mark.parametrize(("state", "phase"), [("PENDING", "stopping"), ("RUNNING", "starting"), ("RUNNING", None)])
def test_a_job_that_waits_or_runs_goes_on_after_this_one(jobs: Jobs, state: str, phase: Phase | None) -> None:
    jobs.queue.append(jobs.queued(NEXT, state))
    if phase is not None:
        # A job that was requeued has said how it ended the time before.
        jobs.say(NEXT, phase)
    assert asyncio.run(jobs.seen_by().has_successor())


def test_neither_a_job_on_its_way_out_nor_a_replica_on_top_goes_on_after_this_one(jobs: Jobs) -> None:
    assert not asyncio.run(jobs.seen_by().has_successor())
    jobs.start(NEXT)
    jobs.say(NEXT, "stopping")
    jobs.queue.append(jobs.queued(THIRD, name=f"{jobs.name}-more"))
    assert not asyncio.run(jobs.seen_by().has_successor())
