"""Emulated replicas over the wire: the openai package, Milvus's client, and the gateway's transports."""

import asyncio
import base64
import re
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from openai import APIStatusError
from openai.types.chat import ChatCompletionMessageParam
from prometheus_client.parser import text_string_to_metric_families

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.collection import CollectionRecord
from harmonia_compiler.contract.launch import CALL_HEADER, REQUEST_HEADER, Wire
from harmonia_compiler.contract.readings import Readings
from harmonia_compiler.contract.types import Value
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.metrics import Metrics
from harmonia_compiler.kinds.milvus import Search
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.policy.control.decide import begun, decide
from harmonia_compiler.policy.control.planned import planned as planned_figures
from harmonia_compiler.policy.events import Path as Place
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.serving import Stepping
from harmonia_compiler.profile.serving import serving as serving_of
from harmonia_compiler.runtime.gateway import caches
from harmonia_compiler.runtime.gateway.milvus_transport import MilvusTransport
from harmonia_compiler.runtime.gateway.transport import Refused
from tests.emulate.planned import Asked, planned_for
from tests.emulate.servers.emulated import MODEL, SOURCE, called, client, emulated
from tests.gateway.fakes import serving
from tests.policy.control.virtual import by_speed


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    return planned_for(tmp_path_factory.mktemp("app"), SOURCE)


async def test_the_openai_package_gets_plain_and_streamed_answers_of_the_length_that_usage_says(
    planned: Scenario,
) -> None:
    async with emulated(planned) as (_, at), client(at["model"]) as ask:
        assert [model.id async for model in ask.models.list()] == [MODEL]
        question = "What is a bundle?" * 20
        turns: list[ChatCompletionMessageParam] = [{"role": "user", "content": question}]
        headers = {REQUEST_HEADER: "7", CALL_HEADER: "answer;"}
        plain = await ask.chat.completions.create(model=MODEL, messages=turns, extra_headers=headers)
        text = plain.choices[0].message.content
        assert text is not None
        assert plain.usage is not None
        assert plain.usage.completion_tokens == -(-len(text) // 4)
        assert plain.usage.prompt_tokens == 16 + len(question) // 4
        stream = await ask.chat.completions.create(
            model=MODEL, messages=turns, extra_headers=headers, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
        assert "".join(piece or "" for piece in pieces) == text
        assert len([piece for piece in pieces if piece]) == plain.usage.completion_tokens
        assert chunks[-1].usage == plain.usage


@pytest.mark.slow
async def test_an_answer_has_exactly_so_many_tokens_where_its_end_is_ignored(planned: Scenario) -> None:
    async with emulated(planned) as (_, at), client(at["model"]) as ask:
        for whose in ("answer", "nobody"):
            answer = await ask.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": "What is a bundle?"}],
                max_tokens=300,
                extra_headers={REQUEST_HEADER: "7", CALL_HEADER: f"{whose};"},
                extra_body={"ignore_eos": True},
            )
            assert answer.usage is not None
            assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (300, "length")


async def test_a_turn_in_parts_is_read_as_one(planned: Scenario) -> None:
    async with emulated(planned) as (_, at), client(at["model"]) as ask:
        parts: ChatCompletionMessageParam = {
            "role": "user",
            "content": [{"type": "text", "text": "hello " * 50}, {"type": "text", "text": "again " * 50}],
        }
        answer = await ask.chat.completions.create(model=MODEL, messages=[parts], max_tokens=5)
        assert answer.usage is not None
        assert answer.usage.prompt_tokens > 100
        shown: ChatCompletionMessageParam = {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}],
        }
        with pytest.raises(APIStatusError, match="image_url") as raised:
            await ask.chat.completions.create(model=MODEL, messages=[shown], max_tokens=5)
        assert raised.value.status_code == 400


