"""Who is left out, for how long, and who never is: a pool driven by replicas that do as they are told."""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.policy.parts import ALL
from harmonia_compiler.policy.routing.health import FIRST_OUT_S, FORGIVEN_S, LONGEST_OUT_S
from harmonia_compiler.policy.routing.pool import LEAST_PATIENCE_S, PROBE_S, SUSPECT_S, UNKNOWN_PATIENCE_S, Pool

A, B, C, D = (Endpoint(name, "e", "127.0.0.1", port) for port, name in enumerate("abcd", start=1))
USUAL_S = 0.1


def pool(*endpoints: Endpoint, batch: int = 16) -> Pool:
    made = Pool(ReplicaShare(batch), {})
    made.set_replicas(endpoints)
    return made


def gone(routed: Pool, endpoint: Endpoint, now: float, times: int = 2) -> None:
    for _ in range(times):
        routed.failed(endpoint, now, gone=True)


def is_in(routed: Pool, endpoint: Endpoint, now: float) -> bool:
    return routed.loads[endpoint.replica].health.is_in(now)


#: What becomes of a call: how long it takes, and whether it is answered.
Behaviour = Callable[[float, Random], tuple[float, bool]]


def well(_: float, chance: Random) -> tuple[float, bool]:
    return chance.uniform(0.5, 1.5) * USUAL_S, True


