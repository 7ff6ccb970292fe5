"""What a service promises while replicas die, hang, slow down, fail or lie: `make chaos` runs each with five seeds.

These judge times, as no other test does: the promises are about times, and wide enough for a machine that is busy.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence

import pytest

from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.faults import Fault, Way
from harmonia_compiler.policy.routing.choice import ReplicaLoad
from harmonia_compiler.policy.routing.pool import LEAST_PATIENCE_S
from tests.chaos.service import WALKS_RPS, Asked, chaos, quantile, share

#: When faults begin, once it is known how long calls usually take.
FROM_S = 2.0
RPS = 3 * WALKS_RPS
#: By so much single answers are late on a busy machine, whatever the replicas do.
NOISE_S = 0.2


def unanswered(asked: Sequence[Asked]) -> Counter[str]:
    """The codes of those that got no answer."""
    return Counter(one.code or str(one.status) for one in asked if not one.answered)


async def test_the_death_of_one_of_three_is_seen_by_no_client(scenario: Scenario, seed: int) -> None:
    async with chaos(scenario, Fault("walk-1", "die", FROM_S, 5.0)) as running:
        asked = await running.load("walks", RPS, 7.0, seed)
        assert not unanswered(asked)
        assert max(one.took_s for one in asked if FROM_S + 2.0 < one.at_s < 5.0) < 1.0
        assert share(asked, "walk-1", 6.0) > 0.1


async def test_a_stream_that_dies_ends_in_an_error_event(scenario: Scenario, seed: int) -> None:
    async with chaos(scenario, Fault("model-1", "die", FROM_S, 3.0)) as running:
        asked = await running.load("says", 40.0, 4.0, seed)
        cut = [one for one in asked if not one.answered]
        assert {(one.status, one.done) for one in cut} <= {(200, False)}
        assert {one.code for one in cut} <= {"answer_broken", "component_error"}
        assert len(cut) <= 40
        assert all(one.at_s < FROM_S for one in cut)
        assert all(one.done for one in asked if one.answered)


async def test_the_death_of_the_last_one_is_a_quick_typed_refusal_and_its_return_is_noticed(
    scenario: Scenario, seed: int
) -> None:
    async with chaos(scenario, Fault("walk-1", "die", FROM_S, 5.0), replicas=1) as running:
        asked = await running.load("walks", WALKS_RPS, 8.0, seed)
        refused = [one for one in asked if not one.answered]
        assert {(one.status, one.code) for one in refused} == {(503, "replica_unreachable")}
        quick = sorted(one.took_s for one in refused if one.at_s > FROM_S + 0.5)
        assert quick[len(quick) * 9 // 10] < 0.05
        assert max(one.at_s for one in refused) < 5.0 + 2.0


@pytest.mark.parametrize(("way", "code"), [("fail", "component_error"), ("die", "replica_unreachable")])
async def test_a_stage_that_is_down_is_not_sent_more_than_a_fifth_again(
    scenario: Scenario, seed: int, way: Way, code: str
) -> None:
    faults = [Fault(f"walk-{number}", way, 0.0) for number in (1, 2, 3)]
    async with chaos(scenario, *faults) as running:
        asked = await running.load("walks", RPS, 5.0, seed)
        assert set(unanswered(asked)) == {code}
        _, metrics = await running.served.client.get("/metrics")
        again = next(
            float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("harmonia_component_retries_t")
        )
        # What was saved up before, once, and a fifth of what is sent.
        assert again <= 10 + 0.2 * len(asked)


async def test_a_replica_that_stops_is_noticed_and_its_late_answers_reach_nobody(scenario: Scenario, seed: int) -> None:
    async with chaos(scenario) as running:
        loading = asyncio.create_task(running.load("walks", RPS, 10.0, seed))
        await asyncio.sleep(FROM_S)
        running.proxies["walk-1"].turn("hold")
        await asyncio.sleep(3.0)
        running.proxies["walk-1"].turn("pass")
        asked = await loading
        assert not unanswered(asked)
        usual_s = quantile([one for one in asked if one.at_s < FROM_S - 0.5], 0.99)
        assert max(one.took_s for one in asked) < max(LEAST_PATIENCE_S, 3 * usual_s) + 1.0
        assert running.left_out("walk") >= 1
        # It hung on its trial too, and so was out for twice as long.
        assert share(asked, "walk-1", 9.0) > 0.1


async def test_a_replica_ten_times_slower_gets_few_calls(scenario: Scenario, seed: int) -> None:
    async with chaos(scenario, Fault("walk-1", "slow", FROM_S, factor=10.0)) as running:
        asked = await running.load("walks", RPS / 1.5, 12.0, seed)
        assert not unanswered(asked)
        assert share(asked, "walk-1", FROM_S + 5.0) <= 0.05
        usual_s = quantile([one for one in asked if one.at_s < FROM_S - 0.5], 0.99)
        assert quantile([one for one in asked if one.at_s > FROM_S + 5.0], 0.99) <= max(
            1.5 * usual_s, usual_s + NOISE_S
        )


async def test_in_turn_a_slow_replica_would_get_its_third(
    scenario: Scenario, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_turn(free: Sequence[ReplicaLoad], *_: object) -> ReplicaLoad | None:
        return min(free, key=lambda load: load.last_turn, default=None)

    monkeypatch.setattr("harmonia_compiler.policy.routing.pool.choose", in_turn)
    # Nor is anybody asked a second time beside it.
    monkeypatch.setattr("harmonia_compiler.runtime.gateway.dispatch.EngineQueue.second", lambda *_: None)
    async with chaos(scenario, Fault("walk-1", "slow", FROM_S, factor=10.0)) as running:
        asked = await running.load("walks", RPS / 1.5, 8.0, seed)
        usual_s = quantile([one for one in asked if one.at_s < FROM_S - 0.5], 0.99)
        assert quantile([one for one in asked if one.at_s > FROM_S], 0.9) > max(1.5 * usual_s, usual_s + NOISE_S)


async def test_a_replica_that_fails_at_once_draws_no_calls(scenario: Scenario, seed: int) -> None:
    async with chaos(scenario, Fault("walk-1", "fail", FROM_S)) as running:
        asked = await running.load("walks", RPS, 7.0, seed)
        later = [one for one in asked if one.at_s > FROM_S]
        assert unanswered(later).total() <= 0.01 * len(later) + 1
        assert running.left_out("walk") >= 1


async def test_by_calls_in_flight_alone_it_would_draw_them_all(
    scenario: Scenario, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def least(free: Sequence[ReplicaLoad], now: float, lot: int, avoid: Collection[str] = ()) -> ReplicaLoad | None:
        return min(free, key=lambda load: (load.in_flight, load.last_turn), default=None)

    monkeypatch.setattr("harmonia_compiler.policy.routing.pool.choose", least)
    monkeypatch.setattr("harmonia_compiler.policy.routing.pool.Pool.failed", lambda *_, **__: None)
    async with chaos(scenario, Fault("walk-1", "fail", FROM_S)) as running:
        asked = await running.load("walks", RPS, 5.0, seed)
        later = [one for one in asked if one.at_s > FROM_S]
        assert unanswered(later).total() > 0.1 * len(later)


async def test_errors_in_every_fifth_reply_of_one_put_it_out(scenario: Scenario, seed: int) -> None:
    async with chaos(scenario, Fault("walk-1", "fail", FROM_S, share=0.2)) as running:
        loading = asyncio.create_task(running.load("walks", RPS, FROM_S + 6.0, seed))
        await asyncio.sleep(FROM_S + 5.0)
        assert running.left_out("walk") >= 1
        asked = await loading
        assert unanswered(asked).total() <= 0.01 * len(asked)


async def test_a_model_that_says_it_is_well_and_gives_no_tokens_is_removed(scenario: Scenario, seed: int) -> None:
    faults = [Fault("model-1", way, FROM_S) for way in ("hang", "lie")]
    async with chaos(scenario, *faults) as running:
        asked = await running.load("says", 30.0, FROM_S + 8.0, seed)
        # What it had begun to say nobody can say in its place.
        cut = [one for one in asked if not one.answered]
        assert {one.code for one in cut} <= {"answer_broken"}
        assert all(one.at_s < FROM_S and not one.done for one in cut)
        assert running.left_out("model") >= 1
        assert max(one.took_s for one in asked) < 10.0
        assert quantile([one for one in asked if one.at_s > FROM_S + 4.0], 0.95) < 1.5


async def test_a_model_that_never_gave_a_token_is_removed_before_it_is_known_how_long_answers_take(
    scenario: Scenario, seed: int
) -> None:
    faults = [Fault("model-1", way, 0.0) for way in ("hang", "lie")]
    async with chaos(scenario, *faults) as running:
        await asyncio.sleep(0.1)
        asked = await running.load("says", 1.0, 10.0, seed)
        assert not unanswered(asked)
        assert max(one.took_s for one in asked) < 10.0
        assert share(asked, "model-1") == 0.0


async def test_a_replica_that_comes_and_goes_is_tried_ever_more_seldom(scenario: Scenario, seed: int) -> None:
    faults = [Fault("walk-1", "die", FROM_S + 2.0 * turn, FROM_S + 2.0 * turn + 1.0) for turn in range(5)]
    async with chaos(scenario, *faults) as running:
        asked = await running.load("walks", RPS, FROM_S + 10.0, seed)
        assert not unanswered(asked)
        assert 1 <= running.left_out("walk") <= 5


@pytest.mark.parametrize("way", ["reset", "truncate", "trickle", "delay"], ids=str)
async def test_a_network_that_fails_one_replica_is_seen_by_no_client(scenario: Scenario, seed: int, way: str) -> None:
    async with chaos(scenario) as running:
        loading = asyncio.create_task(running.load("walks", RPS, 6.0, seed))
        await asyncio.sleep(FROM_S)
        running.proxies["walk-1"].turn(way)  # type: ignore[arg-type]
        asked = await loading
        assert not unanswered(asked)
