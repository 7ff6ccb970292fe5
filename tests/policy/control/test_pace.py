"""From when on a replica counts as slow by its own calls."""

import pytest

from harmonia_compiler.policy.control.division import pace
from harmonia_compiler.policy.control.ratio import PLANNED, Ratio
from harmonia_compiler.policy.control.state import State


def known(ratio: Ratio) -> State:
    return State(plan="p", engines={"llm": Ratio(1.1, 50.0)}, replicas={"llm-1": ratio})


def test_one_call_alone_says_nothing_of_its_replica() -> None:
    assert pace(known(PLANNED.moved(10.0, 1.0)), "llm", "llm-1") == pytest.approx(1.1)


def test_one_call_in_each_of_two_windows_does() -> None:
    seen = PLANNED.moved(10.0, 1.0).moved(10.0, 1.0)
    assert seen.value > 2.0
    assert pace(known(seen), "llm", "llm-1") == seen.value


def test_of_windows_with_equally_many_calls_the_last_counts_as_much_as_all_before() -> None:
    seen = PLANNED
    for _ in range(20):
        seen = seen.moved(1.0, 100.0)
    assert seen.moved(1.44, 100.0).value == pytest.approx(1.2, rel=1e-3)