@dataclass
class Played:
    """Calls that come evenly to three replicas, of which one does not do well."""

    bad: Behaviour
    seed: int
    rate: float = 90.0
    routed: Pool = field(default_factory=lambda: pool(A, B, C))
    sent: list[tuple[float, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    failed: int = 0

    def play(self, until_s: float) -> None:
        chance, number = Random(self.seed), 0
        ends: list[tuple[float, int, Endpoint, float, bool]] = []
        now = 0.0
        while now < until_s:
            now += chance.expovariate(self.rate)
            while ends and ends[0][0] <= now:
                at, _, endpoint, took, answered = heapq.heappop(ends)
                self.routed.release(endpoint)
                if answered:
                    self.routed.answered(endpoint, "c", took, took, at)
                    self.times.append(took)
                else:
                    self.routed.failed(endpoint, at, gone=False)
                    self.failed += 1
            taken = self.routed.take(now)
            if taken is None:
                continue
            number += 1
            took, answered = (self.bad if taken == C else well)(now, chance)
            self.sent.append((now, taken.replica))
            heapq.heappush(ends, (now + took, number, taken, took, answered))

    def share(self, since_s: float) -> float:
        counts = Counter(replica for at, replica in self.sent if at >= since_s)
        return counts["c"] / counts.total()


@pytest.mark.parametrize("seed", range(5))
def test_a_replica_ten_times_slower_gets_hardly_any_calls(seed: int) -> None:
    def slow(now: float, chance: Random) -> tuple[float, bool]:
        took, answered = well(now, chance)
        return (took * 10 if now > 5.0 else took), answered

    played = Played(slow, seed)
    played.play(20.0)
    assert played.share(10.0) <= 0.05


@pytest.mark.parametrize("seed", range(5))
def test_a_slow_replica_that_is_itself_again_gets_its_calls_back(seed: int) -> None:
    def slow(now: float, chance: Random) -> tuple[float, bool]:
        took, answered = well(now, chance)
        return (took * 10 if now < 5.0 else took), answered

    played = Played(slow, seed)
    played.play(60.0)
    assert played.share(40.0) > 0.25


@pytest.mark.parametrize("seed", range(5))
def test_a_replica_that_fails_at_once_draws_no_calls(seed: int) -> None:
    played = Played(lambda now, chance: (0.001, False), seed)
    played.play(20.0)
    assert played.share(0.0) <= 0.05
    assert played.failed < 20


@pytest.mark.parametrize("seed", range(5))
def test_a_replica_with_errors_in_every_fifth_call_is_out_within_five_seconds(seed: int) -> None:
    played = Played(lambda now, chance: (well(now, chance)[0], chance.random() > 0.2), seed)
    played.play(5.0)
    assert played.routed.left_out >= 1
    assert all(is_in(played.routed, endpoint, 5.0) for endpoint in (A, B))


@pytest.mark.parametrize("seed", range(5))
def test_nobody_is_out_where_all_fail_alike(seed: int) -> None:
    chance, routed = Random(seed), pool(A, B, C)
    for at in range(3000):
        taken = routed.take(at / 100)
        assert taken is not None
        routed.release(taken)
        if chance.random() < 0.5:
            routed.failed(taken, at / 100, gone=False)
        else:
            routed.answered(taken, "c", USUAL_S, USUAL_S, at / 100)
    assert sum(is_in(routed, endpoint, 30.0) for endpoint in (A, B, C)) >= 2


@pytest.mark.parametrize(("others_gone", "stays"), [((A,), False), ((A, B), True)])
def test_who_answers_with_errors_is_left_out_as_long_as_half_of_all_are_in(
    others_gone: tuple[Endpoint, ...],
    stays: bool,  # noqa: FBT001
) -> None:
    routed = pool(A, B, C, D)
    for endpoint in (A, B, C, D) * 50:
        routed.answered(endpoint, "c", USUAL_S, USUAL_S, 0.0)
    for endpoint in others_gone:
        gone(routed, endpoint, 0.0)
    for _ in range(20):
        routed.failed(C, 0.1, gone=False)
    assert is_in(routed, C, 0.1) == stays
    assert is_in(routed, D, 0.1)


def test_who_goes_out_again_stays_out_twice_as_long_and_is_tried_with_one_call() -> None:
    routed, now, times = pool(A, B), 0.0, []
    for _ in range(8):
        gone(routed, A, now)
        health = routed.loads["a"].health
        times.append(health.out_until - now)
        assert {routed.take(now) for _ in range(3)} == {B}
        now = health.out_until
        assert [routed.take(now) for _ in range(4)].count(A) <= 1
        for endpoint in (A, B):
            load = routed.loads[endpoint.replica]
            load.in_flight = load.places.taken = 0
    assert times == [min(LONGEST_OUT_S, FIRST_OUT_S * 2**at) for at in range(8)]


def test_who_is_left_out_is_told_once_and_why() -> None:
    routed = pool(A, B)
    gone(routed, A, 0.0, times=4)
    routed.failed(A, FIRST_OUT_S, gone=False)
    assert [(one.replica, one.for_s, one.why) for one in routed.news] == [
        ("a", FIRST_OUT_S, "it cannot be reached"),
        ("a", 2 * FIRST_OUT_S, "it failed its trial"),
    ]


def test_an_answer_on_trial_brings_back_and_time_in_service_makes_up_for_times_out() -> None:
    routed = pool(A, B)
    gone(routed, A, 0.0)
    routed.answered(A, "c", USUAL_S, USUAL_S, FIRST_OUT_S)
    assert is_in(routed, A, FIRST_OUT_S)
    gone(routed, A, 2.0)
    health = routed.loads["a"].health
    assert health.out_until == 2.0 + 2 * FIRST_OUT_S
    routed.answered(A, "c", USUAL_S, USUAL_S, 5.0)
    gone(routed, A, 5.0 + 1.1 * FORGIVEN_S)
    assert health.out_until == 5.0 + 1.1 * FORGIVEN_S + 2 * FIRST_OUT_S
    routed.answered(A, "c", USUAL_S, USUAL_S, 20.0)
    gone(routed, A, 20.0 + 2.1 * FORGIVEN_S)
    assert health.out_until == 20.0 + 2.1 * FORGIVEN_S + FIRST_OUT_S


def test_what_something_befalls_every_ten_seconds_is_not_out_for_ever_longer() -> None:
    routed, now = pool(A, B), 0.0
    for _ in range(20):
        gone(routed, A, now)
        now = routed.loads["a"].health.out_until
        routed.answered(A, "c", USUAL_S, USUAL_S, now)
        now += 10.0
    assert routed.loads["a"].health.times_out <= 2


def test_the_last_one_is_never_left_out() -> None:
    routed = pool(A, B)
    gone(routed, A, 0.0)
    gone(routed, B, 0.0, times=20)
    assert not routed.loads["b"].health.is_out(0.0)


def test_where_the_last_one_fails_all_are_asked_and_the_first_who_answers_is_back() -> None:
    routed = pool(A, B)
    gone(routed, A, 0.0)
    gone(routed, B, 0.0, times=5)
    assert {routed.take(0.1) for _ in range(2)} == {A, B}
    routed.answered(A, "c", USUAL_S, USUAL_S, 0.2)
    assert is_in(routed, A, 0.2)
    routed.failed(B, 0.3, gone=True)
    assert not is_in(routed, B, 0.3)


def test_a_replica_that_listens_elsewhere_starts_anew() -> None:
    routed = pool(A, B)
    gone(routed, A, 0.0)
    back = Endpoint("a", "e", "127.0.0.1", 9)
    routed.set_replicas([back, B])
    assert is_in(routed, back, 0.1)


def known(routed: Pool) -> None:
    for _ in range(30):
        routed.answered(B, "c", USUAL_S, USUAL_S, 0.0)


def test_who_has_a_call_and_says_nothing_for_long_is_out() -> None:
    routed = pool(A, B, batch=1)
    known(routed)
    assert {routed.take(10.0), routed.take(10.0)} == {A, B}
    routed.release(B)
    patience_s = routed.patience_s
    assert patience_s >= LEAST_PATIENCE_S
    assert routed.silent(10.0 + patience_s * 0.9) == []
    assert routed.silent(10.0 + patience_s * 1.1) == [A]
    assert routed.silent(10.0 + patience_s * 1.2) == []


def test_pieces_are_progress_and_no_call_is_no_silence() -> None:
    routed = pool(A, B, batch=1)
    known(routed)
    assert {routed.take(10.0), routed.take(10.0)} == {A, B}
    routed.release(B)
    for step in range(100):
        routed.heard(A, 10.0 + step / 2)
        assert routed.silent(10.3 + step / 2) == []


def test_nobody_is_called_silent_before_it_is_known_how_long_calls_take() -> None:
    routed = pool(A, B, batch=1)
    assert {routed.take(0.0), routed.take(0.0)} == {A, B}
    assert routed.silent(UNKNOWN_PATIENCE_S - 1.0) == []


def test_of_two_that_are_silent_one_stays() -> None:
    routed = pool(A, B, batch=1)
    known(routed)
    assert {routed.take(1.0), routed.take(1.0)} == {A, B}
    assert len(routed.silent(100.0)) == 1


def probing(*endpoints: Endpoint, batch: int = 16) -> Pool:
    made = pool(*endpoints, batch=batch)
    made.probes = True
    return made


def test_who_was_left_out_is_probed_once_before_it_is_given_calls() -> None:
    routed = probing(A, B)
    gone(routed, A, 0.0)
    assert routed.to_probe(FIRST_OUT_S / 2) == []
    assert {routed.take(FIRST_OUT_S) for _ in range(4)} == {B}
    assert routed.to_probe(FIRST_OUT_S) == [A]
    assert routed.to_probe(FIRST_OUT_S) == []
    assert not routed.probed(A, FIRST_OUT_S + 0.1, answered=True)
    assert is_in(routed, A, FIRST_OUT_S + 0.1)
    assert A in {routed.take(FIRST_OUT_S + 0.1) for _ in range(4)}


def test_one_that_a_single_call_found_gone_is_probed_at_once() -> None:
    routed = probing(A, B)
    gone(routed, A, 0.0, times=1)
    assert is_in(routed, A, 0.0)
    assert routed.to_probe(0.0) == [A]
    assert routed.to_probe(0.1) == []
    assert routed.probed(A, 0.2, answered=False)
    assert not is_in(routed, A, 0.2)
    # Whose connection was closed just when it was used answers, and goes on.
    gone(routed, B, 10.0, times=1)
    assert routed.to_probe(10.0)[-1] == B
    assert not routed.probed(B, 10.1, answered=True)
    assert is_in(routed, B, 10.1)
    assert B not in routed.to_probe(10.2)


def test_a_probe_that_is_not_answered_leaves_it_out_for_twice_as_long() -> None:
    routed = probing(A, B)
    gone(routed, A, 0.0)
    assert routed.to_probe(FIRST_OUT_S) == [A]
    assert routed.probed(A, 2.0, answered=False)
    assert routed.loads["a"].health.out_until == 2.0 + 2 * FIRST_OUT_S
    assert routed.to_probe(2.0 + 2 * FIRST_OUT_S) == [A]


def test_one_that_has_a_call_and_is_silent_is_probed_before_it_is_known_how_long_calls_take() -> None:
    routed = probing(A, B)
    assert {routed.take(0.0), routed.take(0.0)} == {A, B}
    routed.release(B)
    assert routed.to_probe(SUSPECT_S) == []
    assert routed.to_probe(SUSPECT_S + 0.1) == [A]
    assert routed.probe_patience_s == PROBE_S
    # What it answered is progress: it may be silent for as long again.
    assert not routed.probed(A, 4.0, answered=True)
    assert routed.to_probe(4.0 + SUSPECT_S) == []
    assert routed.to_probe(4.1 + SUSPECT_S) == [A]
    assert routed.probed(A, 4.1 + SUSPECT_S + PROBE_S, answered=False)
    assert not is_in(routed, A, 4.1 + SUSPECT_S + PROBE_S)
    assert SUSPECT_S + PROBE_S < 10.0 < UNKNOWN_PATIENCE_S


def test_one_that_is_full_and_the_last_one_are_not_left_out_for_a_probe() -> None:
    routed = probing(A, B, batch=1)
    assert {routed.take(0.0), routed.take(0.0)} == {A, B}
    assert routed.to_probe(20.0) == []
    alone = probing(A)
    assert alone.take(0.0) == A
    assert alone.to_probe(20.0) == [A]
    assert not alone.probed(A, 25.0, answered=False)


def test_a_client_that_leaves_unread_what_came_is_no_silence_of_the_replica() -> None:
    routed = pool(A, B, batch=1)
    known(routed)
    assert {routed.take(10.0), routed.take(10.0)} == {A, B}
    routed.release(B)
    routed.hold(A, 1, 10.1)
    assert routed.silent(100.0) == []
    routed.hold(A, -1, 100.0)
    assert routed.silent(100.0 + LEAST_PATIENCE_S / 2) == []
    assert routed.silent(100.0 + routed.patience_s * 1.1) == [A]


def test_a_call_that_was_given_up_counts_as_one_that_took_as_long() -> None:
    routed = pool(A, B)
    for _ in range(100):
        routed.answered(B, "c", USUAL_S, USUAL_S, 0.0)
    routed.overtaken(A, "c", 5 * USUAL_S)
    routed.overtaken(A, "never answered", 5 * USUAL_S)
    pace = routed.loads[A.replica].health.pace
    assert pace.value == pytest.approx(5.0)
    assert pace.count == 1


def test_without_routing_calls_go_to_replicas_in_turn_whoever_has_room() -> None:
    routed = Pool(ReplicaShare(2), {}, parts=ALL.without(("routing", "affinity")))
    routed.set_replicas([A, B, C])
    first = [routed.take(0.0) for _ in range(3)]
    assert sorted(one.replica for one in first if one is not None) == ["a", "b", "c"]
    # One that was done with its call is no sooner asked than those that still work on theirs.
    assert first[2] is not None
    routed.release(first[2])
    assert [routed.take(0.0) for _ in range(2)] == first[:2]
    assert routed.take(0.0) == routed.take(0.0) == first[2]
    assert routed.take(0.0) is None


@pytest.mark.parametrize("on", [True, False])
def test_calls_that_begin_alike_go_to_one_replica_where_that_is_on(*, on: bool) -> None:
    routed = Pool(ReplicaShare(64), {}, parts=ALL if on else ALL.without(("affinity",)))
    routed.set_replicas([A, B, C])
    asked = set()
    for _ in range(30):
        endpoint = routed.take(0.0, beginning=4711)
        assert endpoint is not None
        asked.add(endpoint.replica)
        routed.release(endpoint)
    assert len(asked) == (1 if on else 3)
