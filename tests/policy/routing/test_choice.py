"""The choice between two replicas that have room."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.policy.routing.choice import ReplicaLoad, choose
from harmonia_compiler.policy.routing.health import STALE_S

NOW = 100.0


def load(
    name: str,
    in_flight: int = 0,
    last_turn: int = 0,
    *,
    weight: float = 1.0,
    pace: float | None = None,
    failed: int = 0,
    at: float = NOW - 1.0,
) -> ReplicaLoad:
    made = ReplicaLoad(Endpoint(name, "llm", "127.0.0.1", 1), ReplicaShare(64, weight), in_flight, last_turn)
    for _ in range(10 if pace is not None else 0):
        made.health.answered(pace or 0.0, at)
    for _ in range(failed):
        made.health.failed()
    return made


@pytest.mark.parametrize(
    ("replicas", "chosen"),
    [
        ([], None),
        ([load("a", 2), load("b", 1)], "b"),
        ([load("a", 1, last_turn=4), load("b", 1, last_turn=3)], "b"),
        ([load("a", 0)], "a"),
        ([load("a", 0, weight=1), load("b", 8, weight=10)], "b"),
        ([load("a", 0, weight=1), load("b", 10, weight=10)], "a"),
        ([load("a", 0, pace=10.0), load("b", 8, pace=1.0)], "b"),
        ([load("a", 0, pace=10.0), load("b", 10, pace=1.0)], "a"),
        ([load("a", 0, pace=1.5), load("b", 1, pace=1.0)], "a"),
        ([load("a", 0, pace=10.0, at=NOW - STALE_S), load("b", 1, pace=1.0)], "a"),
        ([load("a", 1, pace=10.0, at=NOW - STALE_S), load("b", 4, pace=1.0)], "b"),
        ([load("a", 0, failed=5), load("b", 8)], "b"),
    ],
)
def test_the_choice(replicas: list[ReplicaLoad], chosen: str | None) -> None:
    found = choose(replicas, NOW, 0)
    assert (found.endpoint.replica if found else None) == chosen


@given(st.lists(st.integers(0, 5), min_size=2, max_size=8), st.integers(0, 2**40))
def test_the_busiest_of_all_is_never_chosen_where_one_has_less_to_do(in_flight: list[int], lot: int) -> None:
    found = choose([load(str(at), calls) for at, calls in enumerate(in_flight)], NOW, lot)
    assert found is not None
    others = in_flight.copy()
    others.remove(found.in_flight)
    assert found.in_flight <= max(others)


def test_every_pair_has_its_turn() -> None:
    loads = [load(name) for name in "abcde"]
    counts = dict.fromkeys("abcde", 0)
    for lot in range(1000):
        found = choose(loads, NOW, lot)
        assert found is not None
        counts[found.endpoint.replica] += 1
        found.last_turn = lot
    assert min(counts.values()) > 100


def test_busy_replicas_share_calls_in_proportion_to_their_capacity() -> None:
    loads = [load("core", weight=1.0), load("gpu", weight=30.0)]
    for lot in range(62):
        taken = choose(loads, NOW, lot)
        assert taken is not None
        taken.in_flight += 1
    assert [one.in_flight for one in loads] == [2, 60]
