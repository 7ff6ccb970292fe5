"""Calls that begin alike find the same replica, unless it has more than its part to do or does badly."""

from collections import Counter

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.contract.component import Component, Insert, Port
from harmonia_compiler.contract.types import Text
from harmonia_compiler.policy.routing.affinity import beginning_of
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


def pool(*endpoints: Endpoint, weights: dict[str, float] | None = None) -> Pool:
    shares = {name: ReplicaShare(1000, weight) for name, weight in (weights or {}).items()}
    made = Pool(ReplicaShare(1000), shares)
    made.set_replicas(endpoints)
    return made


def places(routed: Pool, beginnings: range) -> dict[int, str]:
    """Where each goes alone."""
    found = {}
    for beginning in beginnings:
        taken = routed.take(0.0, beginning=beginning)
        assert taken is not None
        found[beginning] = taken.replica
        routed.release(taken)
    return found


def test_the_same_beginning_finds_the_same_replica_in_every_gateway() -> None:
    one, other = pool(*ENDPOINTS), pool(*reversed(ENDPOINTS))
    other.seed = 77
    assert places(one, range(1, 200)) == places(one, range(1, 200)) == places(other, range(1, 200))
    assert min(Counter(places(one, range(1, 2000)).values()).values()) > 350


def test_a_replica_that_goes_moves_only_what_was_its_own() -> None:
    before, after = places(pool(*ENDPOINTS), range(1, 500)), places(pool(*ENDPOINTS[:3]), range(1, 500))
    assert all(after[beginning] == name for beginning, name in before.items() if name != "d")


def test_a_replica_gets_beginnings_in_proportion_to_its_weight() -> None:
    found = places(pool(*ENDPOINTS[:2], weights={"a": 3.0, "b": 1.0}), range(1, 2000))
    assert 0.7 < Counter(found.values())["a"] / len(found) < 0.8


def test_a_beginning_that_all_share_does_not_fill_one_replica() -> None:
    routed = pool(*ENDPOINTS)
    counts = Counter(taken.replica for _ in range(400) if (taken := routed.take(0.0, beginning=5)))
    assert max(counts.values()) <= 130


def test_who_is_slow_or_to_be_avoided_is_passed_over() -> None:
    routed = pool(*ENDPOINTS)
    home = places(routed, range(1, 2))[1]
    others = [endpoint for endpoint in ENDPOINTS if endpoint.replica != home]
    taken = routed.take(0.0, (home,), beginning=1)
    assert taken in others
    for _ in range(10):
        for endpoint in ENDPOINTS:
            service_s = 5.0 if endpoint.replica == home else 0.1
            routed.answered(endpoint, "c", service_s, service_s, 0.0)
    taken = routed.take(0.0, beginning=1)
    assert taken in others


def test_calls_are_told_apart_by_what_comes_first_in_their_prompt() -> None:
    first = {"role": "user", "content": "Hello"}
    short = beginning_of(TALK, {"turns": [first], "more": "a"})
    assert short == beginning_of(TALK, {"turns": [first, {"role": "user", "content": "And?"}], "more": "b"}) != 0
    assert short != beginning_of(TALK, {"turns": [{"role": "user", "content": "Hi"}], "more": "a"})
    assert beginning_of(TALK, {"turns": [], "more": "a"}) == beginning_of(TALK, {"turns": "", "more": "a"})
    assert beginning_of(TALK, {"turns": "x" * 600}) == beginning_of(TALK, {"turns": "x" * 512})
    assert beginning_of(TALK, {}) == 0
