from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.runtime.worker.kept import Kept


class Lengths:
    """Makes lengths of texts, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> list[int]:
        self.asked.append(list(texts))
        return [len(text) for text in texts]


def test_what_comes_again_is_made_once() -> None:
    kept = Kept(make := Lengths(), most=10)
    assert kept.of(["a", "bb", "a"]) == {"a": 1, "bb": 2}
    assert kept.of(["bb", "ccc"]) == {"bb": 2, "ccc": 3}
    assert kept.of(["a", "ccc"]) == {"a": 1, "ccc": 3}
    assert make.asked == [["a", "bb"], ["ccc"]]


def test_what_was_asked_for_longest_ago_goes_first() -> None:
    kept = Kept(make := Lengths(), most=2)
    for text in ("a", "bb", "a", "ccc", "a", "bb"):
        kept.of([text])
    assert make.asked == [["a"], ["bb"], ["ccc"], ["bb"]]


@given(st.lists(st.lists(st.text("abc", max_size=2), max_size=6), max_size=20), st.integers(0, 4))
def test_more_than_is_kept_is_still_right(calls: list[list[str]], most: int) -> None:
    kept = Kept(Lengths(), most=most)
    for texts in calls:
        assert kept.of(texts) == {text: len(text) for text in texts}


def test_nothing_is_kept_of_what_failed() -> None:
    def make(texts: Sequence[str]) -> list[int]:
        if "bad" in texts:
            raise ValueError("bad")
        return [len(text) for text in texts]

    kept = Kept(make, most=10)
    with pytest.raises(ValueError, match="bad"):
        kept.of(["good", "bad"])
    assert kept.of(["good"]) == {"good": 4}