async def test_what_vllm_refuses_is_refused_in_its_words(planned: Scenario) -> None:
    async with emulated(planned) as (_, at), client(at["model"]) as ask:
        for model, text, most, status, said in (
            ("other", "hello", 5, 404, "does not exist"),
            (MODEL, "word " * 20_000, 5, 400, "maximum context length"),
            (MODEL, "hello", 0, 400, "max_tokens must be at least 1"),
        ):
            with pytest.raises(APIStatusError, match=said) as raised:
                await ask.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": text}], max_tokens=most
                )
            assert raised.value.status_code == status


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"n": 2}, "n must be 1 for an emulated model, got 2."),
        ({"n": 0}, "n must be at least 1, got 0."),
        ({"messages": []}, "messages must have at least one turn."),
    ],
)
async def test_what_an_emulated_model_would_answer_otherwise_than_a_real_one_is_refused(
    planned: Scenario, asked: dict[str, object], said: str
) -> None:
    turns = [{"role": "user", "content": "hello"}]
    async with emulated(planned) as (_, at):
        status, document = await posted(at["model"], "/v1/chat/completions", {"messages": turns} | asked)
    assert (status, document["error"]["message"]) == (400, said)


async def test_more_tokens_than_the_context_has_are_refused_before_any_is_made(planned: Scenario) -> None:
    """A text of so many would fill the memory of the process that all replicas share."""
    async with emulated(planned) as (_, at), client(at["model"]) as ask:
        for most, whose, in_full in ((10**13, "nobody", False), (10**13, "answer", True), (10**30, "nobody", True)):
            with pytest.raises(APIStatusError, match=f"you requested {most} output tokens") as raised:
                await ask.chat.completions.create(
                    model=MODEL,
                    messages=[{"role": "user", "content": "hello"}],
                    max_tokens=most,
                    extra_headers={CALL_HEADER: f"{whose};"},
                    extra_body={"ignore_eos": in_full},
                )
            assert raised.value.status_code == 400


async def test_an_answer_ends_with_the_context(planned: Scenario) -> None:
    async with emulated(planned) as (replicas, at), client(at["model"]) as ask:
        (model,) = (one.model for one in replicas.replicas.values() if one.model is not None)
        room = 2
        text = "word" * (model[0].scheduler.room(16) - room)
        answer = await ask.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}])
        assert answer.usage is not None
        assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (room, "length")
        assert len(answer.choices[0].message.content or "") == room * 4


