"""Calls that begin as others did find the same replica, unless it has more than its part to do or does badly."""

from collections import Counter, defaultdict
from collections.abc import Iterable

import pytest

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.contract.component import Component, Insert, Port
from harmonia_compiler.contract.types import Text
from harmonia_compiler.policy.routing.affinity import AT_HAND, FEW, MOST_KNOWN, Given, beginning_of
from harmonia_compiler.policy.routing.pool import Pool

ENDPOINTS = [Endpoint(name, "e", "127.0.0.1", port) for port, name in enumerate("abcd", start=1)]
TALK = Component(
    "talk",
    "llm",
    "e",
    (Port("more", Text()), Port("turns", Text())),
    Text(),
    prompt=("Be kind. ", Insert("turns"), Insert("more")),
)


def pool(*endpoints: Endpoint, weights: dict[str, float] | None = None, seed: int = 0) -> Pool:
    shares = {name: ReplicaShare(1000, weight) for name, weight in (weights or {}).items()}
    made = Pool(ReplicaShare(1000), shares, seed)
    made.set_replicas(endpoints)
    return made


def take(routed: Pool, beginning: int) -> Endpoint:
    taken = routed.take(0.0, beginning=beginning)
    assert taken is not None
    return taken


def places(routed: Pool, beginnings: Iterable[int]) -> dict[int, str]:
    """Where each goes alone."""
    found = {}
    for beginning in beginnings:
        taken = take(routed, beginning)
        found[beginning] = taken.replica
        routed.release(taken)
    return found


def test_the_same_beginning_finds_the_same_replica_in_every_gateway_that_is_idle() -> None:
    one, other = pool(*ENDPOINTS), pool(*reversed(ENDPOINTS), seed=77)
    assert places(one, range(1, 200)) == places(one, range(1, 200)) == places(other, range(1, 200))
    assert min(Counter(places(one, range(1, 2000)).values()).values()) > 350


def test_it_finds_one_of_the_same_two_in_every_gateway_that_is_busy() -> None:
    found: dict[int, set[str]] = defaultdict(set)
    for seed in range(6):
        routed = pool(*ENDPOINTS, seed=seed)
        for number in range(200):
            # What each is busy with is its own.
            take(routed, 1000 * seed + number)
        for beginning in range(50_000, 50_100):
            found[beginning].add(take(routed, beginning).replica)
    assert {len(replicas) for replicas in found.values()} <= {1, 2}
    assert Counter(replica for replicas in found.values() for replica in replicas).keys() == {*"abcd"}


def test_a_replica_that_goes_moves_only_what_was_its_own() -> None:
    before, after = places(pool(*ENDPOINTS), range(1, 500)), places(pool(*ENDPOINTS[:3]), range(1, 500))
    assert all(after[beginning] == name for beginning, name in before.items() if name != "d")


@pytest.mark.parametrize("weights", [{}, {"a": 3.0, "b": 3.0, "c": 1.0, "d": 1.0}])
def test_beginnings_that_do_not_come_again_are_divided_as_evenly_as_calls_without_one(
    weights: dict[str, float],
) -> None:
    uneven = []
    for beginnings in (range(1, 401), [0] * 400):
        routed = pool(*ENDPOINTS, weights=weights)
        for beginning in beginnings:
            take(routed, beginning)
        each = [load.in_flight / load.share.weight for load in routed.loads.values()]
        uneven.append(max(each) / min(each))
    assert uneven[0] < 1.1
    assert uneven[1] < 1.1


def test_what_a_replica_has_at_hand_goes_there_while_another_has_a_little_less_to_do() -> None:
    routed = pool(*ENDPOINTS)
    for number in range(400):
        take(routed, 1000 + number)
    home = take(routed, 1)
    busier = [take(routed, 1) for _ in range(10)]
    assert {*busier} == {home}
    assert routed.loads[home.replica].in_flight > max(
        load.in_flight for name, load in routed.loads.items() if name != home.replica
    )


