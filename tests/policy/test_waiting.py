"""Those who wait, in their order; who leaves is struck out and never comes back."""

import random

from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.policy.waiting import IN_TURN, Standing, Waiting


def drained(waiting: Waiting[str]) -> list[str]:
    found = []
    while (first := waiting.first()) is not None:
        found.append(first[0])
        assert waiting.leave(first[0])
    return found


def test_the_least_goes_first_and_of_equal_ones_who_came_first() -> None:
    waiting: Waiting[str] = Waiting()
    for ticket, order in (("late", 3.0), ("a", 1.0), ("b", 1.0), ("soon", 0.5)):
        waiting.add(ticket, Standing(order))
    assert drained(waiting) == ["soon", "a", "b", "late"]


def test_without_any_order_it_is_a_queue() -> None:
    waiting: Waiting[str] = Waiting()
    for ticket in "dcba":
        waiting.add(ticket, IN_TURN)
    assert drained(waiting) == ["d", "c", "b", "a"]


def test_who_left_and_came_again_stands_where_it_stands_now() -> None:
    waiting: Waiting[str] = Waiting()
    waiting.add("a", Standing(1.0, promised=True))
    waiting.add("b", Standing(2.0))
    assert waiting.leave("a")
    assert not waiting.leave("a")
    assert (len(waiting), len(waiting.promised), len(waiting.others)) == (1, 0, 1)
    waiting.add("a", Standing(3.0))
    assert "a" in waiting
    assert drained(waiting) == ["b", "a"]
    assert not waiting


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=300))
def test_as_a_sorted_list_without_those_who_left(given_: list[tuple[float, bool]]) -> None:
    waiting: Waiting[int] = Waiting()
    for number, (order, _) in enumerate(given_):
        waiting.add(number, Standing(order))
    for number, (_, stays) in enumerate(given_):
        if not stays:
            waiting.leave(number)
    kept = [(order, number) for number, (order, stays) in enumerate(given_) if stays]
    found = []
    while (first := waiting.first()) is not None:
        found.append(first[0])
        waiting.leave(first[0])
    assert found == [number for _, number in sorted(kept)]


def test_those_who_leave_take_no_room_for_long() -> None:
    waiting: Waiting[int] = Waiting()
    rng = random.Random(1)
    for number in range(20_000):
        waiting.add(number, Standing(rng.random()))
        if number >= 50:
            waiting.leave(number - 50)
    assert len(waiting) == 50
    assert len(waiting._heap) < 250


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.booleans()), max_size=100))
def test_requests_are_counted_once_each_while_a_call_of_theirs_waits(
    given_: list[tuple[int, bool, bool]],
) -> None:
    waiting: Waiting[int] = Waiting()
    for number, (request, promised, _) in enumerate(given_):
        waiting.add(number, Standing(promised=promised, request=request))
    for number, (_, _, stays) in enumerate(given_):
        if not stays:
            waiting.leave(number)
    kept = [(request, promised) for request, promised, stays in given_ if stays]
    assert (len(waiting), waiting.requests) == (len(kept), len({*kept}))
    for found, promised in ((waiting.promised, True), (waiting.others, False)):
        calls = [request for request, is_promised in kept if is_promised == promised]
        assert (found.calls, len(found)) == (len(calls), len({*calls}))
        assert [found.before(number) for number in range(11)] == [
            len({each for each in calls if each < number}) for number in range(11)
        ]
        assert [number in found for number in range(11)] == [number in calls for number in range(11)]