async def exported(endpoint: Endpoint) -> dict[str, float]:
    """The series of a replica by what sets them apart from each other beside model and engine."""
    url = f"http://127.0.0.1:{endpoint.port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        text = await answer.text()
    return {
        " ".join((sample.name, *(label for name, label in sample.labels.items() if name == "finished_reason"))): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def exported_once(at: Endpoint, name: str, value: float) -> dict[str, float]:
    """What is exported when one of the figures is this."""
    async with asyncio.timeout(20.0):
        while (values := await exported(at)).get(name) != value:
            await asyncio.sleep(0.05)
    return values


async def test_metrics_count(planned: Scenario) -> None:
    async with emulated(planned) as (_, at):
        for _ in range(2):
            await called(planned, at["model"], "answer", "1", question="q" * 400, passages=[], more=[])
        async with client(at["model"]) as ask:
            message: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
            await ask.chat.completions.create(
                model=MODEL, messages=message, max_tokens=30, extra_body={"ignore_eos": True}
            )
            leaving = asyncio.create_task(
                ask.chat.completions.create(
                    model=MODEL, messages=message, max_tokens=3000, extra_body={"ignore_eos": True}
                )
            )
            values = await exported_once(at["model"], "vllm:time_to_first_token_seconds_count", 4)
            assert values["vllm:num_requests_running"] == 1
            leaving.cancel()
            await asyncio.wait([leaving])
        values = await exported_once(at["model"], "vllm:request_success_total abort", 1)
    assert values["vllm:kv_cache_usage_perc"] == 0
    ended = {reason: values[f"vllm:request_success_total {reason}"] for reason in ("stop", "length", "abort", "error")}
    assert ended == {"stop": 2, "length": 1, "abort": 1, "error": 0}
    assert values["vllm:prompt_tokens_total"] > 200
    assert values["vllm:prefix_cache_hits_total"] > 0
    # The same prompt twice, and of others what they begin with alike: no prompt in full.
    assert values["vllm:prompt_tokens_cached_total"] == values["vllm:prefix_cache_hits_total"]
    assert values["vllm:prompt_tokens_cached_total"] < values["vllm:prompt_tokens_total"] / 2
    assert values["vllm:time_to_first_token_seconds_count"] == 4
    assert values["vllm:e2e_request_latency_seconds_count"] == 4
    for phase in ("queue", "prefill", "inference", "decode"):
        assert values[f"vllm:request_{phase}_time_seconds_count"] == 4
    queue, prefill, inference, decode = (
        values[f"vllm:request_{phase}_time_seconds_sum"] for phase in ("queue", "prefill", "inference", "decode")
    )
    assert 0.0 <= queue <= queue + prefill <= values["vllm:time_to_first_token_seconds_sum"]
    assert prefill + decode == pytest.approx(inference)
    assert values["vllm:cache_config_info"] == 1
    # A step of a request that was left may have given a token that nobody has taken.
    computed = values["vllm:prompt_tokens_total"] - values["vllm:prompt_tokens_cached_total"]
    assert 0 <= values["vllm:iteration_tokens_total_sum"] - computed - values["vllm:generation_tokens_total"] <= 2
    tokens = values["vllm:generation_tokens_total"]
    assert values["vllm:request_generation_tokens_sum"] == tokens > 30
    assert values["vllm:inter_token_latency_seconds_count"] == tokens - 4


async def test_a_gateway_reads_how_the_prefix_cache_serves_and_its_controller_says_it(
    planned: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "EVERY_S", 0.05)
    service = planned.service
    async with (
        emulated(planned) as (_, at),
        serving(service.programs, list(at.values()), engines=service.engines) as served,
    ):

        async def told(holds: Callable[[Readings], Any]) -> Readings:
            async with asyncio.timeout(30.0):
                while not holds(found := msgspec.convert((await served.client.get("/readings"))[1], Readings)):
                    await asyncio.sleep(0.02)
            return found

        before = await told(lambda found: found.caches)
        for _ in range(2):
            await called(planned, at["model"], "answer", "1", question="q" * 400, passages=[], more=[])
        after = await told(lambda found: found.caches[0].found)
    assert [(one.engine, one.replica) for one in after.caches] == [(at["model"].engine, at["model"].replica)]
    assert 0 < after.caches[0].found < after.caches[0].looked_up
    of = planned_figures(planned.plan, service, {})
    state, _ = decide(of, begun(of), before, 0.0, 0.0, by_speed)
    _, decision = decide(of, state, msgspec.structs.replace(after, at_s=before.at_s + 5.0), 5.0, 5.0, by_speed)
    (said,) = [one for one in decision.reasons if "prefix cache" in one.why]
    rate = after.caches[0].found / after.caches[0].looked_up
    assert (said.about, said.why.partition(" %")[0]) == (at["model"].engine, f"{100 * rate:.0f}")


def limits_of(planned: Scenario) -> Limits:
    """Those of the model's replicas."""
    replica = next(one for one in planned.plan.replicas if one.engine == "model")
    found = serving_of(planned.service.engines["model"], replica.config, load_cards())
    assert isinstance(found, Stepping)
    return found.limits


def test_metrics_have_vllm_s_names_and_labels(planned: Scenario) -> None:
    """By the source of the vLLM that is installed: importing it takes ten seconds."""
    place = find_spec("vllm")
    if place is None or place.origin is None:
        pytest.skip("vLLM has no build for this machine")
    source = Path(place.origin).with_name("v1").joinpath("metrics", "loggers.py").read_text()
    theirs = set(re.findall(r'name ?= ?"(vllm:[a-z_0-9]+)"', source))
    ours = {metric.name for metric in Metrics("m", limits_of(planned)).registry.collect()}
    assert len(ours) > 20
    assert ours <= theirs
    assert 'labelnames = ["model_name", "engine"]' in source
    assert 'labelnames=labelnames + ["finished_reason"]' in source


async def test_a_worker_of_ours_says_of_itself_what_a_real_one_does(planned: Scenario) -> None:
    async with emulated(planned) as (_, at), aiohttp.ClientSession() as session:
        await called(planned, at["minilm"], "minilm", "1", text="hello")
        await called(planned, at["walk"], "walk", "1", question="q")
        for engine, model, path in (
            ("minilm", "all-MiniLM-L6-v2", "/v1/embeddings"),
            ("walk", "code:walk", "/v1/call"),
        ):
            url = f"http://127.0.0.1:{at[engine].port}"
            async with session.get(f"{url}/v1/models") as answer:
                assert [one["id"] for one in (await answer.json())["data"]] == [model]
            async with session.get(f"{url}/metrics") as answer:
                assert f'harmonia_worker_requests_total{{path="{path}",status="200"}} 1.0' in await answer.text()


async def test_every_kind_of_replica_answers_its_calls(planned: Scenario) -> None:
    async with emulated(planned) as (_, at):
        vector = await called(planned, at["minilm"], "minilm", "1", text="hello")
        assert len(vector) == 384
        passages = await called(planned, at["search"], "search", "1", query=vector)
        assert len(passages) == 4
        ranked = await called(planned, at["rank"], "rank", "1", query="q", passages=passages)
        assert len(ranked) == 2
        assert {one["text"] for one in ranked} <= {one["text"] for one in passages}
        walked = await called(planned, at["walk"], "walk", "1", question="q")
        assert len(walked) == 3
        found = await called(planned, at["web"], "web", "1", query="q")
        assert len(found) == 2


async def test_a_typed_answer_as_long_as_it_may_be_is_whole(tmp_path: Path) -> None:
    planned = planned_for(
        tmp_path,
        f"""
component model = llm("{MODEL}")
component score(question: text) -> number = model("How clear is it? {{question}}", max_tokens: 2)
pipeline ask(question: text ~ 20 tokens) -> number {{
    load 1 rps
    return score(question)
}}
""",
    )
    async with emulated(planned) as (_, at):
        assert isinstance(await called(planned, at["model"], "score", "1", question="q"), float)


async def test_a_search_finds_what_it_finds_in_a_simulation_in_whatever_order_searches_come(planned: Scenario) -> None:
    component = planned.service.programs["ask"].components["search"]
    async with emulated(planned) as (_, at):
        vector = [1.0] + [0.0] * 383
        for request in ("7", "8", "7", "é"):
            found = await called(planned, at["search"], "search", request, query=vector)
            simulated = planned.behaviour.value(component, {"query": vector}, request, "")
            assert found == [{**one, "score": pytest.approx(one["score"])} for one in simulated]


@pytest.mark.parametrize("top_k", [1, 9])
async def test_a_search_that_says_anew_how_many_it_wants_finds_as_many_as_in_a_simulation(
    planned: Scenario, top_k: int
) -> None:
    component = planned.service.programs["ask"].components["search"]
    settings, vector = {**component.settings, "top_k": top_k}, [1.0] + [0.0] * 383
    anew, engine = msgspec.structs.replace(component, settings=settings), planned.service.engines["search"]
    wire = kinds()["milvus"].encode(engine, anew, {"query": vector}, stream=False)
    named = (REQUEST_HEADER, "7"), (CALL_HEADER, "search;")
    wire = msgspec.structs.replace(wire, headers=(*wire.headers, *named))
    transport = MilvusTransport()
    async with emulated(planned) as (_, at):
        try:
            reply = await transport.send(at["search"], wire)
        finally:
            await transport.close()
    found = kinds()["milvus"].decode(anew, reply, {"query": vector}).value
    simulated, _ = planned.behaviour.answer(Asked(component, settings, [{"query": vector}], many=False, request=7))
    assert len(simulated) == top_k
    assert found == [{**one, "score": pytest.approx(one["score"])} for one in simulated]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (Search("nosuch", [[0.5] * 384], 2, "COSINE"), "there is no collection `nosuch`"),
        (Search("docs", [[0.5] * 384, [0.5] * 3], 2, "COSINE"), r"expected vector size\(byte\) 1536, actual 12"),
        (Search("docs", [[0.5] * 3], 2, "COSINE", texts=["why"]), r"expected vector size\(byte\) 1536, actual 12"),
    ],
)
async def test_a_search_that_milvus_would_refuse_is_refused_at_once(planned: Scenario, asked: Search, why: str) -> None:
    transport = MilvusTransport()
    async with emulated(planned) as (_, at):
        try:
            with pytest.raises(Refused, match=why):
                await transport.send(at["search"], Wire("/search", msgspec.json.encode(asked)))
        finally:
            await transport.close()


