"""The worker of user functions, as a process; through the kind's own bytes where both sides meet."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harmonia_compiler.contract.component import Component, Engine, Port
from harmonia_compiler.contract.types import ListOf, Passage, Text
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.runtime.heads import HEAD_LIMIT
from tests.ports import free_port
from tests.worker.conftest import worker

SHOP = '''
"""Functions of a user."""
import asyncio
import datetime
import pathlib
import sys
import threading
import time

from parts.words import shout

both = threading.Barrier(2, timeout=10)


def search(query, limit=2):
    return [{"text": f"{shout(query)} {at}", "source": "shop", "score": 1.0} for at in range(limit)]


def noted(query, folder):
    (pathlib.Path(folder) / query).touch()
    time.sleep(0.5)
    return query


async def noted_later(query, folder):
    try:
        await asyncio.sleep(30)
    finally:
        (pathlib.Path(folder) / query).touch()


async def later(query):
    await asyncio.sleep(0)
    return query


def meet(query):
    both.wait()
    return query


def fail(query):
    raise ValueError(f"no {query} today")


def leave(query):
    raise SystemExit(3)


def strange(query):
    return object()


RAISED = {
    "nothing more": StopIteration,
    "an interrupt": KeyboardInterrupt,
    "a generator's end": GeneratorExit,
    "a cancellation": asyncio.CancelledError,
    "an end": SystemExit,
}


class Mute(Exception):
    def __str__(self):
        raise self


def odd(query):
    raise RAISED.get(query, Mute)


async def odd_later(query):
    odd(query)


async def exit_soon():
    raise SystemExit(3)


async def with_a_task(query):
    task = asyncio.create_task(exit_soon())
    if query == "awaited":
        await task
    return query


async def with_a_callback(query):
    loop = asyncio.get_running_loop()
    loop.call_soon(sys.exit, 3)
    loop.call_soon(loop.stop)
    return query


def give(query):
    return {
        "bytes": b"tea",
        "inside": [{"text": bytearray(b"tea")}],
        "a key": {b"text": "tea"},
        "a set": {b"tea"},
        "no number": float("nan"),
        "too large": [1.0, float("-inf")],
        "numbers": (1, 2.5, True, None),
        "a day": datetime.date(2026, 1, 2),
        "names": {1: frozenset({"tea"})},
    }[query]


answer = 42
'''


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    (folder / "parts").mkdir()
    (folder / "parts" / "words.py").write_text("def shout(text):\n    return text.upper()\n")
    (folder / "shop.py").write_text(SHOP)
    return folder


def call(url: str, document: object) -> tuple[int, Any]:
    request = urllib.request.Request(f"{url}/v1/call", json.dumps(document).encode())
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as problem:
        with problem:
            return problem.code, json.load(problem)["error"]


@pytest.fixture(scope="module")
def searching(code: Path) -> Iterator[str]:
    with worker("python", "--function", "shop:search", "--code", str(code)) as (url, _):
        yield url


def test_the_kind_and_the_worker_understand_each_other(searching: str) -> None:
    kind = kinds()["python"]
    component = Component("c", "python", "e", (Port("query", Text()),), ListOf(Passage()))
    inputs = {"query": "tea"}
    wire = kind.encode(Engine("e", "python", {"function": "shop:search"}), component, inputs, stream=False)
    request = urllib.request.Request(searching + wire.path, wire.body, dict(wire.headers), method=wire.method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        reply = kind.decode(component, answer.read(), inputs)
    assert reply.value == [
        {"text": "TEA 0", "source": "shop", "score": 1.0},
        {"text": "TEA 1", "source": "shop", "score": 1.0},
    ]


def test_a_package_of_another_version_than_the_bundle_pins_is_said_and_nothing_served(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("def search(query): return query")
    (tmp_path / "requires.txt").write_text("msgspec==0.0.1\nsurely-nobody-has-this==2\n")
    words = ["--function", "shop:search", "--code", str(tmp_path), "--port", "1"]
    command = [sys.executable, "-m", "harmonia_compiler.runtime.worker", "python", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "msgspec is " in done.stderr
    assert "surely-nobody-has-this 2 is not installed: install what" in done.stderr


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"inputs": {}}, "missing a required argument: 'query'"),
        ({"inputs": {"query": "a", "more": 1}}, "unexpected keyword argument 'more'"),
        ({"inputs": []}, "cannot be read"),
        ({}, "cannot be read"),
    ],
)
def test_inputs_that_the_function_does_not_take(searching: str, document: object, why: str) -> None:
    status, error = call(searching, document)
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert why in error["message"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fail", "`shop:fail` raised ValueError: no tea today"),
        ("leave", "`shop:leave` raised SystemExit: 3"),
        ("strange", "`shop:strange` returned what JSON cannot hold"),
    ],
)
def test_a_failing_function_does_not_end_the_worker(code: Path, name: str, message: str) -> None:
    with worker("python", "--function", f"shop:{name}", "--code", str(code)) as (url, process):
        for _ in range(2):
            status, error = call(url, {"inputs": {"query": "tea"}})
            assert (status, error["type"]) == (500, "function_error")
            assert message in error["message"]
        assert process.poll() is None


@pytest.mark.parametrize("name", ["odd", "odd_later"])
def test_what_python_gives_a_meaning_of_its_own_is_an_error_like_any_other(code: Path, name: str) -> None:
    raised = {
        # Python itself lets none leave a coroutine.
        "nothing more": "StopIteration" if name == "odd" else "RuntimeError: coroutine raised StopIteration",
        "an interrupt": "KeyboardInterrupt",
        "a generator's end": "GeneratorExit",
        "a cancellation": "CancelledError",
        "an end": "SystemExit",
        "no words": "Mute",
    }
    with worker("python", "--function", f"shop:{name}", "--code", str(code)) as (url, process):
        for query, said in raised.items():
            status, error = call(url, {"inputs": {"query": query}})
            assert (status, error["type"]) == (500, "function_error")
            assert error["message"] == f"`shop:{name}` raised {said}"
        assert process.poll() is None


def test_what_a_coroutine_leaves_behind_ends_no_worker(code: Path) -> None:
    with worker("python", "--function", "shop:with_a_task", "--code", str(code)) as (url, process):
        assert call(url, {"inputs": {"query": "left"}}) == (200, {"result": "left"})
        status, error = call(url, {"inputs": {"query": "awaited"}})
        assert (status, error["message"]) == (500, "`shop:with_a_task` raised SystemExit: 3")
        assert call(url, {"inputs": {"query": "left"}}) == (200, {"result": "left"})
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    with worker("python", "--function", "shop:with_a_callback", "--code", str(code)) as (url, process):
        for _ in range(2):
            assert call(url, {"inputs": {"query": "tea"}}) == (200, {"result": "tea"})
        assert process.poll() is None


def test_what_json_would_hold_as_something_else_is_an_error_that_says_what_it_is(code: Path) -> None:
    wrong = {
        "bytes": "b'tea', which is bytes and not text: decode it",
        "inside": "bytearray(b'tea'), which is bytearray and not text: decode it",
        "a key": "b'text', which is bytes and not text: decode it",
        "a set": "b'tea', which is bytes and not text: decode it",
        "no number": "the number nan",
        "too large": "the number -inf",
    }
    right = {"numbers": [1, 2.5, True, None], "a day": "2026-01-02", "names": {"1": ["tea"]}}
    with worker("python", "--function", "shop:give", "--code", str(code)) as (url, _):
        for query, said in wrong.items():
            status, error = call(url, {"inputs": {"query": query}})
            assert (status, error["type"]) == (500, "function_error")
            assert error["message"] == f"`shop:give` returned what JSON cannot hold: {said}"
        for query, value in right.items():
            assert call(url, {"inputs": {"query": query}}) == (200, {"result": value})


def test_a_module_that_will_not_be_imported_ends_the_worker_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "closed.py").write_text("next(iter(()))\n")
    command = [sys.executable, "-m", "harmonia_compiler.runtime.worker", "python", "--function", "closed:search"]
    command += ["--code", str(tmp_path), "--port", str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == "the worker could not load closed:search: StopIteration"


def test_a_head_that_is_too_large_is_refused(searching: str) -> None:
    request = urllib.request.Request(f"{searching}/health", headers={"x-more": "m" * HEAD_LIMIT})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=20)
    with caught.value as problem:
        assert problem.code == 431
        assert json.load(problem)["error"]["code"] == "head_too_large"


def test_an_offer_of_another_protocol_is_passed_over(searching: str) -> None:
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAEAAEAAAAIAAAAB"}
    connection = http.client.HTTPConnection(searching.removeprefix("http://"), timeout=20)
    for query in ("tea", "milk"):
        connection.request("POST", "/v1/call", json.dumps({"inputs": {"query": query, "limit": 1}}), offer)
        with connection.getresponse() as answer:
            assert json.load(answer)["result"][0]["text"] == f"{query.upper()} 0"
    connection.close()


def test_coroutine_functions_are_awaited(code: Path) -> None:
    with worker("python", "--function", "shop:later", "--code", str(code)) as (url, _):
        assert call(url, {"inputs": {"query": "tea"}}) == (200, {"result": "tea"})


def test_as_many_calls_as_cores_run_at_once(code: Path) -> None:
    arguments = ("python", "--function", "shop:meet", "--code", str(code), "--cores", "2")
    with worker(*arguments) as (url, _), ThreadPoolExecutor(2) as both:
        results = list(both.map(lambda query: call(url, {"inputs": {"query": query}}), ["a", "b"]))
    assert results == [(200, {"result": "a"}), (200, {"result": "b"})]


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("shop:nothing", "`nothing` in shop is no function"),
        ("shop:answer", "`answer` in shop is no function"),
        ("nowhere:search", "No module named 'nowhere'"),
    ],
)
def test_a_function_that_is_not_there_ends_the_worker_with_a_reason(code: Path, function: str, why: str) -> None:
    command = [sys.executable, "-m", "harmonia_compiler.runtime.worker", "python", "--function", function]
    command += ["--code", str(code), "--port", str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == f"the worker could not load {function}: {why}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_worker_cleanly(code: Path, number: signal.Signals) -> None:
    with worker("python", "--function", "shop:search", "--code", str(code)) as (_, process):
        process.send_signal(number)
        assert process.wait(20) == 0


def test_a_port_that_is_taken_is_a_reason(code: Path) -> None:
    with worker("python", "--function", "shop:search", "--code", str(code)) as (url, _):
        command = [sys.executable, "-m", "harmonia_compiler.runtime.worker", "python", "--function", "shop:search"]
        command += ["--code", str(code), "--port", url.rsplit(":", 1)[1]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "address already in use" in done.stderr


def leave(url: str, query: str, folder: Path) -> None:
    """Send a call, and close the connection before there can be an answer."""
    host, _, port = url.removeprefix("http://").partition(":")
    body = json.dumps({"inputs": {"query": query, "folder": str(folder)}}).encode()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        time.sleep(0.1)


def test_a_call_that_waits_for_a_thread_does_not_begin_once_its_client_has_gone(code: Path, tmp_path: Path) -> None:
    with worker("python", "--function", "shop:noted", "--code", str(code), "--cores", "1") as (url, _):
        for query in ("first", "second", "third"):
            leave(url, query, tmp_path)
        assert call(url, {"inputs": {"query": "last", "folder": str(tmp_path)}}) == (200, {"result": "last"})
    assert {file.name for file in tmp_path.iterdir()} == {"first", "last"}


def test_a_coroutine_is_cancelled_once_its_client_has_gone(code: Path, tmp_path: Path) -> None:
    with worker("python", "--function", "shop:noted_later", "--code", str(code)) as (url, _):
        leave(url, "tea", tmp_path)
        until = time.monotonic() + 10
        while not (tmp_path / "tea").exists():
            assert time.monotonic() < until
            time.sleep(0.01)
