"""Which of several lives has the service, by what they left in the shared folder and what Slurm lists."""

import asyncio
import os
from pathlib import Path

import pytest

from harmonia_compiler.runtime.actuators.actuator import Phase, ProcessStatus, Status
from harmonia_compiler.runtime.actuators.slurm import folder
from harmonia_compiler.runtime.actuators.slurm.commands import Queued, SlurmFailed
from harmonia_compiler.runtime.actuators.slurm.folder import JobState, Owner, SharedFolder, job_of
from harmonia_compiler.runtime.actuators.slurm.succession import Succession, Taken
from harmonia_compiler.runtime.actuators.supervision.rundir import Asked

MINE, NEXT, THIRD = "7.0", "8.0", "9.0"
#: The same job, queued anew.
AGAIN = "7.1"
STORE = "db"


class Jobs:
    """The jobs of a service, and the folder that they share."""

    def __init__(self, path: Path) -> None:
        self.folder = SharedFolder(path)
        self.name = self.folder.begin(Asked(), {}).name
        self.queue: list[Queued] = []
        self.answers = True
        self.start(MINE)

    def queued(self, life: str, state: str = "RUNNING", name: str = "") -> Queued:
        """A job as Slurm lists it."""
        return Queued(job_of(life), state, "None", name or self.name)

    def list(self, name: str) -> list[Queued]:
        """What `queue` gives."""
        if not self.answers:
            raise SlurmFailed("squeue: slurmctld does not answer")
        assert name == self.name
        return self.queue

    def start(self, *lives: str) -> None:
        """Have these running beside the first, or in place of an earlier one of their job."""
        for life in lives:
            self.queue = [one for one in self.queue if one.job != job_of(life)] + [self.queued(life)]
            self.folder.enter(life)

    def say(self, life: str, phase: Phase) -> None:
        """What a life says of itself."""
        self.folder.set_state(life, JobState(Status(phase)))

    def seen_by(self, life: str = MINE) -> Succession:
        """The succession as a life sees it."""
        return Succession(self.folder, life, self.name, [STORE], self.list)

    def serve(self, life: str = MINE) -> Succession:
        """One that came up and took the service."""
        seen = self.seen_by(life)
        asyncio.run(seen.enter())
        asyncio.run(seen.take())
        return seen


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


def test_the_first_job_of_a_service_comes_after_nobody(jobs: Jobs) -> None:
    seen = jobs.seen_by()
    asyncio.run(seen.enter())
    asyncio.run(seen.take())
    assert jobs.folder.owner() == Owner(MINE, 0)


def test_a_job_that_serves_keeps_the_service_until_another_says_so(jobs: Jobs) -> None:
    first = jobs.serve()
    jobs.start(NEXT)
    assert asyncio.run(first.taken()) is None
    jobs.serve(NEXT)
    assert asyncio.run(first.taken()) == Taken(NEXT, waits_for_store=False)
    # It said so with a greater epoch, and nothing that is written late goes before.
    assert jobs.folder.owner() == Owner(NEXT, 1)


def test_a_successor_comes_after_who_serves(jobs: Jobs) -> None:
    jobs.folder.set_owner(Owner(MINE, 3))
    jobs.start(NEXT)
    seen = jobs.seen_by(NEXT)
    asyncio.run(seen.enter())
    asyncio.run(seen.take())
    assert jobs.folder.owner() == Owner(NEXT, 4)


def test_of_two_that_come_up_at_once_the_one_that_says_so_last_has_the_service(jobs: Jobs) -> None:
    jobs.serve()
    jobs.start(NEXT, THIRD)
    one, other = jobs.seen_by(NEXT), jobs.seen_by(THIRD)
    for seen in (one, other):
        asyncio.run(seen.enter())
    for seen in (one, other):
        asyncio.run(seen.take())
    assert jobs.folder.owner() == Owner(THIRD, 2)
    assert asyncio.run(one.taken()) == Taken(THIRD, waits_for_store=False)
    assert asyncio.run(other.taken()) is None


@pytest.mark.parametrize("phase", ["down", "failed", None])
def test_a_service_that_was_taken_by_a_job_that_has_ended_is_this_ones_again(jobs: Jobs, phase: Phase | None) -> None:
    first = jobs.serve()
    jobs.folder.set_owner(Owner(NEXT, 1))
    if phase is not None:
        jobs.start(NEXT)
        jobs.say(NEXT, phase)
    assert asyncio.run(first.taken()) is None
    assert jobs.folder.owner() == Owner(MINE, 2)


