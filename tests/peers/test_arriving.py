"""When requests come: generated, or by the times of a recording."""

from itertools import pairwise
from pathlib import Path

import pytest

from bench.peers.arriving import arrivals, named

#: A request a second for a hundred seconds, as Azure records them.
RECORDED = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:{15 + at // 60}:{at % 60:02d}.0000000,100,10\n" for at in range(101)
)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "azure.csv"
    path.write_text(RECORDED)
    return path


def test_generated_requests_differ_by_their_seed() -> None:
    one, same, other = ([*arrivals(None, 10.0, seed, 20_000.0)] for seed in (1, 1, 2))
    assert one == same != other
    assert 150 < len(one) < 250


def test_a_recording_is_sped_up_to_the_rate_and_another_seed_takes_the_next(trace: Path) -> None:
    first, next_ = ([*arrivals(trace, 5.0, seed, 8_000.0)] for seed in (1, 2))
    assert len(first) == len(next_) == 40
    assert [one.at_ms for one in first[:3]] == [0.0, 200.0, 400.0]
    # How long a recorded answer was is not what was planned for.
    assert first[0].answer_tokens is None


def test_a_recording_that_is_over_begins_anew(trace: Path) -> None:
    """At five requests a second it lasts for 20.2 seconds: 101 requests."""
    found = [*arrivals(trace, 5.0, 1, 50_000.0)]
    assert len(found) == 250
    gaps = {round(after.at_ms - before.at_ms, 6) for before, after in pairwise(found)}
    assert gaps == {200.0}
    third = [*arrivals(trace, 5.0, 3, 20_000.0)]
    assert len(third) == 100
    assert third[0].at_ms == pytest.approx(0.0)


def test_a_recording_is_known_by_what_is_in_it(trace: Path) -> None:
    before = named(trace)
    assert before.startswith("azure ")
    trace.write_text(RECORDED + "2023-11-16 18:20:00.0000000,100,10\n")
    assert named(trace) != before
    assert named(None) == "poisson"
