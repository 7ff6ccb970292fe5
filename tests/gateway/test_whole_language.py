"""Loops, lists, fallbacks and times of real programs: what the gateway does over sockets is what the reference says."""

import asyncio
import json
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.launch import Wire
from harmonia_compiler.contract.program import Call, Program
from harmonia_compiler.contract.types import Value
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.flow.takes import Takes
from harmonia_compiler.kinds.milvus import Hit, Search, SearchReply
from harmonia_compiler.kinds.registry import kinds
from tests.gateway.fakes import FakeEngine, FakeMilvus, Served, eventually, serving
from tests.policy.programs import reply
from tests.policy.reference import Bad, Name, Ok, Reference, Spot
from tests.policy.test_random_programs import operation_at

#: A call as a client is told of it: its component, and the rounds and items that it was in.
Stage = tuple[str, tuple[int, ...]]

#: Between them they end the loop by its test, its limit and its return, and take either way at each fallback.
QUESTIONS = ("who?", "where?", "how?", "which?", "whose?")
#: About how long a call of anything takes, for the pass that begins early what is likely.
USUAL_MS = 20.0
#: A request that has no answer by then never has one.
MOST_S = 30.0
#: What a client is told where one of these is at fault; None where it is no component.
CODES = {
    "frail": (400, "component_refused"),
    "faulty": (400, "component_refused"),
    "never": (504, "value_late"),
    None: (422, "list_refused"),
}


def digest(text: str) -> int:
    return zlib.crc32(text.encode())


def is_refused(component: str, inputs: Mapping[str, Value]) -> bool:
    return component == "faulty" or (component == "frail" and digest(inputs["q"]) % 2 == 0)


def written(prompt: str) -> list[str]:
    """The words of a model's text, which depends on all of its prompt."""
    return [f"w{digest(prompt)}", " and", " more"]


def vector(text: str) -> list[float]:
    return [float(digest(text) % 1000), 1.0, 0.0]


def hits(query: list[float]) -> list[Hit]:
    return [Hit(f"passage {at} near {query[0]:g}", f"doc{at}.md", 1.0 - at / 10) for at in range(2)]


def value(component: Component, inputs: Mapping[str, Value]) -> Value:
    """What a call gives; of a model, whose replica sees no more than a prompt, by the prompt that its kind sends."""
    match component.kind:
        case "llm":
            wire = kinds()["llm"].encode(application().engines[component.engine], component, inputs, stream=False)
            return "".join(written(prompt_of(json.loads(wire.body))))
        case "embedder":
            return vector(inputs["text"])
        case "milvus":
            return [msgspec.structs.asdict(hit) for hit in hits(inputs["query"])]
        case _ if component.name == "flood":
            return ["drop"] * 300
        case _:
            return reply(component, inputs, {})


def values(
    component: Component, inputs: Mapping[str, Value], _settings: Mapping[str, Any], over: tuple[str, ...]
) -> Value:
    """What a call gives, of one over lists for each item."""
    if not over:
        return value(component, inputs)
    items = zip(*(inputs[port] for port in over), strict=True)
    return [value(component, {**inputs, **dict(zip(over, item, strict=True))}) for item in items]


def prompt_of(body: Mapping[str, Any]) -> str:
    prompt: str = body["messages"][-1]["content"]
    return prompt


@cache
def application() -> Application:
    checked = check_files([Path(__file__).with_name("whole_language.rag")])
    assert checked.application is not None, checked.found
    return checked.application


@cache
def programs(how: str) -> dict[str, Program]:
    """The pipelines by name: as they were written, save that a search is told a vector, or after all passes."""
    made = application()
    takes = Takes(dict.fromkeys(made.components, USUAL_MS), deviation=0.2)
    passed = optimise(made, takes=takes) if how == "optimised" else optimise(made, last="expand_retrieval")
    return {flow.name: lower(flow, passed) for flow in passed.flows}


