"""When requests come: generated, or by the times of a recording."""

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


def test_a_recording_that_is_too_short_is_refused(trace: Path) -> None:
    with pytest.raises(ValueError, match="has no 24 s of 5 requests a second"):
        arrivals(trace, 5.0, 3, 8_000.0)


def test_a_recording_is_known_by_what_is_in_it(trace: Path) -> None:
    before = named(trace)
    assert before.startswith("azure ")
    trace.write_text(RECORDED + "2023-11-16 18:20:00.0000000,100,10\n")
    assert named(trace) != before
    assert named(None) == "poisson"
