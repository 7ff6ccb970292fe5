"""What is said of prefix caches: by counts between two readings, lately, and only where there are any."""

import msgspec
import pytest

from harmonia_compiler.contract.decision import Reason
from harmonia_compiler.contract.readings import CacheRead
from harmonia_compiler.policy.control.caching import HALF_LIFE_S, Cached, cached
from harmonia_compiler.policy.control.state import State
from harmonia_compiler.policy.control.succession import succeeded
from harmonia_compiler.policy.control.window import Window, between
from tests.policy.control.virtual import Service, plan_of


def told(*rows: tuple[int, int]) -> tuple[CacheRead, ...]:
    return tuple(CacheRead(f"llm-{at}", "llm", *counted) for at, counted in enumerate(rows))


def after(service: Service, *rows: tuple[int, int]) -> list[Reason]:
    """What is said of caches once the replicas have counted so much."""
    service.pass_time(5.0)
    decision = service.look(msgspec.structs.replace(service.readings(), caches=told(*rows)))
    return [one for one in decision.reasons if "prefix cache" in one.why]


def test_the_hit_rate_of_an_engine_is_said_in_words() -> None:
    service = Service(plan_of(2))
    assert after(service, (1000, 0), (1000, 0)) == []
    # What was counted before the first readings is no part of it.
    (said,) = after(service, (1300, 300), (1100, 0))
    assert (said.about, said.acted) == ("llm", False)
    assert said.why == "75 % of the prompts' tokens were in the prefix cache lately"
    # A window without calls leaves it as it is.
    assert after(service, (1300, 300), (1100, 0)) == [said]


def test_nothing_is_said_where_nobody_counts_or_nothing_was_looked_for() -> None:
    service = Service(plan_of(2))
    assert [after(service) for _ in range(3)] == [[], [], []]
    assert [after(service, (0, 0), (0, 0)) for _ in range(3)] == [[], [], []]


def test_a_count_that_is_lower_than_before_is_not_believed() -> None:
    read = Service(plan_of(2)).readings()
    before = msgspec.structs.replace(read, caches=told((10, 5)))
    later = [msgspec.structs.replace(read, at_s=read.at_s + 5.0, caches=told(row)) for row in ((9, 5), (11, 5))]
    assert between(before, later[0]) is None
    window = between(before, later[1])
    assert window is not None
    assert window.caches == told((1, 0))


def test_old_counts_weigh_less_and_a_rate_is_forgotten_in_the_end() -> None:
    window = Window(HALF_LIFE_S, caches=told((100, 0), (100, 0)))
    known = cached({"llm": Cached(400.0, 400.0)}, window, ["llm", "embedder"])
    assert known == {"llm": Cached(400.0, 200.0)}
    assert known["llm"].hit_rate == pytest.approx(0.5)
    for _ in range(10):
        known = cached(known, Window(HALF_LIFE_S), ["llm", "embedder"])
    assert known["llm"].hit_rate is None


def test_it_is_remembered_by_the_controller_that_starts_anew_and_by_that_of_the_next_plan() -> None:
    service = Service(plan_of(2))
    after(service, (0, 0))
    after(service, (100, 40))
    assert service.state is not None
    assert service.state.caches["llm"].hit_rate == pytest.approx(0.4)
    assert msgspec.json.decode(msgspec.json.encode(service.state), type=State) == service.state
    assert succeeded(service.state, plan_of(3)).caches == service.state.caches
