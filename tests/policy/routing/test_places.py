"""Replicas that several generations of a service route to: none is given more than it takes."""

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.policy.routing.places import Occupied
from harmonia_compiler.policy.routing.pool import Pool

SHARED, OWN = Endpoint("one", "llm", "127.0.0.1", 1), Endpoint("own", "llm", "127.0.0.1", 2)
#: The same replica, as the plan of another generation calls it.
ALSO = Endpoint("two", "llm", "127.0.0.1", 1)


def pools(batch: int = 2) -> tuple[Pool, Pool]:
    occupied = Occupied()
    old, new = (Pool(ReplicaShare(batch), {}, occupied=occupied) for _ in range(2))
    old.set_replicas([SHARED])
    new.set_replicas([ALSO])
    return old, new


def test_what_one_generation_sends_takes_the_places_of_the_other() -> None:
    old, new = pools()
    taken = [old.take(0.0), new.take(0.0)]
    assert taken == [SHARED, ALSO]
    assert old.take(0.0) is None
    assert new.take(0.0) is None
    old.release(SHARED)
    assert new.take(0.0) == ALSO
    assert new.take(0.0) is None


def test_a_replica_of_one_s_own_has_all_its_places() -> None:
    old, new = pools(1)
    new.set_replicas([ALSO, OWN])
    assert old.take(0.0) == SHARED
    assert new.take(0.0) == OWN
    assert new.take(0.0) is None


def test_what_a_generation_sent_that_routes_there_no_more_still_takes_its_place() -> None:
    old, new = pools(1)
    assert old.take(0.0) == SHARED
    old.set_replicas([])
    assert new.take(0.0) is None
    old.release(SHARED)
    assert new.take(0.0) == ALSO


def test_services_of_somebody_else_s_are_told_apart_by_name() -> None:
    occupied = Occupied()
    one, other = Endpoint("web", "web", "", 0), Endpoint("news", "news", "", 0)
    assert occupied.at(one) is not occupied.at(other)