def test_what_is_said_with_an_epoch_that_is_passed_is_undone(jobs: Jobs) -> None:
    jobs.serve()
    jobs.start(NEXT)
    second = jobs.serve(NEXT)
    jobs.folder.set_owner(Owner(MINE, 0))
    assert asyncio.run(second.taken()) is None
    assert jobs.folder.owner() == Owner(NEXT, 1)


def test_a_job_that_claims_the_store_has_the_service_ended_for_it(jobs: Jobs) -> None:
    first = jobs.serve()
    jobs.start(NEXT)
    second = jobs.seen_by(NEXT)
    asyncio.run(second.enter())
    asyncio.run(second.claim())
    assert asyncio.run(first.taken()) == Taken(NEXT, waits_for_store=True)


def test_a_claim_of_a_job_that_has_ended_is_forgotten(jobs: Jobs) -> None:
    first = jobs.serve()
    jobs.folder.set_claim(Owner(NEXT, 1))
    assert asyncio.run(first.taken()) is None
    assert jobs.folder.claim() is None


def test_a_claim_that_this_job_made_itself_takes_nothing_from_it(jobs: Jobs) -> None:
    jobs.serve()
    jobs.start(NEXT)
    second = jobs.seen_by(NEXT)
    asyncio.run(second.enter())
    asyncio.run(second.claim())
    asyncio.run(second.take())
    assert asyncio.run(second.taken()) is None
    assert jobs.folder.claim() == jobs.folder.owner() == Owner(NEXT, 1)


def test_who_comes_while_another_waits_for_the_store_comes_after_that_one(jobs: Jobs) -> None:
    jobs.serve()
    jobs.start(NEXT, THIRD)
    second, third = jobs.seen_by(NEXT), jobs.seen_by(THIRD)
    asyncio.run(second.enter())
    asyncio.run(second.claim())
    asyncio.run(third.enter())
    asyncio.run(third.claim())
    assert jobs.folder.claim() == Owner(THIRD, 2)
    assert asyncio.run(third.with_store()) == NEXT
    # It opens the store, says so, and goes for the one that waits.
    asyncio.run(second.take())
    assert asyncio.run(second.taken()) == Taken(THIRD, waits_for_store=True)


def test_a_job_that_is_queued_anew_ends_its_earlier_life_and_comes_after_it(jobs: Jobs) -> None:
    earlier = jobs.serve()
    jobs.queue = [jobs.queued(MINE, "PENDING")]
    # Nobody else is there: it serves while its job waits.
    assert asyncio.run(earlier.taken()) is None
    assert not jobs.folder.is_over(MINE)
    jobs.start(AGAIN)
    again = jobs.seen_by(AGAIN)
    asyncio.run(again.enter())
    assert jobs.folder.is_over(MINE)
    assert not jobs.folder.is_over(AGAIN)
    assert not asyncio.run(again.is_dispensable())
    asyncio.run(again.take())
    assert jobs.folder.owner() == Owner(AGAIN, 1)
    # What it still does changes nothing.
    assert asyncio.run(earlier.taken()) is None
    asyncio.run(earlier.take())
    assert jobs.folder.owner() == Owner(AGAIN, 1)


def test_what_begins_late_leaves_the_later_life_of_its_job_alone(jobs: Jobs) -> None:
    jobs.folder.enter(AGAIN)
    asyncio.run(jobs.seen_by(MINE).enter())
    assert jobs.folder.is_over(MINE)
    assert not jobs.folder.is_over(AGAIN)


def test_a_replica_on_top_whose_job_is_queued_anew_ends_its_earlier_life(jobs: Jobs) -> None:
    for life in ("more-9.0", "more-9.2", "more-9.10", "more-90.0"):
        jobs.folder.enter(life)
    assert [jobs.folder.is_over(f"more-9.{at}") for at in (0, 2, 10)] == [True, True, False]
    assert not jobs.folder.is_over("more-90.0")
    assert jobs.folder.last_life("more-9") == "more-9.10"
    assert jobs.folder.lives() == [MINE]


def test_a_successor_takes_over_from_a_job_that_waits_in_the_queue_anew(jobs: Jobs) -> None:
    jobs.serve()
    jobs.queue = [jobs.queued(MINE, "PENDING")]
    jobs.start(NEXT)
    asyncio.run(jobs.seen_by(NEXT).enter())
    assert jobs.folder.is_over(MINE)


def test_a_store_is_opened_once_the_earlier_life_has_closed_it(jobs: Jobs) -> None:
    jobs.serve()
    store = jobs.folder.of(MINE, "db")
    store.make()
    store.set_status(ProcessStatus("db", "e", "ready", 1.0))
    jobs.start(AGAIN)
    again = jobs.seen_by(AGAIN)
    asyncio.run(again.enter())
    assert asyncio.run(again.with_store()) == MINE
    store.set_status(ProcessStatus("db", "e", "stopped", 2.0))
    assert asyncio.run(again.with_store()) == ""


