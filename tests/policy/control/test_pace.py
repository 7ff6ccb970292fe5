"""From when on a replica counts as slow by its own calls, and for how much."""

from dataclasses import replace

import pytest

from harmonia_compiler.policy.control.decide import begun
from harmonia_compiler.policy.control.division import divided, pace
from harmonia_compiler.policy.control.ratio import PLANNED, Ratio
from harmonia_compiler.policy.control.state import State
from tests.policy.control.virtual import by_speed, plan_of


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


@pytest.mark.parametrize(("calls", "is_proof"), [(10.0, False), (400.0, True)])
def test_what_chance_makes_of_few_calls_is_no_difference(calls: float, *, is_proof: bool) -> None:
    planned = plan_of(2, batch=8)
    state = replace(begun(planned), replicas={"llm-0": Ratio(1.0, calls), "llm-1": Ratio(2.0, calls)})
    assert bool(divided(planned, state, {"llm": 10.0}, by_speed).words) == is_proof
