"""The running service under load: real engines, measured as a user would."""

import json

import pytest

from tests.engines.conftest import RunningService, harmoniac

pytestmark = pytest.mark.engines


def test_the_running_service_is_measured(service: RunningService) -> None:
    arguments = ("--pipeline", "quickstart", "--rate", "0.4", "--for", "20s", "--warmup", "1s", "--native")
    done = harmoniac("bench", service.url, *arguments, "--question-tokens", "12", "--format", "json")
    report = json.loads(done.stdout)
    found = report["groups"][0]["figures"]
    assert found["requests"] > 0
    assert found["outcomes"]["ok"] == found["requests"]
    assert 0 < found["ttft"]["p50"] <= found["latency"]["p50"]
    assert found["tokens_in_per_s"] > found["tokens_out_per_s"] > 0
    assert {stage["component"] for stage in report["stages"]} >= {"search", "rerank", "answer"}