def test_a_beginning_that_all_share_does_not_fill_one_replica() -> None:
    routed = pool(*ENDPOINTS)
    counts = Counter(take(routed, 5).replica for _ in range(400))
    assert max(counts.values()) <= 130
    assert min(counts.values()) >= 70


def test_few_calls_at_once_do_not_make_another_replica_begin_anew() -> None:
    routed = pool(*ENDPOINTS)
    assert len({take(routed, 1) for _ in range(int(1000 * FEW))}) == 1


def test_whoever_took_one_in_anothers_stead_has_it_at_hand_as_well() -> None:
    routed = pool(*ENDPOINTS)
    home = take(routed, 1)
    while (other := take(routed, 1)) == home:
        pass
    # Nobody has less to do than the two that were never asked, but these would have to begin anew.
    for endpoint in ENDPOINTS:
        for _ in range(routed.loads[endpoint.replica].in_flight):
            routed.release(endpoint)
    assert {*places(routed, [1] * 20).values()} <= {home.replica, other.replica}


@pytest.mark.parametrize(("others", "is_at_hand"), [(AT_HAND, True), (AT_HAND + 1, False)])
def test_a_beginning_is_at_hand_until_so_many_others_came(others: int, *, is_at_hand: bool) -> None:
    given, (load, *_) = Given(), pool(*ENDPOINTS).loads.values()
    given.add(1, load)
    load.calls += others
    assert (given.nearest([load], 1) is load) == is_at_hand


def test_where_the_one_that_has_it_at_hand_has_no_room_another_is_asked() -> None:
    routed = Pool(ReplicaShare(2), {})
    routed.set_replicas(ENDPOINTS[:2])
    for _ in range(4):
        take(routed, 1)
    assert all(load.in_flight == 2 for load in routed.loads.values())
    assert routed.take(0.0, beginning=1) is None


def test_who_began_anew_has_nothing_at_hand() -> None:
    routed = pool(*ENDPOINTS)
    home = places(routed, [1])[1]
    moved = [Endpoint(one.replica, "e", one.host, one.port + 100 * (one.replica == home)) for one in ENDPOINTS]
    routed.set_replicas(moved)
    assert 1 in routed._given
    assert routed._given.nearest([*routed.loads.values()], 1) is None


def test_only_so_many_are_known_and_the_oldest_is_forgotten_first() -> None:
    given, (load, *_) = Given(), pool(*ENDPOINTS).loads.values()
    given.add(1, load)
    for beginning in range(2, MOST_KNOWN + 1):
        given.add(beginning, load)
    given.add(1, load)
    given.add(MOST_KNOWN + 1, load)
    assert 1 in given
    assert 2 not in given


def test_who_is_slow_or_to_be_avoided_is_passed_over() -> None:
    routed = pool(*ENDPOINTS)
    home = places(routed, [1])[1]
    others = [endpoint for endpoint in ENDPOINTS if endpoint.replica != home]
    taken = routed.take(0.0, (home,), beginning=1)
    assert taken in others
    for _ in range(10):
        for endpoint in ENDPOINTS:
            service_s = 5.0 if endpoint.replica == home else 0.1
            routed.answered(endpoint, "c", service_s, service_s, 0.0)
    assert take(routed, 1) in others
    assert routed.take(0.0, "abcd", beginning=1) is not None


def test_calls_are_told_apart_by_what_comes_first_in_their_prompt() -> None:
    first = {"role": "user", "content": "Hello"}
    short = beginning_of(TALK, {"turns": [first], "more": "a"})
    assert short == beginning_of(TALK, {"turns": [first, {"role": "user", "content": "And?"}], "more": "b"}) != 0
    assert short != beginning_of(TALK, {"turns": [{"role": "user", "content": "Hi"}], "more": "a"})
    assert beginning_of(TALK, {"turns": [], "more": "a"}) == beginning_of(TALK, {"turns": "", "more": "a"})
    assert beginning_of(TALK, {"turns": "x" * 600}) == beginning_of(TALK, {"turns": "x" * 512})
    assert beginning_of(TALK, {}) == 0
