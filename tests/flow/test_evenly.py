"""What is said of labels as linear equations: which of them count, and what they leave open."""

import pytest

from harmonia_compiler.flow.asked import Asked
from harmonia_compiler.flow.evenly import shares_of_all
from harmonia_compiler.flow.labels import SaidOfLabels


def said(labels: str, share: float, left: str, *, is_behind: bool = False) -> SaidOfLabels:
    return SaidOfLabels(Asked(0), frozenset(labels), share, frozenset(left), is_behind)


@pytest.mark.parametrize(
    ("sayings", "found"),
    [
        # Of all labels, before what is said of fewer.
        ([said("a", 0.5, "abc"), said("a", 0.1, "abcd")], {"a": 0.1}),
        # The first of those of as many.
        ([said("a", 0.1, "abcd"), said("a", 0.5, "abcd")], {"a": 0.1}),
        # Of those that are left, whose share follows: b is as often as d.
        ([said("a", 0.2, "abcd"), said("c", 0.5, "bcd")], {"a": 0.2, "c": 0.4}),
        # What a label has alone, and the others of the same saying evenly.
        ([said("abc", 0.8, "abcd"), said("a", 0.4, "abcd")], {"a": 0.4, "b": 0.2, "c": 0.2}),
        # Where two overlap, those of the first evenly.
        ([said("ab", 0.6, "abcd"), said("bc", 0.4, "abcd")], {"a": 0.3, "b": 0.3, "c": 0.1}),
        # Shares that sum to 1 of those left say nothing of those that have gone.
        ([said("a", 0.25, "ab"), said("b", 0.75, "ab")], {"a": 0.125, "b": 0.375}),
        # Nor do those that are rounded.
        (
            [said("a", 0.33, "abc"), said("b", 0.33, "abc"), said("c", 0.33, "abc")],
            {"a": 0.2475, "b": 0.2475, "c": 0.255},
        ),
        # What is reckoned by others counts behind them: here a share of what b was guessed to leave.
        (
            [
                said("a", 0.4, "abcd"),
                said("a", 0.9, "acd", is_behind=True),
                said("b", 0.5, "bcd"),
                said("c", 0.5, "cd"),
            ],
            {"a": 0.4, "b": 0.3, "c": 0.15},
        ),
        # Nothing that cannot be.
        ([said("a", 0.9, "abcd"), said("bc", 0.9, "abcd")], {}),
    ],
)
def test_how_often_labels_come(sayings: list[SaidOfLabels], found: dict[str, float]) -> None:
    assert shares_of_all("abcd", sayings) == pytest.approx(found)
