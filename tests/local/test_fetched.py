"""`up --fetch`: weights come from a hub before anything starts, and no engine sees the token."""

from pathlib import Path

import pytest

from harmonia_compiler.cli.main import run
from harmonia_compiler.contract.launch import Fill
from harmonia_compiler.runtime.weights import locate
from tests.cards.hub import COMMIT, Hub, serving

from .conftest import Hand, launch

NAME = "BAAI/bge-small-en-v1.5"
MODEL = f"{NAME}@{COMMIT}"
TOKEN = "hf_" + "of-the-one-who-starts-it"


@pytest.mark.slow
def test_a_start_that_finds_no_weights_says_how_to_bring_them(
    hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may have gone since it was looked for them before the start."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HARMONIA_HOME", str(tmp_path / "home"))
    hand.write(one=launch(model=MODEL))
    (found,) = hand.fails().found
    assert f"the weights of `{NAME}` are not on this machine" in found.message
    assert f"`harmoniac models fetch {MODEL}`" in found.message
    hand.down()
    hand.assert_nothing_left()


def test_up_fetches_what_is_not_here_once_and_shows_the_token_to_no_engine(
    hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HARMONIA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    loads = launch("--says", Fill("weights"), model=MODEL)
    hand.write(one=loads, two=loads)
    folder = str(hand.path)
    assert run(["up", folder]) == 1
    assert "E0803" in capfd.readouterr().err
    with serving(Hub(NAME, {"config.json": b"{}", "model.safetensors": bytes(3_000_000)}, TOKEN)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        assert run(["up", folder, "--fetch"]) == 1
        assert "E0810" in capfd.readouterr().err
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        assert run(["up", folder, "--fetch"]) == 0
        assert hub.sent("model.safetensors") == [""]
    for name in ("one", "two"):
        seen = hand.environment(name)
        assert not {"HF_TOKEN", "HF_ENDPOINT"} & {*seen}
        assert TOKEN not in str(seen)
    assert run(["logs", folder, "one"]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == str(locate(MODEL))
    assert run(["down", folder]) == 0
    # What is here is asked of nobody.
    assert run(["up", folder, "--fetch"]) == 0
    assert run(["down", folder]) == 0
    hand.assert_nothing_left()