async def test_a_search_for_several_texts_finds_for_each_what_it_finds_in_a_simulation_and_takes_as_many_times_as_long(
    planned: Scenario,
) -> None:
    component, vector = planned.service.programs["ask"].components["search"], [1.0] + [0.0] * 383
    kind, engine = kinds()["milvus"], planned.service.engines["search"]
    assert kind.encode_many is not None
    assert kind.decode_many is not None
    items: list[dict[str, Value]] = [{"query": vector}] * 3
    wire = kind.encode_many(engine, component, items)
    named = (REQUEST_HEADER, "7"), (CALL_HEADER, "search;2#5")
    wire = msgspec.structs.replace(wire, headers=(*wire.headers, *named))
    transport = MilvusTransport()
    async with emulated(planned) as (replicas, at):
        try:
            replies = kind.decode_many(component, await transport.send(at["search"], wire), items)
        finally:
            await transport.close()
        of_three = replicas.tally().replicas[at["search"].replica].busy_ms
        await called(planned, at["search"], "search", "7", "2#5", query=vector)
        of_four = replicas.tally().replicas[at["search"].replica]
        of_one = of_four.busy_ms - of_three
        assert of_four.calls == 4
    path: Place = (("round", 2),)
    simulated, _ = planned.behaviour.answer(Asked(component, component.settings, items, True, 7, path, 5))  # noqa: FBT003
    assert [one.value for one in replies] == [
        [{**one, "score": pytest.approx(one["score"])} for one in some] for some in simulated
    ]
    assert of_three == pytest.approx(3.0 * of_one)


