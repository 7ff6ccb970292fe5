"""The counts of requests outlive a gateway that is killed; what it cut counts as failed."""

import errno
import http.client
import os
import signal
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from harmonia_compiler.contract.component import Engine
from harmonia_compiler.runtime.gateway.ledger import LEDGER, Ledger
from harmonia_compiler.runtime.gateway.metrics import OUTCOMES, Metrics
from tests.gateway.processes import SAY, model_server, started, write_bundle


def counted(text: str, pipeline: str = "say") -> dict[str, int]:
    lines = [line for line in text.splitlines() if f'{{pipeline="{pipeline}"}}' in line and "_requests_" in line]
    found = {line.split("{")[0].removeprefix("harmonia_requests_").removesuffix("_total"): line for line in lines}
    return {name: int(float(line.split()[-1])) for name, line in found.items() if not name.endswith("_created")}


def held(metrics: Metrics, pipeline: str = "say") -> dict[str, int]:
    found = counted(metrics.render().decode(), pipeline)
    assert found["accepted"] == sum(count for name, count in found.items() if name != "accepted"), found
    return found


def test_what_was_under_way_when_a_gateway_died_has_failed(tmp_path: Path) -> None:
    first = Ledger(tmp_path / LEDGER)
    metrics = Metrics(["say", "other"], first)
    for outcome in (*OUTCOMES, "completed"):
        metrics.admit("say").end(outcome)
    metrics.admit("say")
    metrics.admit("other")
    first.close()
    again = Metrics(["say", "new"], Ledger(tmp_path / LEDGER))
    assert held(again) == {"accepted": 6, "completed": 2, "failed": 2, "shed": 1, "cancelled": 1, "in_flight": 0}
    assert held(again, "other")["failed"] == 1, "also of a pipeline that is no longer served"
    again.admit("new").end("completed")
    assert held(again, "new")["completed"] == 1
    assert (tmp_path / LEDGER).stat().st_size == 3 * 104


def test_two_gateways_do_not_write_into_one_ledger(tmp_path: Path) -> None:
    first = Metrics(["say"], Ledger(tmp_path / LEDGER))
    second = Metrics(["say"], Ledger(tmp_path / LEDGER))
    second.admit("say").end("failed")
    first.admit("say").end("completed")
    assert held(second)["failed"] == 1
    assert held(first) == {"accepted": 1, "completed": 1, "failed": 0, "shed": 0, "cancelled": 0, "in_flight": 0}


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), os.mkfifo, lambda path: path.write_bytes(b"no row")])
def test_a_ledger_that_is_none_disturbs_nobody(tmp_path: Path, make: Any) -> None:
    make(tmp_path / LEDGER)
    metrics = Metrics(["say"], Ledger(tmp_path / LEDGER))
    metrics.admit("say").end("completed")
    assert held(metrics)["completed"] == 1


def test_a_full_disk_disturbs_nobody(tmp_path: Path) -> None:
    (tmp_path / LEDGER).symlink_to("/dev/full")
    metrics = Metrics(["say"], Ledger(tmp_path / LEDGER))
    metrics.admit("say").end("completed")
    assert held(metrics)["completed"] == 1


def test_counts_that_are_given_up_are_none_of_the_next_gateway_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came and ended since is nowhere, and what was under way then may have been answered."""
    ledger = Ledger(tmp_path / LEDGER)
    metrics = Metrics(["say"], ledger)
    metrics.admit("say").end("completed")
    ticket = metrics.admit("say")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        metrics.admit("say").end("shed")
    ticket.end("completed")
    assert held(metrics) == {"accepted": 3, "completed": 2, "failed": 0, "shed": 1, "cancelled": 0, "in_flight": 0}
    again = Metrics(["say"], Ledger(tmp_path / LEDGER))
    assert held(again) == {"accepted": 0, "completed": 0, "failed": 0, "shed": 0, "cancelled": 0, "in_flight": 0}


def ask(url: str) -> None:
    body = b'{"inputs": {"question": "why?"}, "stream": true}'
    request = urllib.request.Request(f"{url}/v1/pipelines/say", body)
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


def broken_off(url: str) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(url)


def scraped(url: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        return counted(answer.read().decode())


def awaited(url: str, counts: dict[str, int]) -> None:
    until = time.monotonic() + 30
    while (found := scraped(url)) != counts:
        assert time.monotonic() < until, found
        time.sleep(0.02)


def test_a_killed_gateway_goes_on_counting_where_it_was(tmp_path: Path) -> None:
    with model_server() as port:
        bundle = tmp_path / "bundle"
        write_bundle(bundle, [SAY], {"llm": Engine("llm", "llm", {"model": "tiny"})}, port)
        with started(bundle) as running:
            ask(running.url)
            cut = threading.Thread(target=broken_off, args=[running.url])
            cut.start()
            # What was answered is counted a moment after the client has its answer.
            awaited(
                running.url, {"accepted": 2, "completed": 1, "failed": 0, "shed": 0, "cancelled": 0, "in_flight": 1}
            )
            running.process.send_signal(signal.SIGKILL)
            cut.join()
        with started(bundle) as running:
            found = {"accepted": 2, "completed": 1, "failed": 1, "shed": 0, "cancelled": 0, "in_flight": 0}
            assert scraped(running.url) == found
            ask(running.url)
            awaited(running.url, {**found, "accepted": 3, "completed": 2})
