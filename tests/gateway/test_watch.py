"""What the gateway tells the controller, and how it follows what the controller decides."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Address, Endpoint, ReplicaShare, Service
from harmonia_compiler.contract.decision import Decision, fingerprint
from harmonia_compiler.contract.program import Call, Parameter
from harmonia_compiler.contract.readings import TOKEN, Readings
from harmonia_compiler.runtime.controller.asking import ask as heard
from harmonia_compiler.runtime.gateway.decisions import DecisionFile
from harmonia_compiler.runtime.gateway.watch import Watch
from tests.gateway.fakes import ENGINES, RETRIEVING, FakeEngine, Served, eventually, program, serving

SAY = program("say", (Parameter("question"), Call("say", ("question",), (0,))), streams=False)
RAG = program(
    "rag",
    RETRIEVING,
    streams=False,
)


async def readings(served: Served) -> Readings:
    status, body = await served.client.get("/readings")
    assert status == 200
    return msgspec.convert(body, Readings)


async def ask(served: Served, pipeline: str) -> Any:
    return await served.client.post(f"/v1/pipelines/{pipeline}", {"inputs": {"question": "why?"}})


async def test_tells_who_came_whom_they_called_and_how_long_it_took(engine: FakeEngine) -> None:
    engine.pause_s = 0.02
    async with serving([RAG, SAY], dict.fromkeys(ENGINES, engine.port)) as served:
        before = await readings(served)
        assert (before.requests, before.calls) == ((), ())
        for _ in range(3):
            assert (await ask(served, "rag"))[0] == 200
        engine.status = 500
        assert (await ask(served, "say"))[0] == 502
        after = await readings(served)
        assert after.gateway == before.gateway
        assert after.at_s > before.at_s
        rag, say = after.requests
        assert (rag.pipeline, rag.arrived, rag.let_in, rag.answered) == ("rag", 3, 3, 3)
        assert rag.visits == {"answer": 3, "minilm": 3, "search": 3}
        assert 0.0 < rag.gap_s2 < rag.gap_s**2
        assert (say.pipeline, say.arrived, say.let_in, say.answered) == ("say", 1, 1, 0)
        calls = {(one.pipeline, one.component): one for one in after.calls}
        assert calls["rag", "answer"].replica == "llm-1"
        assert (calls["rag", "answer"].served, calls["rag", "answer"].failed) == (3, 0)
        assert calls["rag", "answer"].service_s > 3 * 0.015
        assert (calls["say", "say"].served, calls["say", "say"].failed) == (0, 1)
        assert {one.replica for one in after.replicas if one.routed} == {f"{name}-1" for name in ENGINES}


async def test_tells_what_is_in_flight_and_what_waits(engine: FakeEngine) -> None:
    engine.hang = True
    async with serving([SAY], {"llm": engine.port}, concurrency=1) as served:
        async with served.client.session.post(f"{served.client.url}/v1/pipelines/say", json={"inputs": {}}) as wrong:
            assert wrong.status == 400
        posts = [
            served.client.session.post(
                f"{served.client.url}/v1/pipelines/say", json={"inputs": {"question": "why?"}}
            ).__aenter__()
            for _ in range(3)
        ]
        tasks = [asyncio.ensure_future(post) for post in posts]
        await eventually(lambda: engine.in_flight == 1)
        await eventually(lambda: len(served.gateway.dispatcher.queues["llm"].line.waiting) == 2)
        now = await readings(served)
        (llm,) = [one for one in now.replicas if one.engine == "llm"]
        assert (llm.in_flight, llm.routed, now.waiting) == (1, True, {"llm": 2})
        assert now.requests[0].arrived == 3
        served.gateway.dispatcher.set_endpoints([])
        gone = [one for one in (await readings(served)).replicas if one.engine == "llm"]
        assert [(one.in_flight, one.routed) for one in gone] == [(1, False)]
        for task in tasks:
            task.cancel()
        await eventually(lambda: engine.in_flight == 0)


async def test_tells_how_long_replicas_took_to_start(engine: FakeEngine) -> None:
    replicas = [Endpoint(f"llm-{at}", "llm", "127.0.0.1", engine.port, took) for at, took in enumerate((41.5, None))]
    async with serving([SAY], replicas) as served:
        told = {one.replica: one.started_in_s for one in (await readings(served)).replicas}
        assert told == {"llm-0": 41.5, "llm-1": None}


async def test_tells_who_is_left_out(engine: FakeEngine) -> None:
    gone = await FakeEngine().start()
    await gone.stop()
    replicas = [Endpoint(f"llm-{at}", "llm", "127.0.0.1", port) for at, port in enumerate((gone.port, engine.port))]
    async with serving([SAY], replicas) as served:
        assert not any(one.left_out for one in (await readings(served)).replicas)
        pool = served.gateway.dispatcher.queues["llm"].line.pool
        while not pool.left_out:
            await ask(served, "say")
        told = (await readings(served)).replicas
        assert {one.replica for one in told if one.left_out} == {"llm-0"}


async def test_readings_are_for_this_machine_alone(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving([SAY], {"llm": engine.port}) as served:
        monkeypatch.setattr("harmonia_compiler.runtime.gateway.readings._is_here", lambda host: False)
        status, body = await served.client.get("/readings")
        assert (status, body["error"]["code"]) == (404, "not_found")


async def test_readings_are_also_for_whoever_knows_the_token_of_the_run(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with serving([SAY], {"llm": engine.port}, run=tmp_path) as served:
        (tmp_path / "gateway.json").write_bytes(msgspec.json.encode(Address("127.0.0.1", served.port)))
        monkeypatch.setattr("harmonia_compiler.runtime.gateway.readings._is_here", lambda host: False)
        assert (await asyncio.to_thread(heard, tmp_path)).readings is None
        for wrong in (b"", b"other"):
            (tmp_path / TOKEN).write_bytes(wrong)
            status, _ = await served.client.get("/readings")
            assert status == 404
        (tmp_path / TOKEN).write_bytes(b"0123456789abcdef")
        assert (await asyncio.to_thread(heard, tmp_path)).readings is not None


SERVICE = Service({"say": SAY}, ENGINES, {}, {"llm-1": ReplicaShare(8, 2.0), "llm-2": ReplicaShare(8, 2.0)})


@pytest.fixture
def followed(tmp_path: Path) -> tuple[Path, DecisionFile, Watch, list[dict[str, ReplicaShare]]]:
    watch, taken = Watch(lambda: 0.0), list[dict[str, ReplicaShare]]()
    path = tmp_path / "decision.json"
    return path, DecisionFile(path, SERVICE, watch, taken.append), watch, taken


Followed = tuple[Path, DecisionFile, Watch, list[dict[str, ReplicaShare]]]


def write(path: Path, content: Decision | bytes) -> None:
    draft = path.with_suffix(".new")
    draft.write_bytes(content if isinstance(content, bytes) else msgspec.json.encode(content))
    draft.replace(path)


def decision(epoch: int, plan: str = fingerprint(SERVICE), **shares: ReplicaShare) -> Decision:
    return Decision(epoch, plan, {name.replace("_", "-"): share for name, share in shares.items()})


def test_a_newer_decision_is_followed_and_gives_no_replica_more_than_the_plan(followed: Followed) -> None:
    path, file, watch, taken = followed
    file.look()
    assert taken == []
    write(path, decision(3, llm_1=ReplicaShare(2, 0.5), llm_2=ReplicaShare(99, 1.0), llm_3=ReplicaShare(99, 1.0)))
    file.look()
    file.look()
    assert taken == [
        {"llm-1": ReplicaShare(2, 0.5), "llm-2": ReplicaShare(8, 1.0), "llm-3": ReplicaShare(8, 1.0)},
    ]
    assert (watch.epoch, watch.refused) == (3, "")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"epoch": 4, "pl', "damaged"),
        (b"\xff\xfe\x00", "damaged"),
        (b"[" * 100_000, "damaged"),
        (b'{"epoch": 4, "plan": "x", "format_version": 99}', "another format"),
        (b'{"epoch": -1, "plan": "x", "format_version": 1}', "damaged"),
        (decision(4, "another"), "another plan"),
        (decision(2), "3 is followed already"),
        (decision(4, llm_1=ReplicaShare(1, 1e15)), "the weight 1e+15"),
        (
            b'{"epoch": 4, "plan": "x", "shares": {"llm-1": {"batch": 0, "weight": 1.0}}, "format_version": 1}',
            "damaged",
        ),
    ],
)
def test_anything_else_changes_nothing_and_the_next_good_one_is_followed(
    followed: Followed, content: Decision | bytes, why: str
) -> None:
    path, file, watch, taken = followed
    write(path, decision(3, llm_1=ReplicaShare(2, 0.5)))
    file.look()
    write(path, content)
    file.look()
    assert len(taken) == 1
    assert why in watch.refused
    assert watch.epoch == 3
    path.unlink()
    file.look()
    write(path, decision(5))
    file.look()
    assert (watch.epoch, watch.refused) == (5, "")
    assert taken[-1] == dict(SERVICE.shares)


async def test_new_shares_hold_at_once_for_those_who_wait(engine: FakeEngine) -> None:
    other = await FakeEngine().start()
    engine.hang = True
    replicas = [Endpoint("llm-1", "llm", "127.0.0.1", engine.port), Endpoint("llm-2", "llm", "127.0.0.1", other.port)]
    async with serving([SAY], replicas, concurrency=1) as served:
        served.gateway.dispatcher.set_shares({"llm-1": ReplicaShare(1, 1.0), "llm-2": ReplicaShare(4, 1000.0)})
        for _ in range(6):
            assert (await ask(served, "say"))[0] == 200
        assert (len(engine.calls), len(other.calls)) == (0, 6)
    await other.stop()
