"""What a service promises while its vector store is down, slow or empty: run by `make chaos`.

The pipeline searches again, with other words, as long as it finds nothing, three times at most; a search that fails or
takes too long finds nothing.
"""

from collections import Counter

import pytest

from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.faults import Fault
from harmonia_compiler.emulate.servers.store import Store
from harmonia_compiler.runtime.gateway.milvus_transport import MilvusTransport
from tests.chaos.service import Asked, chaos, quantile
from tests.emulate.planned import planned_for

ROUNDS, WITHIN_S = 3, 0.5
SOURCE = f"""
component minilm = embedder("all-MiniLM-L6-v2")
component search = milvus("docs", embedder: minilm, top_k: 4)
component rephrase(query: text, found: [passage]) -> text ~ 10 tokens = python("code:rephrase", takes: 5 ms)
component say(question: text, found: [passage]) -> text ~ 20 tokens = python("code:say", takes: 5 ms)

pipeline finds(question: text ~ 20 tokens) -> text {{
    load 1 rps
    query = question
    repeat up to {ROUNDS} {{
        found = search(query) within {WITHIN_S * 1000:g} ms else []
        query = rephrase(query, found)
    }} until count(found) > 0 ~ 0.9
    return say(question, found)
}}
"""
RPS = 20.0
FROM_S, UNTIL_S, END_S = 2.0, 5.0, 8.0
#: What a request takes beside its searches, on a machine that is busy.
REST_S = 1.0


@pytest.fixture(scope="session")
def searching(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    return planned_for(tmp_path_factory.mktemp("store"), SOURCE)


def searches(asked: list[Asked]) -> Counter[int]:
    """How many requests began so many searches."""
    return Counter(one.stages.count("search") for one in asked)


@pytest.mark.parametrize("way", ["die", "slow", "hang", "fail"])
async def test_a_store_that_does_not_do_well_is_done_without_and_taken_up_again(
    searching: Scenario, seed: int, way: str
) -> None:
    fault = Fault("search-1", way, FROM_S, UNTIL_S, factor=150.0)  # type: ignore[arg-type]
    async with chaos(searching, fault, milvus=MilvusTransport()) as running:
        asked = await running.load("finds", RPS, END_S, seed)
        assert all(one.answered for one in asked)
        assert max(one.took_s for one in asked) < ROUNDS * WITHIN_S + REST_S
        assert max(searches(asked)) <= ROUNDS
        during = [one for one in asked if FROM_S + 0.5 < one.at_s < UNTIL_S - ROUNDS * WITHIN_S]
        assert searches(during) == {ROUNDS: len(during)}
        later = [one for one in asked if one.at_s > UNTIL_S + 2.0]
        assert searches(later) == {1: len(later)}
        assert quantile(later, 0.95) < WITHIN_S


async def test_a_store_that_is_empty_is_asked_no_more_often_than_the_loop_says(
    searching: Scenario, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_: Store, __: str, ___: int, queries: int) -> list[list[dict[str, object]]]:
        return [[] for _ in range(queries)]

    monkeypatch.setattr(Store, "search", nothing)
    async with chaos(searching, milvus=MilvusTransport()) as running:
        asked = await running.load("finds", RPS, 4.0, seed)
        assert all(one.answered for one in asked)
        # Where the question's vector came too late, it is not even asked.
        assert max(searches(asked)) <= ROUNDS
        assert searches(asked)[ROUNDS] > 0.9 * len(asked)
