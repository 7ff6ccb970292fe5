"""The running service under load: real engines, measured as a user would."""

import json

import pytest

from tests.engines.conftest import RunningService, harmoniac

pytestmark = [pytest.mark.engines, pytest.mark.slow]


def test_the_running_service_is_measured(service: RunningService) -> None:
    """Whatever the machine's speed: how many answers come in time, and how many within the window, it decides."""
    arguments = (
        "--pipeline",
        "quickstart",
        "--rate",
        "0.2",
        "--bursty",
        "0",
        "--for",
        "20s",
        "--warmup",
        "1s",
        "--native",
    )
    done = harmoniac("bench", service.url, *arguments, "--question-tokens", "12", "--format", "json")
    report = json.loads(done.stdout)
    found = report["groups"][0]["figures"]
    outcomes = found["outcomes"]
    assert outcomes["ok"] > 0
    assert outcomes["ok"] + outcomes["late"] == found["requests"]
    assert found["latency"]["count"] == outcomes["ok"]
    assert 0 < found["ttft"]["p50"] <= found["latency"]["p50"]
    if found["throughput_rps"] > 0:
        assert found["tokens_in_per_s"] > found["tokens_out_per_s"] > 0
    else:
        assert found["tokens_in_per_s"] is found["tokens_out_per_s"] is None
    calls = {stage["component"]: stage["service"]["count"] for stage in report["stages"]}
    assert [calls[name] for name in ("search", "rerank", "answer")] == [outcomes["ok"]] * 3
