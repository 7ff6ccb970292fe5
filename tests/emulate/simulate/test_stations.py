"""Virtual time and queueing stations, against what queueing theory says exactly."""

import pytest

from bench.check_closed_forms import SERVICE_MS, Job, exponential, mean_wait_ms, mg1_ms, mmc_ms, station, varied
from harmonia_compiler.emulate.simulate.loop import Loop

JOBS = 150_000


@pytest.mark.slow
@pytest.mark.parametrize(("servers", "busy"), [(1, 0.5), (1, 0.8), (2, 0.7), (8, 0.9)])
def test_waits_as_in_mmc(servers: int, busy: float) -> None:
    found = mean_wait_ms(servers, busy * servers / SERVICE_MS, exponential, JOBS)
    assert found == pytest.approx(mmc_ms(servers, busy), rel=0.06)


@pytest.mark.parametrize("cv2", [0.0, 0.25, 4.0])
def test_waits_as_in_mg1(cv2: float) -> None:
    found = mean_wait_ms(1, 0.7 / SERVICE_MS, varied(cv2), JOBS)
    assert found == pytest.approx(mg1_ms(cv2, 0.7), rel=0.06)


def test_what_is_planned_for_one_time_happens_in_the_order_of_planning() -> None:
    loop, seen = Loop(), []
    for name in "abc":
        loop.at(5.0, lambda name=name: seen.append(name))  # type: ignore[misc]
    loop.at(1.0, lambda: loop.at(0.0, lambda: seen.append(f"late at {loop.now_ms}")))
    loop.run(until_ms=4.0)
    assert (seen, loop.now_ms) == (["late at 1.0"], 1.0)
    loop.run()
    assert (seen[1:], loop.now_ms, loop.happened) == (["a", "b", "c"], 5.0, 5)


def test_what_is_called_off_does_not_happen() -> None:
    loop, seen = Loop(), []
    planned = loop.after(3.0, lambda: seen.append("no"))
    planned.call_off()
    loop.run()
    planned.call_off()
    assert (seen, loop.happened) == ([], 0)


def test_a_station_of_several_servers_is_as_busy_as_they_are_on_average() -> None:
    loop = Loop()
    queue = station(loop, servers=4)
    for job in (Job(10.0), Job(30.0)):
        queue.submit(job)
    loop.run()
    assert queue.busy_ms == 10.0


def test_a_server_takes_all_that_wait_up_to_its_batch() -> None:
    loop = Loop()
    queue = station(loop, batch=3)
    jobs = [Job(10.0), *(Job(float(ms)) for ms in (1, 2, 3, 4))]
    for job in jobs:
        queue.submit(job)
    loop.run()
    assert [job.ended_ms for job in jobs] == [10.0, 13.0, 13.0, 13.0, 17.0]
    assert queue.busy_ms == 17.0


def test_a_job_that_nobody_awaits_does_not_begin_or_ends_for_nobody() -> None:
    loop = Loop()
    queue = station(loop)
    begun, waiting, last = jobs = [Job(10.0), Job(10.0), Job(10.0)]
    for job in jobs:
        queue.submit(job)
    queue.cancel(begun)
    queue.cancel(waiting)
    loop.run()
    assert (begun.ended_ms, waiting.ended_ms, last.ended_ms) == (None, None, 20.0)


def test_a_job_that_nobody_awaits_on_its_way_does_not_arrive() -> None:
    loop = Loop()
    queue = station(loop)
    left, last = Job(10.0), Job(10.0)
    queue.submit(left, 2.0)
    queue.submit(last, 3.0)
    queue.cancel(left)
    loop.run()
    assert (left.ended_ms, last.ended_ms, queue.busy_ms) == (None, 13.0, 10.0)
