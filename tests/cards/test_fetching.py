"""Weights that come from a hub: with its real client, from a hub on this machine."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.runtime.fetching import DRAFT, Said, fetch
from harmonia_compiler.runtime.weights import locate, stored_folder, wanted

from .hub import COMMIT, Hub, serving

NAME = "BAAI/bge-small-en-v1.5"
MODEL = f"{NAME}@{COMMIT}"
WEIGHTS = os.urandom(24_000_000)
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"[1]",
    "1_Pooling/config.json": b"{ }",
    "model.safetensors": WEIGHTS,
    # What no engine of ours loads: other forms of the same, and code.
    "pytorch_model.bin": b"pickle",
    "onnx/model.safetensors": b"other",
    "modeling_bge.py": b"import os",
    ".gitattributes": b"",
}
TAKEN = {"config.json", "tokenizer.json", "1_Pooling/config.json", "model.safetensors"}
TOKEN = "hf_" + "only-for-the-one-that-fetches"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARMONIA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub(NAME, FILES)) as found:
        yield found


def asked_of(hub: Hub, **more: str) -> dict[str, str]:
    return {**os.environ, "HF_ENDPOINT": hub.url, **more}


def inside(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def refused(hub: Hub, model: str = MODEL, **more: str) -> Diagnostic:
    with pytest.raises(Rejected) as caught:
        fetch(model, asked_of(hub, **more), lambda _: None)
    (found,) = caught.value.found
    assert found.code == "E0810"
    return found


def test_what_an_engine_loads_is_fetched_whole_and_then_found_without_a_hub(hub: Hub) -> None:
    told: list[Said] = []
    place = fetch(MODEL, asked_of(hub), told.append)
    assert inside(place) == TAKEN
    assert (place / "model.safetensors").read_bytes() == WEIGHTS
    assert not any(path.is_symlink() for path in place.rglob("*"))
    before = len(hub.asked)
    assert fetch(MODEL, asked_of(hub), told.append) == locate(MODEL) == place
    assert len(hub.asked) == before


def test_it_is_said_how_far_it_is_and_a_cut_is_gone_on_from(hub: Hub) -> None:
    hub.cuts["model.safetensors"] = 12_000_000
    told: list[Said] = []
    place = fetch(MODEL, asked_of(hub), told.append)
    assert (place / "model.safetensors").read_bytes() == WEIGHTS
    total = sum(len(FILES[name]) for name in TAKEN)
    assert {said.of for said in told} == {total}
    assert all(0 <= said.bytes <= total for said in told)
    first, second = hub.sent("model.safetensors")
    assert first == ""
    assert second.startswith("bytes=")


@pytest.mark.slow
def test_two_that_ask_at_once_fetch_once(hub: Hub) -> None:
    with ThreadPoolExecutor(2) as pool:
        places = [*pool.map(lambda _: fetch(MODEL, asked_of(hub), lambda _: None), range(2))]
    assert places == [locate(MODEL)] * 2
    assert hub.sent("model.safetensors") == [""]


def test_a_gated_model_needs_a_token_which_only_the_fetch_is_given(tmp_path: Path) -> None:
    with serving(Hub(NAME, FILES, TOKEN)) as hub:
        assert "accepted the licence" in refused(hub).message
        assert "accepted the licence" in refused(hub, HF_TOKEN="hf_another").message
        fetch(MODEL, asked_of(hub, HF_TOKEN=TOKEN), lambda _: None)
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) >= len(TAKEN)
    assert not any(TOKEN.encode() in content for content in written)


def test_a_token_of_nobody_is_told_to_be_had() -> None:
    gated = "meta-llama/Llama-3.2-3B-Instruct"
    with serving(Hub(gated, {}, TOKEN)) as hub:
        assert refused(hub, gated).help.startswith(
            f"accept its licence at https://huggingface.co/{gated}, and set HF_TOK"
        )


@pytest.mark.slow
def test_why_nothing_comes_is_said(hub: Hub) -> None:
    assert refused(hub, f"{NAME}@other").message.endswith("the hub does not have this revision")
    assert refused(hub, "BAAI/bge-base-en-v1.5").message.endswith("no model of this name, or not for this token")
    assert refused(hub, HF_HUB_OFFLINE="1").message.endswith("HF_HUB_OFFLINE is set")
    hub.url = "http://127.0.0.1:9"
    assert "the hub does not answer" in refused(hub).message


def test_what_does_not_fit_on_the_disk_is_not_begun(hub: Hub) -> None:
    hub.pretends["model.safetensors"] = 10**15
    assert "they need 931322.6 GiB and one GiB to spare, and its disk has" in refused(hub).message
    assert hub.sent("model.safetensors") == []


@pytest.mark.slow
def test_what_arrives_damaged_is_not_used_and_fetched_anew(hub: Hub) -> None:
    hub.lies["model.safetensors"] = bytes(len(WEIGHTS))
    assert "model.safetensors arrived damaged" in refused(hub).message
    with pytest.raises(Rejected):
        locate(MODEL)
    hub.lies.clear()
    assert (fetch(MODEL, asked_of(hub), lambda _: None) / "model.safetensors").read_bytes() == WEIGHTS


def test_a_model_without_safetensors_is_refused() -> None:
    with serving(Hub(NAME, {"config.json": b"{}", "pytorch_model.bin": b"pickle"})) as hub:
        assert "no safetensors" in refused(hub).message
        assert hub.sent("pytorch_model.bin") == []


def test_the_command_fetches_and_says_so(hub: Hub) -> None:
    harmoniac = Path(sys.executable).with_name("harmoniac")
    done = subprocess.run(
        [harmoniac, "models", "fetch", MODEL], env=asked_of(hub), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(stored_folder(wanted(MODEL)) / "weights")
    assert inside(Path(done.stdout.strip())) == TAKEN


@pytest.mark.slow
def test_a_command_that_is_killed_leaves_nobody_fetching_and_what_arrived(hub: Hub) -> None:
    goes_on = hub.holds["model.safetensors"] = threading.Event()
    harmoniac = Path(sys.executable).with_name("harmoniac")
    command = subprocess.Popen([harmoniac, "models", "fetch", MODEL], env=asked_of(hub), stderr=subprocess.DEVNULL)
    out = stored_folder(wanted(MODEL)) / "weights"
    try:
        until(lambda: bool(hub.sent("model.safetensors")) and len(fetching(out)) == 1)
        # The client takes several files at a time, in no order.
        until((out.with_name(DRAFT) / "config.json").exists)
        command.kill()
        command.wait()
        until(lambda: not fetching(out))
        assert not out.exists()
        assert (out.with_name(DRAFT) / "config.json").exists()
    finally:
        command.kill()
        command.wait()
        goes_on.set()
    assert (fetch(MODEL, asked_of(hub), lambda _: None) / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.sent("config.json") == [""]


def fetching(out: Path) -> list[int]:
    """The processes that bring weights to this place."""
    running = psutil.process_iter(["pid", "cmdline"])
    return [one.pid for one in running if (one.info["cmdline"] or [""])[-1] == str(out)]


def until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not so():
        assert time.monotonic() < end
        time.sleep(0.05)
