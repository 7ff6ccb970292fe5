"""vLLM's pooling runner beside our own worker, in one service: the same vectors, the same scores, one collection."""

import json
import math
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harmonia_compiler.contract.component import Engine
from harmonia_compiler.kinds.embedder import encode_texts
from harmonia_compiler.kinds.openai import decode_embeddings
from harmonia_compiler.runtime.weights import locate
from tests.engines.conftest import RunningService, harmoniac, stop_and_look

pytestmark = [pytest.mark.engines, pytest.mark.slow]

HERE = Path(__file__).parent
#: One has hardly any tokens, one none at all, and the last two are longer than the model's window of 256.
TEXTS = (
    "Which solver is used for the integer program?",
    "x",
    "",
    "ÄÖ naïve — ✓ 漢字",
    "The planner hands its arrays to HiGHS itself. " * 5,
    "The whole of it is cut somewhere in here. " * 100,
    "cut " * 9000,
)
QUESTIONS = (TEXTS[0], "Where does the gateway listen?", "Who won the 1998 world cup in football?", TEXTS[5])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Both embedders and both rerankers over one store, filled through the embedder on vLLM."""
    pytest.importorskip("vllm.version")
    folder = tmp_path_factory.mktemp("encoders")
    bundle, inventory, crossed = folder / "bundle", folder / "inventory.toml", folder / "crossed"
    script = [sys.executable, str(HERE / "cross_encoder.py"), str(locate("all-MiniLM-L6-v2")), str(crossed)]
    subprocess.run(script, check=True, timeout=240)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HARMONIA_HOME", str(folder / "home"))
        harmoniac("models", "add", str(crossed), "--licence", "apache-2.0")
        inventory.write_text(harmoniac("inventory", "detect").stdout)
        source = str((HERE / "encoders.rag").relative_to(HERE.parents[1]))
        harmoniac("compile", source, "--inventory", str(inventory), "--target", "local", "--out", str(bundle))
        try:
            harmoniac("up", str(bundle))
            harmoniac(
                "ingest", "docs/models.md", "docs/planning.md", "--component", "search_vllm", "--service", str(bundle)
            )
            where = json.loads((bundle / "run" / "gateway.json").read_text())
            yield RunningService(bundle, f"http://{where['host']}:{where['port']}")
        finally:
            stop_and_look(bundle)


def vectors(service: RunningService, component: str) -> list[list[float]]:
    """Those of all texts, as the component's replica gives them to whoever asks as its kind does."""
    document: dict[str, Any] = json.loads((service.bundle / "service.json").read_text())
    made = next(one["components"][component] for one in document["programs"].values() if component in one["components"])
    engine = Engine(made["engine"], "embedder", document["engines"][made["engine"]]["settings"])
    running = json.loads((service.bundle / "run" / "endpoints.json").read_text())["replicas"]
    at = next(one for one in running if one["engine"] == engine.id)
    wire = encode_texts(engine, TEXTS)
    request = urllib.request.Request(f"http://{at['host']}:{at['port']}{wire.path}", wire.body, dict(wire.headers))
    with urllib.request.urlopen(request, timeout=120) as answer:
        return decode_embeddings(answer.read(), len(TEXTS))[0]


def test_vectors_are_the_same(service: RunningService) -> None:
    for text, one, other in zip(TEXTS, vectors(service, "minilm"), vectors(service, "minilm_vllm"), strict=True):
        cosine = sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))
        assert cosine >= 0.99999, text[:40]
        assert one == pytest.approx(other, abs=1e-5), text[:40]


def test_either_finds_and_orders_what_one_has_filled(service: RunningService) -> None:
    for question in QUESTIONS:
        asked = {"inputs": {"question": question}}
        ours, theirs = (service.post(f"/v1/pipelines/{name}", asked)["value"] for name in ("by_worker", "by_vllm"))
        assert len(ours) == 4
        assert [one["text"] for one in ours] == [one["text"] for one in theirs]
        assert [one["score"] for one in ours] == pytest.approx([one["score"] for one in theirs], abs=1e-4)
        assert all(0.0 < one["score"] < 1.0 for one in theirs)
