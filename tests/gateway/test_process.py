"""The gateway as the process that a target starts."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoints
from harmonia_compiler.contract.component import Engine, Env, Secret
from tests.gateway.fakes import ENGINES
from tests.gateway.processes import OUTSIDE, SAY, Handler, Running, command, started, write_bundle
from tests.ports import free_port


def test_drains_what_runs_when_it_is_told_to_stop(running: Running) -> None:
    request = urllib.request.Request(
        f"{running.url}/v1/pipelines/say", json.dumps({"inputs": {"question": "x"}, "stream": True}).encode()
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        first = response.readline()
        running.process.send_signal(signal.SIGTERM)
        rest = response.read()
    assert b"One" in first
    assert rest.endswith(b"data: [DONE]\n\n")
    assert running.process.wait(timeout=15) == 0
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(running.url, timeout=1)
    assert running.process.stderr is not None
    lines = [json.loads(line) for line in running.process.stderr.read().splitlines()]
    assert [line["event"] for line in lines] == ["endpoints", "listening", "stopping", "stopped"]


@pytest.mark.parametrize("processes", ["1", "2"])
def test_ends_what_runs_when_it_is_told_once_more_where_it_may_run_for_long(tmp_path: Path, processes: str) -> None:
    question = b'{"inputs": {"question": "x"}}'

    def ask(url: str) -> tuple[int, str]:
        try:
            urllib.request.urlopen(f"{url}/v1/pipelines/say", question, timeout=30).close()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)["error"]["message"]
        return 200, ""

    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as asking:
        write_bundle(tmp_path / "bundle", [SAY], ENGINES, silent.getsockname()[1])
        with started(tmp_path / "bundle", "--drain", "600", "--processes", processes) as running:
            asked = asking.submit(ask, running.url)
            call, _ = silent.accept()
            for _ in range(2):
                running.process.send_signal(signal.SIGTERM)
                until_refused(running.port)
            assert asked.result(30) == (503, "the gateway is being stopped")
            assert running.process.wait(30) == 0
            call.close()


def test_answers_who_had_connected_before_it_was_told_to_stop_and_asks_then(tmp_path: Path, model: int) -> None:
    write_bundle(tmp_path / "bundle", [SAY], ENGINES, model)
    with started(tmp_path / "bundle", "--drain", "600") as running:
        slow = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
        slow.connect()
        # Whoever comes later is taken later.
        urllib.request.urlopen(f"{running.url}/healthz", timeout=5).close()
        running.process.send_signal(signal.SIGTERM)
        until_refused(running.port)
        slow.request("POST", "/v1/pipelines/say", b'{"inputs": {"question": "x"}, "stream": true}')
        assert slow.getresponse().read().endswith(b"data: [DONE]\n\n")
        slow.close()
        assert running.process.wait(30) == 0


def until_refused(port: int) -> None:
    """Return once nobody listens there any more."""
    until = time.monotonic() + 10
    with contextlib.suppress(ConnectionRefusedError):
        while time.monotonic() < until:
            socket.create_connection(("127.0.0.1", port), 5).close()
            time.sleep(0.05)
        raise AssertionError("it still listens")


def test_follows_the_endpoints_file(running: Running) -> None:
    draft = running.bundle / "run" / "new.json"
    draft.write_bytes(msgspec.json.encode(Endpoints((), 2)))
    draft.replace(running.bundle / "run" / "endpoints.json")
    until = time.monotonic() + 10
    while True:
        request = urllib.request.Request(f"{running.url}/v1/pipelines/say", b'{"inputs": {"question": "x"}}')
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except urllib.error.HTTPError as refused:
            with refused:
                body = json.load(refused)
            if body["error"]["code"] == "no_replica":
                break
        assert time.monotonic() < until
        time.sleep(0.1)


def outside(bundle: Path, port: int) -> None:
    settings = {"url": Env("MT_URL"), "key": Secret("MT_KEY")}
    write_bundle(bundle, [OUTSIDE], {"mt": Engine("mt", "http", settings)}, port)


def test_late_settings_come_from_the_environment(tmp_path: Path, model: int) -> None:
    outside(tmp_path / "b", model)
    Handler.seen.clear()
    with started(tmp_path / "b", MT_URL=f"http://127.0.0.1:{model}/translate", MT_KEY="k-1") as found:
        request = urllib.request.Request(f"{found.url}/v1/pipelines/outside", b'{"inputs": {"question": "hello"}}')
        with urllib.request.urlopen(request, timeout=10) as response:
            assert json.load(response)["value"] == "HELLO"
    assert Handler.seen == [("/translate", "Bearer k-1")]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ("variables", "gateway: not set in the environment: MT_KEY, MT_URL\n"),
        ("url", "gateway: not set in the environment: MT_KEY; the environment's MT_URL cannot be a `url`\n"),
        ("damaged", "service.json` cannot be used"),
        ("newer", "its format 99 is newer"),
        ("port", "cannot listen on 127.0.0.1"),
    ],
)
def test_a_start_that_cannot_be_is_one_line(tmp_path: Path, model: int, spoil: str, says: str) -> None:
    bundle = tmp_path / "b"
    outside(bundle, model) if spoil in ("variables", "url") else write_bundle(bundle, [SAY], ENGINES, model)
    service = bundle / "service.json"
    if spoil == "damaged":
        service.write_text("{")
    if spoil == "newer":
        service.write_text(json.dumps({**json.loads(service.read_text()), "format_version": 99}))
    port = model if spoil == "port" else free_port()
    environment = {**os.environ, "MT_URL": "http://[::1"} if spoil == "url" else None
    done = subprocess.run(
        command(bundle, port), capture_output=True, text=True, timeout=30, check=False, env=environment
    )
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
