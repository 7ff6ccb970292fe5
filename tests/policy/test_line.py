"""How many may wait for an engine: requests, whatever the number of their calls, and never for who came later."""

import pytest

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.contract.program import MOST_ITEMS
from harmonia_compiler.policy import line as module
from harmonia_compiler.policy.line import WAITING_AT_LEAST, WAITING_PER_SLOT, Line, QueueFull
from harmonia_compiler.policy.waiting import Standing


class Tried:
    """A line of which every place is taken, and calls that are let wait there or not."""

    def __init__(self, slots: int = 1) -> None:
        self.line: Line[int] = Line(ReplicaShare(slots), {})
        self.line.set_replicas([Endpoint("a", "e", "127.0.0.1", 1)])
        self.calls = 0
        while self.line.ask(0.0) is not None:
            pass

    def waits(self, request: int, calls: int = 1, *, promised: bool = False) -> int:
        """How many of so many calls of a request were let wait."""
        before = len(self.line.waiting)
        for _ in range(calls):
            self.calls += 1
            try:
                self.line.wait(self.calls, Standing(promised=promised, request=request))
            except QueueFull:
                break
        return len(self.line.waiting) - before


def test_no_request_is_refused_for_its_own_calls() -> None:
    tried = Tried()
    assert tried.waits(1, MOST_ITEMS) == MOST_ITEMS
    assert tried.waits(2, MOST_ITEMS) == MOST_ITEMS
    assert tried.waits(1, MOST_ITEMS) == MOST_ITEMS


@pytest.mark.parametrize("slots", [1, 100])
def test_so_many_requests_may_wait_and_no_more(slots: int) -> None:
    tried, most = Tried(slots), max(WAITING_AT_LEAST, WAITING_PER_SLOT * slots)
    assert [tried.waits(request, 3) for request in range(most)] == [3] * most
    assert tried.waits(most) == 0
    # Who waits already may wait with more.
    assert tried.waits(most - 1) == 1


def test_there_is_room_again_once_the_last_call_of_a_request_has_gone() -> None:
    tried = Tried()
    tried.waits(0, 2)
    for request in range(1, WAITING_AT_LEAST):
        tried.waits(request)
    tried.line.leave(1)
    assert tried.waits(WAITING_AT_LEAST) == 0
    tried.line.leave(2)
    assert tried.waits(WAITING_AT_LEAST) == 1


def test_whom_others_only_followed_is_let_wait() -> None:
    tried = Tried()
    for request in range(1, WAITING_AT_LEAST + 1):
        tried.waits(request)
    assert tried.waits(0) == 1
    assert tried.waits(WAITING_AT_LEAST + 1) == 0


def test_who_may_wait_for_ever_takes_no_place_from_who_may_not() -> None:
    tried = Tried()
    for request in range(WAITING_AT_LEAST):
        tried.waits(request)
    late = range(WAITING_AT_LEAST, 2 * WAITING_AT_LEAST)
    assert [tried.waits(request, promised=True) for request in late] == [1] * WAITING_AT_LEAST
    assert tried.waits(1000, promised=True) == 0
    assert tried.waits(1000) == 0


def test_the_calls_of_lists_within_lists_are_bounded_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.MOST_CALLS == MOST_ITEMS * MOST_ITEMS
    monkeypatch.setattr(module, "MOST_CALLS", 100)
    tried = Tried()
    assert tried.waits(1, 101) == 100
    with pytest.raises(QueueFull, match="100 calls of 1 request wait"):
        tried.line.wait(0, Standing(request=1))
    assert tried.waits(0) == 0
    assert tried.waits(2, 101, promised=True) == 100
