"""What the controller of another plan knows when it takes the place of one in a running service."""

from dataclasses import replace

import pytest

from harmonia_compiler.contract.bundle import ExpectedCalls
from harmonia_compiler.policy.control.planned import Planned
from harmonia_compiler.policy.control.state import State
from harmonia_compiler.policy.control.succession import succeeded
from tests.policy.control.virtual import CALL_S, CAPACITY_RPS, Service, plan_of


def busy() -> Service:
    """A service that was planned with two replicas, and came to have more, each twice as slow as planned."""
    service = Service(plan_of(2, 1, 8), lambda _: 3.0 * CAPACITY_RPS, lambda _name, _now: 2.0)
    service.windows(20)
    assert service.state is not None
    assert service.state.sizes["llm"].count > 4
    return service


def known(service: Service) -> State:
    assert service.state is not None
    return service.state


def test_the_next_plan_begins_with_what_comes_what_ran_and_what_was_learned() -> None:
    service = busy()
    before, after = known(service), replace(plan_of(3, 1, 8), fingerprint="q")
    begins = succeeded(before, after)
    assert begins.plan == "q"
    assert begins.forecasts == before.forecasts
    assert begins.sizes["llm"].count == before.sizes["llm"].count
    assert (begins.engines, begins.visits) == (before.engines, before.visits)
    assert begins.shares == {}
    # So the first window after a replacement takes nothing away, and adds what is lacking.
    service.planned, service.state = after, begins
    counts = [service.windows(1).replicas["llm"] for _ in range(10)]
    assert min(counts) >= before.sizes["llm"].count


def test_a_plan_that_was_made_from_the_readings_is_not_corrected_by_them_again() -> None:
    before = known(busy())
    assert before.engines["llm"].value > 1.5
    slower = replace(plan_of(2, 1, 8), expected={"rag": {"say": ExpectedCalls(1.0, 2000.0 * CALL_S)}})
    begins = succeeded(before, slower)
    assert (begins.engines, begins.replicas) == ({}, {})
    assert begins.visits == before.visits
    oftener = replace(plan_of(2, 1, 8), expected={"rag": {"say": ExpectedCalls(2.0, 1000.0 * CALL_S)}})
    begins = succeeded(before, oftener)
    assert begins.visits == {"rag": {}}
    assert begins.engines == before.engines


@pytest.mark.parametrize(("least", "count", "most", "begins"), [(1, 8, 8, 8), (1, 1, 2, 2), (4, 4, 4, 4)])
def test_there_are_as_many_as_ran_between_the_plans_own_and_what_there_is_room_for(
    least: int, count: int, most: int, begins: int
) -> None:
    assert succeeded(known(busy()), plan_of(count, least, most)).sizes["llm"].count == begins


def test_what_the_plan_before_did_not_have_begins_as_planned() -> None:
    other = plan_of(2, 1, 8)
    other = Planned(
        "q", {"other": other.engines["llm"]}, {"new": {"ask": ExpectedCalls(1.0, 100.0)}}, {"new": {"ask": "other"}}
    )
    begins = succeeded(known(busy()), other)
    assert begins.sizes["other"].count == 2
    assert begins.forecasts["new"].level is None
    assert (begins.visits, begins.engines) == ({"new": {}}, {})