SCORED = """
component minilm = embedder("all-MiniLM-L6-v2")
component search = milvus("docs", embedder: minilm, top_k: 12, metric: "METRIC")
component model = llm("meta-llama/Llama-3.2-3B-Instruct", max_tokens: 8)
component tell(found: [passage]) -> text ~ 4 tokens = model("{found}")
pipeline ask(question: text ~ 15 tokens) -> text {
    load 2 rps
    return tell(each p in take(search(question), 3) where p.score > -2.5 ~ 0.3: p)
}
"""


@pytest.mark.parametrize("metric", ["COSINE", "L2"])
async def test_a_test_of_the_score_of_the_first_few_holds_as_often_as_is_planned(tmp_path: Path, metric: str) -> None:
    planned = planned_for(tmp_path, SCORED.replace("METRIC", metric))
    async with emulated(planned) as (_, at):
        vector = [1.0] + [0.0] * 383
        searches = [called(planned, at["search"], "search", str(number), query=vector) for number in range(200)]
        found = await asyncio.gather(*searches)
    # Four and a half standard deviations of 600 draws.
    assert sum(one["score"] > -2.5 for some in found for one in some[:3]) / 600 == pytest.approx(0.3, abs=0.085)


async def posted(endpoint: Endpoint, path: str, ask: object) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{endpoint.port}{path}"
    async with aiohttp.ClientSession() as session, session.post(url, json=ask) as answer:
        return answer.status, await answer.json()