class Replica(FakeEngine):
    """A replica of the one component that has an engine, or the embedder or the model. `open` lets its calls end."""

    def __init__(self, component: Component) -> None:
        super().__init__(hang=component.name == "never")
        self.component = component
        self.open = asyncio.Event()
        self.open.set()

    async def _call(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        inputs = body["inputs"]
        await self.open.wait()
        if is_refused(self.component.name, inputs):
            return web.json_response({"error": {"message": "told to refuse"}}, status=422)
        return web.json_response({"result": value(self.component, inputs)})

    async def _embed(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        return web.json_response({"data": [{"embedding": vector(text)} for text in body["input"]]})

    async def _chat(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        # Several calls are answered at once, and `words` are those of one.
        told = FakeEngine(words=written(prompt_of(body)), break_after=self.break_after)
        return await told._chat(request, body)


class Store(FakeMilvus):
    """A collection in which each vector finds something else."""

    async def send(self, endpoint: Endpoint, wire: Wire) -> bytes:
        search = msgspec.json.decode(wire.body, type=Search)
        return msgspec.json.encode(SearchReply([hits(query) for query in search.vectors]))


@dataclass
class World:
    """A gateway over a replica of each engine, which serves `programs(how)`."""

    how: str
    served: Served
    replicas: Mapping[str, Replica]

    @property
    def programs(self) -> Mapping[str, Program]:
        return programs(self.how)

    async def settled(self) -> None:
        """Nothing is under way any more, neither at a replica nor in the gateway."""
        await eventually(lambda: not any(replica.in_flight for replica in self.replicas.values()))
        for name in self.programs:
            assert (await self.served.client.counters(name))["in_flight"] == 0


@pytest.fixture(params=["written", "optimised"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = application()
    by_engine = {component.engine: component for component in made.components.values()}
    replicas = {name: await Replica(by_engine[name]).start() for name in made.engines if name != "search"}
    ports = {name: replicas[name].port if name in replicas else 1 for name in made.engines}
    async with serving(
        programs(request.param), ports, milvus=Store(), engines=dict(made.engines), concurrency=1000
    ) as served:
        yield World(request.param, served, replicas)
    for replica in replicas.values():
        await replica.stop()


@dataclass(frozen=True)
class Expected:
    """What the reference says of one request.

    It makes the calls of `firm`, and may make those of `hoped` besides; `has_failed` tells that one of `firm` failed
    or was late.
    """

    outcome: Ok | Bad
    firm: Counter[Stage]
    hoped: frozenset[Stage]
    has_failed: bool


@cache
def expected(how: str, name: str, question: str) -> Expected:
    """By the reference, to which a call that is late has failed: it only runs where there is a short time for it."""
    failed = []

    def fails(component: str, inputs: Mapping[str, Value]) -> bool:
        failed.append(component == "never" or is_refused(component, inputs))
        return failed[-1]

    program = programs(how)[name]
    request = Reference(program, {"q": question}, answers=values, fails=fails)
    outcome = request.run()
    assert not request.ambiguous
    firm, has_failed = made_calls(program, request), any(failed)
    request.hope()
    return Expected(outcome, firm, frozenset(made_calls(program, request)), has_failed)


def made_calls(program: Program, request: Reference) -> Counter[Stage]:
    """The calls that the reference made."""
    return Counter((component_at(program, spot), rounds_of(spot[0])) for spot in request.demanded)


def component_at(program: Program, spot: Spot) -> str:
    operation = operation_at(program, spot)
    assert isinstance(operation, Call)
    return operation.component


def rounds_of(name: Name) -> tuple[int, ...]:
    """The rounds and items that a frame is in; an attempt has neither."""
    return tuple(number for _, number in name if number)


def stages_of(document: Mapping[str, Any]) -> Counter[Stage]:
    """The calls that a client was told of."""
    told = document["timings"]["stages"]
    return Counter((stage["component"], tuple(number for _, number in stage.get("path", ()))) for stage in told)


def of_note(calls: Counter[Stage]) -> dict[Stage, int]:
    """The calls that are not pure."""
    return {stage: number for stage, number in calls.items() if stage[0] == "note"}


def check_error(outcome: Bad, status: int, document: Mapping[str, Any]) -> None:
    error = document["error"]
    assert error.get("component") in {component for _, component in outcome.failures}
    assert (status, error["code"]) == CODES[error.get("component")]


async def check_answer(world: World, name: str, question: str) -> str:
    """One request, and its calls; says how it ended."""
    outcome = expected("written", name, question).outcome
    status, document, _ = await world.served.client.post(f"/v1/pipelines/{name}", {"inputs": {"q": question}})
    if isinstance(outcome, Bad):
        check_error(outcome, status, document)
        return f"{name} fails"
    assert (status, document.get("value")) == (200, outcome.value), f"{name} of {question}"
    told, wanted = stages_of(document), expected(world.how, name, question)
    assert {*told} <= wanted.hoped, f"{name} of {question}"
    if not wanted.has_failed:
        # Without guesses no call is made in vain or twice; one that was lost may be made again.
        assert told == wanted.firm or (world.how == "optimised" and {*told} >= {*wanted.firm}), f"{name} of {question}"
    assert of_note(told) == of_note(wanted.firm), f"{name} of {question}"
    return f"{name} gives"


async def test_every_form_gives_what_the_reference_gives_and_leaves_nothing_under_way(world: World) -> None:
    async with asyncio.timeout(MOST_S):
        ends = await asyncio.gather(
            *(check_answer(world, name, question) for name in world.programs for question in QUESTIONS)
        )
    await world.settled()
    never = world.replicas["never"]
    assert never.cancelled == len(never.calls)
    assert {"rounds gives", "rounds fails"} < {*ends}


async def test_a_streamed_answer_is_the_reference_s_in_pieces(world: World) -> None:
    async def check_stream(name: str, question: str) -> None:
        outcome = expected("written", name, question).outcome
        assert isinstance(outcome, Ok)
        asked = {"inputs": {"q": question}, "stream": True}
        *texts, result, done = await world.served.client.events(f"/v1/pipelines/{name}", asked)
        assert (result["value"], done) == (outcome.value, "[DONE]")
        # What no model wrote comes whole, as the value alone.
        assert "".join(text["text"] for text in texts) == (outcome.value if texts else "")
        assert len(texts) == (3 if " and" in outcome.value else 0)
        messages = [{"role": "user", "content": question}]
        chat = {"model": name, "stream": True, "messages": messages}
        *chunks, done = await world.served.client.events("/v1/chat/completions", chat)
        assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == outcome.value

    streaming = [name for name, program in world.programs.items() if program.streams and name != "refused"]
    assert {*streaming} == {"loop", "found", "falls", "early", "over", "mixed", "replaced", "waited"}
    async with asyncio.timeout(MOST_S):
        await asyncio.gather(*(check_stream(name, question) for name in streaming for question in QUESTIONS[-3:]))
    await world.settled()


async def test_a_late_call_is_cancelled_while_its_request_goes_on(world: World) -> None:
    never, say = world.replicas["never"], world.replicas["say"]
    say.open.clear()
    async with asyncio.timeout(MOST_S), asyncio.TaskGroup() as tasks:
        asked = {"inputs": {"q": "how?"}}
        answer = tasks.create_task(world.served.client.post("/v1/pipelines/piece", asked))
        await eventually(lambda: never.cancelled == 1)
        await eventually(lambda: say.in_flight == 1)
        assert not answer.done()
        say.open.set()
    status, document, _ = answer.result()
    assert status == 200
    assert [stage["component"] for stage in document["timings"]["stages"]][-2:] == ["never", "say"]
    await world.settled()


async def test_once_text_has_left_nothing_stands_in_for_it(world: World) -> None:
    world.replicas["small"].break_after = 1
    asked = {"inputs": {"q": "who?"}}
    text, error, *_ = await world.served.client.events("/v1/pipelines/waited", {**asked, "stream": True})
    assert text["type"] == "text"
    assert (error["error"]["code"], error["error"]["component"]) == ("answer_broken", "write")
    _, whole, _ = await world.served.client.post("/v1/pipelines/waited", asked)
    assert whole["value"] == "late"


async def test_an_error_in_a_loop_or_list_says_what_it_is(world: World) -> None:
    wanted = {
        "refused": (400, "component_refused", "faulty", "`faulty`: its engine answered 422: told to refuse"),
        "late": (504, "value_late", "never", "`never`: no answer within 40 ms"),
        "flooded": (422, "list_refused", None, "a list of 300 items was given, and 256 is the most"),
    }
    for stream in (False, True):
        found = {}
        for name in wanted:
            async with asyncio.timeout(MOST_S):
                asked = {"inputs": {"q": "who?"}, "stream": stream}
                status, document, _ = await world.served.client.post(f"/v1/pipelines/{name}", asked)
            error = document["error"]
            found[name] = (status, error["code"], error.get("component"), error["message"])
        assert found == wanted
    await world.settled()
