"""What a Python function sees of the environment in which its service was started, from the source to its answer."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from harmonia_compiler.cli.main import run

_RAG = """
component told(question: text) -> text = python("seen:seen", variables: "SOME_KEY, SOME_URL", cores: 1)
component untold(question: text) -> text = python("seen:seen", cores: 1)

pipeline look(question: text) -> text {
    load 1 rps
    return told(question)
}

pipeline miss(question: text) -> text {
    load 1 rps
    return untold(question)
}
"""
_CODE = """
import os


def seen(question):
    return " ".join(os.environ.get(name, "-") for name in ("SOME_KEY", "SOME_URL", "OTHER_KEY"))
"""
_INVENTORY = '[[hosts]]\nname = "here"\ncpus = 2\nmemory_gib = 16\n'
_GIVEN = {"SOME_KEY": "se$cret", "SOME_URL": "http://here", "OTHER_KEY": "other"}


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "app.rag").write_text(_RAG)
    (tmp_path / "seen.py").write_text(_CODE)
    (tmp_path / "inventory.toml").write_text(_INVENTORY)
    monkeypatch.chdir(tmp_path)
    assert run(["compile", "app.rag", "--inventory", "inventory.toml", "--out", "bundle"]) == 0
    yield tmp_path / "bundle"
    run(["down", "bundle"])


def answer(bundle: Path, pipeline: str) -> str:
    port = json.loads((bundle / "run" / "gateway.json").read_text())["port"]
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/pipelines/{pipeline}", json.dumps({"inputs": {"question": "?"}}).encode()
    )
    with urllib.request.urlopen(request, timeout=30) as answered:
        return str(json.load(answered))


def test_a_function_sees_the_variables_that_it_names_and_no_others(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in _GIVEN.items():
        monkeypatch.setenv(name, value)
    assert run(["up", str(bundle)]) == 0, capfd.readouterr().err
    assert "se$cret http://here -" in answer(bundle, "look")
    assert "- - -" in answer(bundle, "miss")
    files = [path for path in bundle.rglob("*") if path.is_file()]
    assert not [path for path in files if b"se$cret" in path.read_bytes()]


def test_one_that_is_not_set_is_named_before_anything_starts(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    monkeypatch.setenv("SOME_URL", "http://here")
    assert run(["up", str(bundle)]) == 1
    said = capfd.readouterr().err
    assert "error[E0906]: the environment variable `SOME_KEY` is not set" in said
    assert "SOME_URL" not in said
    assert not (bundle / "run").exists()