def test_a_store_of_which_nothing_was_heard_for_long_is_taken_for_closed(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.serve()
    store = jobs.folder.of(MINE, "db")
    store.make()
    said = ProcessStatus("db", "e", "ready", 1.0)
    store.set_status(said)
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    jobs.start(AGAIN)
    again = jobs.seen_by(AGAIN)
    asyncio.run(again.enter())
    assert asyncio.run(again.with_store()) == MINE
    now += folder.BELIEVED_S
    assert asyncio.run(again.with_store()) == MINE
    os.utime(store.path / "state.json", (5.0, 5.0))
    now += 1.0
    # By a clock that is wrong, it said so again.
    assert asyncio.run(again.with_store()) == MINE
    now += folder.BELIEVED_S + 1.0
    assert asyncio.run(again.with_store()) == ""


@pytest.mark.parametrize("others_take_s", [0.0, folder.BELIEVED_S + 1.0])
def test_lives_that_ended_hard_are_waited_for_all_at_once_from_the_beginning_on(
    others_take_s: float, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = [f"7.{at}" for at in range(4)]
    for at, life in enumerate(lives):
        jobs.start(life)
        store = jobs.folder.of(life, STORE)
        store.make()
        store.set_status(ProcessStatus(STORE, "e", "ready", 1.0 + at))
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    jobs.start("7.4")
    last = jobs.seen_by("7.4")
    asyncio.run(last.enter())
    now += others_take_s
    assert asyncio.run(last.with_store()) == ("" if others_take_s else lives[0])
    now += folder.BELIEVED_S + 1.0 - others_take_s
    assert asyncio.run(last.with_store()) == ""
    # What speaks after all is waited for.
    jobs.folder.of(lives[2], STORE).set_status(ProcessStatus(STORE, "e", "ready", 9.0))
    assert asyncio.run(last.with_store()) == lives[2]


def test_what_has_ended_while_the_others_came_up_counts_from_its_last_word_on(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = jobs.folder.of(MINE, STORE)
    store.make()
    store.set_status(ProcessStatus(STORE, "e", "ready", 1.0))
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    jobs.start(AGAIN)
    again = jobs.seen_by(AGAIN)
    asyncio.run(again.enter())
    now += folder.BELIEVED_S / 2
    store.set_status(ProcessStatus(STORE, "e", "ready", 2.0))
    assert asyncio.run(again.listen()) == [MINE]
    now += folder.BELIEVED_S
    assert asyncio.run(again.with_store()) == MINE
    now += 1.0
    assert asyncio.run(again.with_store()) == ""


def test_a_job_that_ended_without_a_word_while_another_waits_for_its_store_is_told_so(jobs: Jobs) -> None:
    """A step on a node that Slurm has given up is not ended with its job."""
    jobs.serve()
    jobs.start(NEXT)
    second = jobs.seen_by(NEXT)
    asyncio.run(second.enter())
    asyncio.run(second.claim())
    assert asyncio.run(second.with_store()) == MINE
    jobs.queue = [jobs.queued(NEXT)]
    assert asyncio.run(second.with_store()) == ""
    assert jobs.folder.is_over(MINE)


def test_nothing_is_said_of_a_later_run(jobs: Jobs) -> None:
    first = jobs.serve()
    jobs.folder.begin(Asked(), {})
    jobs.folder.enter(NEXT)
    jobs.folder.set_owner(Owner(NEXT, 0))
    jobs.folder.set_claim(Owner(NEXT, 0))
    assert asyncio.run(first.taken()) is None
    asyncio.run(first.take())
    assert jobs.folder.owner() == jobs.folder.claim() == Owner(NEXT, 0)
    with pytest.raises(FileNotFoundError):
        jobs.say(MINE, "down")


def test_a_job_is_alive_where_slurm_does_not_answer_and_it_has_not_said_that_it_ended(jobs: Jobs) -> None:
    jobs.start(NEXT)
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
    jobs.start(NEXT)
    jobs.queue[-1] = jobs.queued(NEXT, state)
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


@pytest.mark.parametrize("state", ["SUSPENDED", "STOPPED", "COMPLETING"])
def test_a_job_that_slurm_has_halted_does_not_go_on_after_the_one_that_took_over_from_it(
    jobs: Jobs, state: str
) -> None:
    """It says for good what it said last, and is told of nothing."""
    jobs.serve()
    jobs.say(MINE, "running")
    jobs.start(NEXT)
    seen = jobs.serve(NEXT)
    jobs.queue = [jobs.queued(MINE, state), jobs.queued(NEXT)]
    assert not asyncio.run(seen.has_successor())
