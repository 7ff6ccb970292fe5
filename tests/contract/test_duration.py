"""Durations as people write them, and as they are shown."""

import pytest

from harmonia_compiler.check.amounts import DURATION
from harmonia_compiler.contract.duration import UNITS_MS, duration_ms, shown_ms
from harmonia_compiler.contract.objective import parse_objectives


@pytest.mark.parametrize(
    ("written", "ms"),
    [("800ms", 800.0), ("800 ms", 800.0), ("1.5s", 1500.0), (".5 s", 500.0), ("2m", 120_000.0), ("2 min", 120_000.0)],
)
def test_a_number_and_a_unit(written: str, ms: float) -> None:
    assert duration_ms(written) == ms


@pytest.mark.parametrize("written", ["", "5", "s", "-1s", "0s", "1e3 s", "2 minutes", "2M", "\u0665s", "9" * 400 + "s"])
def test_anything_else_is_told_how_it_is_written(written: str) -> None:
    with pytest.raises(ValueError, match=r"write it like|above 0"):
        duration_ms(written)


def test_very_many_spaces_are_refused_at_once() -> None:
    """To try each way in which they could be parted would take minutes."""
    for written in ("0" + " " * 200_000 + "x", "1" + " " * 200_000 + "x"):
        with pytest.raises(ValueError, match="write it like"):
            duration_ms(written, zero=True)
    with pytest.raises(ValueError, match="write it like"):
        parse_objectives("p95 latency <=" + " " * 200_000 + "\n")


def test_the_units_of_the_language_mean_the_same_here() -> None:
    assert DURATION.units.items() <= UNITS_MS.items()


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0.0, "0 ms"),
        (0.123456, "0.123 ms"),
        (999.4, "999 ms"),
        (999.6, "1 s"),
        (1534.0, "1.53 s"),
        (59_960.0, "60 s"),
        (90_000.0, "1.5 min"),
        (3_600_000.0, "1 h"),
        (604_603_000.0, "167.9 h"),
    ],
)
def test_three_digits_are_shown(ms: float, shown: str) -> None:
    assert shown_ms(ms) == shown
