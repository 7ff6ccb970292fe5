"""That replicas stay for bursts that come again, and go once these no longer do."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import msgspec
import pytest

from harmonia_compiler.contract.readings import RequestsRead
from harmonia_compiler.policy.control.bursts import RECENT_S, Burst, most_rps, needed_rps, remembered
from harmonia_compiler.policy.control.counts import EACH_AFTER_S, FEWER_AFTER_S
from harmonia_compiler.policy.control.state import State
from harmonia_compiler.policy.control.succession import succeeded
from harmonia_compiler.policy.control.window import Window
from tests.policy.control.virtual import Service, plan_of

#: What is promised of each request of the virtual service, in seconds.
PROMISED_S = 4.0


def bursts(size: float, every_s: float, until_s: float = float("inf")) -> Callable[[float], float]:
    """So many requests within a second, again and again; in between one in ten seconds."""
    return lambda now: size if now % every_s < 1.0 and now <= until_s else 0.1


def served(rate: Callable[[float], float], replicas: int = 5, promised_s: float = PROMISED_S) -> Service:
    """A service that may have from one to eight replicas, each of which serves eight requests a second."""
    planned = replace(plan_of(replicas, 1, 8), promised_s={"rag": {"": promised_s}})
    return Service(planned, rate)


def counts(service: Service, seconds: float) -> list[int]:
    """The numbers of replicas in so many seconds."""
    return [service.windows(1).replicas["llm"] for _ in range(int(seconds / 5.0))]


def came(arrived: int, within_s: float, lull_s: float, request_class: str = "") -> RequestsRead:
    """So many requests that came evenly, after a time in which none did."""
    gap_s = within_s / (arrived - 1) if arrived > 1 else 0.0
    return RequestsRead(
        "rag",
        request_class,
        arrived,
        gap_s=lull_s + within_s,
        gap_s2=lull_s**2 + (arrived - 1) * gap_s**2,
    )


@pytest.mark.parametrize("every_s", [30.0, 40.0, 60.0, 300.0, 600.0])
def test_replicas_stay_for_bursts_that_come_again(every_s: float) -> None:
    # 100 requests at once, promised within 4 s: 25 a second, with which 4 replicas are busy but not full.
    service = served(bursts(100.0, every_s))
    service.now = 10.0 * every_s - 50.0
    seen = counts(service, 3600.0)
    assert min(seen) == 4
    assert max(seen) == 5, "a burst brings no replica"
    assert seen == sorted(seen, reverse=True)
    why = next(one.why for one in service.decisions[-1].reasons if one.about == "llm")
    assert why.startswith("stays at 4, since bursts as in the last 15 minutes need 2"), why


def test_as_many_stay_as_the_bursts_need_and_no_more() -> None:
    assert counts(served(bursts(25.0, 40.0)), 3600.0)[-1] == 1
    assert counts(served(bursts(100.0, 40.0), promised_s=60.0), 3600.0)[-1] == 1
    # 30 a second, with which four replicas would be 94 % busy.
    assert counts(served(bursts(120.0, 40.0), replicas=6), 3600.0)[-1] == 5
    assert set(counts(served(bursts(1000.0, 40.0)), 3600.0)) == {5}


def test_what_comes_steadily_to_another_pipeline_comes_on_top_of_bursts() -> None:
    planned = plan_of(6, 1, 8)
    planned = replace(
        planned,
        expected={"rag": planned.expected["rag"], "chat": planned.expected["rag"]},
        engine_of={"rag": {"say": "llm"}, "chat": {"say": "llm"}},
        promised_s={"rag": {"": PROMISED_S}, "chat": {"": PROMISED_S}},
    )
    service = Service(planned, bursts(50.0, 60.0))
    for _ in range(200):
        service.pass_time(5.0)
        read = service.readings()
        chat = int(12.0 * service.now)
        steady = RequestsRead("chat", "", chat, chat, chat, {"say": chat}, service.now, service.now / 12.0)
        service.look(msgspec.structs.replace(read, requests=(*read.requests, steady)))
    # 12.5 a second of the bursts, and 12 of those: with a margin for chance, and less busy than full.
    assert service.decisions[-1].replicas == {"llm": 4}


def test_one_burst_keeps_replicas_for_a_quarter_of_an_hour() -> None:
    service = served(bursts(100.0, 3000.0, 3001.0))
    service.now = 3000.0 - FEWER_AFTER_S
    assert RECENT_S > FEWER_AFTER_S
    assert set(counts(service, FEWER_AFTER_S + RECENT_S)) == {5, 4}
    assert counts(service, 300.0)[-1] == 1


def test_a_burst_that_lies_across_two_windows_counts_as_one() -> None:
    service = served(lambda now: 50.0 if now % 300.0 in {5.0, 6.0} else 0.1)
    service.now = 250.0
    assert min(counts(service, 3600.0)) == 4


def test_replicas_that_are_not_needed_go_one_by_one_with_time_between_them() -> None:
    seen = counts(served(lambda _: 0.1), FEWER_AFTER_S + 5 * EACH_AFTER_S)
    assert seen == sorted(seen, reverse=True)
    assert seen.count(5) >= FEWER_AFTER_S / 5.0
    # In windows of five seconds.
    assert [seen.count(each) for each in (4, 3, 2)] == [EACH_AFTER_S / 5.0] * 3
    assert seen[-1] == 1


@pytest.mark.parametrize("rate", [2, 5, 15])
def test_what_comes_by_chance_is_no_burst(rate: int) -> None:
    def by_chance() -> Callable[[float], float]:
        lots = Random(1)
        return lambda _: sum(lots.random() < 0.1 for _ in range(10 * rate))

    hurried = counts(served(by_chance(), promised_s=1.0), 1800.0)
    assert hurried == counts(served(by_chance(), promised_s=1e9), 1800.0)
    assert hurried[-1] < 5


def test_a_burst_needs_what_serves_it_within_its_promise_or_as_it_comes() -> None:
    def needs(*rows: RequestsRead) -> float:
        return needed_rps(Window(5.0, rows), "rag", {"": 4.0, "fast": 1.0})

    assert needs(came(101, 1.0, 30.0)) == pytest.approx(100.0 / 4.0)
    assert needs(came(101, 1.0, 30.0, "fast")) == pytest.approx(100.0)
    assert needs(came(101, 1.0, 30.0, "fast"), came(101, 1.0, 30.0)) == pytest.approx(100.0 + 100.0 / 4.0)
    # As they come where that takes longer, however long nobody came before.
    assert needs(came(101, 2.5, 3000.0, "fast")) == pytest.approx(100.0 / 2.5)
    assert needs(came(101, 1000.0, 0.0)) == pytest.approx(100.0 / 5.0)
    assert needs(came(101, 1.0, 30.0, "unheard of")) == 0.0
    # One request is no burst, and of all at once it is known that they came at once.
    assert needs(came(1, 0.0, 3.0)) == 0.0
    assert needs(came(101, 0.0, 0.0)) == 100.0 / 4.0


def test_the_largest_burst_counts_and_no_longer_than_it_is_recent() -> None:
    known: tuple[Burst, ...] = ()
    for rps in (5.0, 20.0, 1.0, 3.0, 2.0):
        known = remembered(known, rps, 5.0)
    assert known == (Burst(20.0, 15.0), Burst(3.0, 5.0), Burst(2.0))
    assert most_rps(known) == 20.0
    assert most_rps(remembered(known, 0.0, RECENT_S - 15.0)) == 20.0
    assert most_rps(remembered(known, 0.0, RECENT_S - 5.0)) == 3.0
    assert most_rps(()) == 0.0


def test_bursts_are_remembered_by_the_controller_that_starts_anew_and_by_that_of_the_next_plan() -> None:
    service = served(bursts(100.0, 40.0))
    counts(service, 100.0)
    assert service.state is not None
    assert most_rps(service.state.bursts["rag"]) == pytest.approx(25.0, rel=0.05)
    assert msgspec.json.decode(msgspec.json.encode(service.state), type=State) == service.state
    assert succeeded(service.state, plan_of(3)).bursts == service.state.bursts
