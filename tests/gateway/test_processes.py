"""Several processes that are one gateway: what each has of the plan, what all have counted, who outlives whom."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from harmonia_compiler.contract.bundle import ReplicaShare
from harmonia_compiler.contract.launch import GATEWAY_PROCESSES
from harmonia_compiler.contract.readings import (
    CacheRead,
    CallsRead,
    GenerationRead,
    Readings,
    ReplicaRead,
    RequestsRead,
)
from harmonia_compiler.runtime.actuators.supervision.command import PASSED_ON
from harmonia_compiler.runtime.gateway.part import Part
from harmonia_compiler.runtime.gateway.sums import sum_metrics, sum_readings
from tests.gateway.fakes import ENGINES
from tests.gateway.processes import SAY, Running, command, started, write_bundle
from tests.ports import free_port

COUNT = 2


@pytest.mark.parametrize(("of", "batch"), [(1, 7), (2, 64), (3, 64), (4, 6), (8, 256)])
def test_the_places_of_a_replica_are_divided_and_none_is_lost(of: int, batch: int) -> None:
    share = ReplicaShare(batch, 2.5)
    parts = [Part(number, of).share("r-1", share) for number in range(of)]
    assert sum(part.batch for part in parts) == batch
    assert max(part.batch for part in parts) - min(part.batch for part in parts) <= 1
    assert {part.weight for part in parts} == {2.5 / of}


def test_what_does_not_divide_goes_to_another_process_for_another_replica() -> None:
    shares = {f"r-{at}": ReplicaShare(5) for at in range(64)}
    places = [sum(share.batch for share in Part(number, 4).shares(shares).values()) for number in range(4)]
    assert sum(places) == 64 * 5
    assert max(places) - min(places) < 64 / 2


def test_a_replica_that_takes_one_call_at_a_time_is_there_for_every_process() -> None:
    assert [Part(number, 3).share("r-1", ReplicaShare(1)).batch for number in range(3)] == [1, 1, 1]


def test_readings_add_up() -> None:
    one = Readings(
        "a",
        5.0,
        3,
        "",
        (RequestsRead("p", "", 4, 4, 3, {"say": 3}, 2.0, 1.0),),
        (CallsRead("p", "say", "r-1", 3, 1, 4, 0.5, 0.25),),
        (ReplicaRead("r-1", "llm", 2, routed=True, started_in_s=40.0),),
        {"llm": 1},
        (GenerationRead(1, 2, 4, 3),),
        7,
        caches=(CacheRead("r-1", "llm", 100, 40),),
    )
    other = Readings(
        "b",
        4.0,
        2,
        "it is damaged",
        (RequestsRead("p", "", 6, 5, 5, {"say": 4, "search": 1}, 3.0, 2.0), RequestsRead("q")),
        (CallsRead("p", "say", "r-1", 4, 0, 4, 1.0, 0.0),),
        (
            ReplicaRead("r-1", "llm", 1, routed=False, started_in_s=40.0),
            ReplicaRead("r-2", "llm", 0, routed=True, started_in_s=9.0),
        ),
        {"llm": 2, "store": 1},
        (GenerationRead(1, 1, 6, 5),),
        6,
        "it cannot be read",
        (CacheRead("r-2", "llm", 10, 4),),
    )
    assert sum_readings([one, other]) == Readings(
        "a+b",
        5.0,
        2,
        "it is damaged",
        (RequestsRead("p", "", 10, 9, 8, {"say": 7, "search": 1}, 5.0, 3.0), RequestsRead("q")),
        (CallsRead("p", "say", "r-1", 7, 1, 8, 1.5, 0.25),),
        (
            ReplicaRead("r-1", "llm", 3, routed=True, started_in_s=40.0),
            ReplicaRead("r-2", "llm", 0, routed=True, started_in_s=9.0),
        ),
        {"llm": 3, "store": 1},
        (GenerationRead(1, 3, 10, 8),),
        6,
        "it cannot be read",
        (CacheRead("r-1", "llm", 100, 40), CacheRead("r-2", "llm", 10, 4)),
    )


def counted(requests: int, label: str) -> bytes:
    registry = CollectorRegistry()
    Counter("requests", "Some", ("pipeline",), registry=registry).labels(label).inc(requests)
    Gauge("in_flight", "Some", registry=registry).set(requests)
    seconds = Histogram("seconds", 'With "quotes"', registry=registry, buckets=(0.1, 1.0))
    for _ in range(requests):
        seconds.observe(0.5)
    return generate_latest(registry)


def values(text: bytes) -> dict[tuple[str, str], float]:
    return {
        (sample.name, json.dumps(sample.labels)): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_metrics_add_up() -> None:
    each = counted(2, "p q"), counted(3, "p q"), counted(1, "r")
    found = values(sum_metrics(each))
    assert found["requests_total", '{"pipeline": "p q"}'] == 5
    assert found["requests_total", '{"pipeline": "r"}'] == 1
    assert found["in_flight", "{}"] == 6
    assert found["seconds_bucket", '{"le": "0.1"}'] == 0
    assert found["seconds_bucket", '{"le": "+Inf"}'] == found["seconds_count", "{}"] == 6
    assert found["seconds_sum", "{}"] == 3.0
    began = "seconds_created", "{}"
    assert found[began] == min(values(one)[began] for one in each)
    assert sum_metrics(each[:1]) == each[0]


@pytest.fixture
def several(tmp_path: Path, model: int) -> Iterator[Running]:
    bundle = tmp_path / "bundle"
    write_bundle(bundle, [SAY], ENGINES, model)
    with started(bundle, **{GATEWAY_PROCESSES: str(COUNT)}) as found:
        yield found


def get(running: Running, path: str) -> bytes:
    with urllib.request.urlopen(running.url + path, timeout=10) as response:
        body: bytes = response.read()
        return body


def ask(running: Running) -> None:
    body = json.dumps({"inputs": {"question": "?"}, "stream": True}).encode()
    with urllib.request.urlopen(running.url + "/v1/pipelines/say", body, timeout=20) as response:
        assert b'"value":"One two' in response.read()


def requests(running: Running) -> dict[str, float]:
    """What is counted of requests, by the outcome."""
    found = values(get(running, "/metrics"))
    prefix = "harmonia_requests_"
    return {
        name.removeprefix(prefix).removesuffix("_total"): value
        for (name, _), value in found.items()
        if name.startswith(prefix) and not name.endswith("_created")
    }


def until(holds: Callable[[], Any]) -> None:
    last = time.monotonic() + 30
    while True:
        try:
            if holds():
                return
        except (OSError, urllib.error.HTTPError):
            pass
        assert time.monotonic() < last
        time.sleep(0.05)


def test_all_serve_and_what_they_count_adds_up(several: Running) -> None:
    for _ in range(8):
        ask(several)
    # A request is counted a moment after its last byte.
    until(lambda: requests(several)["in_flight"] == 0)
    assert requests(several) == {
        "accepted": 8,
        "completed": 8,
        "failed": 0,
        "shed": 0,
        "cancelled": 0,
        "in_flight": 0,
    }
    told = json.loads(get(several, "/readings"))
    assert [row["arrived"] for row in told["requests"]] == [8]
    assert told["gateway"].count("+") == COUNT - 1
    assert json.loads(get(several, "/readings?own=1"))["gateway"] in told["gateway"].split("+")


def test_one_that_is_killed_is_started_again_and_the_counts_go_on(several: Running) -> None:
    for _ in range(4):
        ask(several)
    until(lambda: requests(several)["completed"] == 4)
    victim, other = psutil.Process(several.process.pid).children()
    victim.kill()

    def replaced() -> bool:
        # One that has ended is a child until the end is seen.
        children = psutil.Process(several.process.pid).children()
        return len(children) == COUNT and victim not in children and requests(several)["accepted"] == 4

    until(replaced)
    assert other.is_running()
    ask(several)
    until(lambda: requests(several)["completed"] == 5)


def test_all_end_with_the_one_that_started_them(several: Running) -> None:
    children = psutil.Process(several.process.pid).children()
    several.process.kill()
    several.process.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_all_drain_and_end_well(several: Running, sent: signal.Signals) -> None:
    ask(several)
    children = psutil.Process(several.process.pid).children()
    os.kill(several.process.pid, sent)
    assert several.process.wait(15) == 0
    assert not any(child.is_running() for child in children)


def test_who_stops_the_whole_group_cuts_nothing(several: Running) -> None:
    """As systemd and `timeout` do: each process is told, and by the one that started it once more."""
    request = urllib.request.Request(
        f"{several.url}/v1/pipelines/say", json.dumps({"inputs": {"question": "x"}, "stream": True}).encode()
    )
    children = psutil.Process(several.process.pid).children()
    with urllib.request.urlopen(request, timeout=10) as response:
        response.readline()
        for child in children:
            child.terminate()
        several.process.terminate()
        assert response.read().endswith(b"data: [DONE]\n\n")
    assert several.process.wait(15) == 0


def test_the_number_that_is_said_at_the_start_reaches_the_gateway() -> None:
    assert GATEWAY_PROCESSES in PASSED_ON


@pytest.mark.parametrize("count", ["0", "two", "65"])
def test_a_number_that_is_none_is_told(tmp_path: Path, count: str) -> None:
    words = [*command(tmp_path, free_port()), "--processes", count]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert f"`{count}` is no number of processes from 1 to 64" in found.stderr
