"""GuideLLM, as its users start it and without a network, against the gateway over emulated engines."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.under_guidellm import ANSWER_TOKENS, PROMPT_TOKENS, REQUESTS

ROOT = Path(__file__).parents[2]
GUIDELLM = Path(sys.prefix) / "guidellm" / "bin" / "guidellm"
ALONE = ["unshare", "--map-root-user", "--net"]
#: Where namespaces are not allowed: who asks another host ends at a port on which nobody listens.
NOWHERE = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(not GUIDELLM.exists(), reason="GuideLLM is not installed; `make integration` does it"),
]


def can_be_alone() -> bool:
    """Whether this user may have a network namespace."""
    if shutil.which(ALONE[0]) is None:
        return False
    return subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode == 0


def test_guidellm_measures_the_gateway_and_needs_no_other_host(tmp_path: Path) -> None:
    script = [sys.executable, "-m", "tests.gateway.under_guidellm", str(GUIDELLM), str(tmp_path)]
    is_alone = can_be_alone()
    done = subprocess.run(
        [*ALONE, *script, "alone"] if is_alone else script,
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **({} if is_alone else {**NOWHERE, "no_proxy": "127.0.0.1"})},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    [measured] = report["benchmarks"]
    assert measured["requests"]["errored"] == measured["requests"]["incomplete"] == []
    answered = measured["requests"]["successful"]
    assert len(answered) == REQUESTS
    for one in answered:
        assert one["output"]
        # A byte is a token to GuideLLM, and a quarter of one to the engine; it takes the count of the engine.
        assert one["prompt_tokens"] >= PROMPT_TOKENS // 4
        assert one["output_tokens"] == ANSWER_TOKENS
        assert 0 < one["time_to_first_token_ms"] <= one["request_latency"] * 1000
        assert one["inter_token_latency_ms"] > 0