async def test_an_encoder_answers_and_refuses_as_our_worker_does(planned: Scenario) -> None:
    """By the worker's own code, which `tests/worker/test_models.py` tries on models."""
    embeddings, ranking, name = "/v1/embeddings", "/v1/rerank", "all-MiniLM-L6-v2"
    async with emulated(planned) as (_, at):
        for engine, path, ask in (
            ("minilm", embeddings, {"input": "a"}),
            ("rank", ranking, {"query": "a", "documents": ["a"]}),
        ):
            status, document = await posted(at[engine], path, ask | {"model": "other"})
            message = f"the model `other` is not served here; `{name}` is"
            assert (status, document) == (
                404,
                {"error": {"message": message, "type": "not_found_error", "param": "model", "code": 404}},
            )
            status, document = await posted(at[engine], path, ask | {"model": name})
            assert (status, document["model"]) == (200, name)
        wrong_ones: tuple[dict[str, object], ...] = ({"input": []}, {"input": [1]}, {"input": "a", "dimensions": 5}, {})
        for wrong in wrong_ones:
            status, document = await posted(at["minilm"], embeddings, wrong)
            assert (status, document["error"]["type"]) == (400, "invalid_request_error")
        _, document = await posted(
            at["minilm"], embeddings, {"input": "a" * 40, "encoding_format": "base64", "dimensions": 384}
        )
        assert document["usage"] == {"prompt_tokens": 10, "total_tokens": 10}
        assert len(base64.b64decode(document["data"][0]["embedding"])) == 4 * 384
        _, document = await posted(
            at["rank"], ranking, {"query": "q", "documents": [{"text": "a"}, "b"], "return_documents": True}
        )
        assert {one["document"]["text"] for one in document["results"]} == {"a", "b"}
        assert [*document["usage"]] == ["total_tokens"]


async def test_shares_hold_over_requests_and_the_same_request_gets_the_same(planned: Scenario) -> None:
    async with emulated(planned) as (_, at):
        grades: list[Value] = []
        # As many connections at once as a server takes that is busy with them.
        for few in range(0, 400, 50):
            requests = range(few, few + 50)
            grades += await asyncio.gather(
                *(called(planned, at["model"], "grade", str(request), question="q") for request in requests)
            )
        again = await called(planned, at["model"], "grade", "5", question="another prompt")
    assert grades.count("no") / 400 == pytest.approx(0.4, abs=0.075)
    assert again == grades[5]


#: In a process of its own: gRPC's threads and its event loop do not live well together in one.
READ = """
import sys, msgspec
from harmonia_compiler.runtime.milvus import read_record
print(msgspec.json.encode([read_record(sys.argv[1], name) for name in ("docs", "nosuch")]).decode())
"""


async def test_a_collection_s_record_is_what_the_plan_expects(planned: Scenario) -> None:
    async with emulated(planned) as (_, at):
        reading = await asyncio.create_subprocess_exec(
            sys.executable, "-c", READ, f"http://127.0.0.1:{at['search'].port}", stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await reading.communicate()
    found = msgspec.json.decode(printed, type=list[CollectionRecord | None])
    assert found == [planned.service.collections["docs"], None]


async def test_times_are_those_of_the_profile(planned: Scenario) -> None:
    loop = asyncio.get_running_loop()
    async with emulated(planned) as (replicas, at):
        began = loop.time()
        await called(planned, at["walk"], "walk", "1", question="q")
        took_ms = (loop.time() - began) * 1000.0
        tally = replicas.tally()
    replica = next(one for one in planned.plan.replicas if one.engine == "walk")
    assert tally.replicas[replica.id].calls == 1
    # 5 ms of a core, on its part of one, some longer than others.
    assert tally.replicas[replica.id].busy_ms == pytest.approx(5.0 / replica.config.cores, rel=0.7)
    assert took_ms >= tally.replicas[replica.id].busy_ms
