"""The cards that are shipped, and how a user's own come beside them."""

import re
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.card import SHIPPED, Card, card_for, load_cards, read_card
from harmonia_compiler.contract.home import model_store
from harmonia_compiler.diagnostics.diagnostic import Rejected

FILES = sorted(SHIPPED.glob("*.toml"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARMONIA_HOME", str(tmp_path))
    return tmp_path


def write_card(name: str, text: str) -> None:
    folder = model_store() / name
    folder.mkdir(parents=True)
    (folder / "card.toml").write_text(text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_card_is_sound(path: Path) -> None:
    card = read_card(path)
    assert path.stem == card.name.rsplit("/", 1)[-1].lower()
    assert card.source
    assert re.fullmatch(r"[0-9a-f]{40}|main", card.revision)
    assert card.heads % card.kv_heads == 0
    assert card.heads * card.head_dim == card.hidden
    assert (card.dimension is not None) == (card.role == "embedder")
    assert card.name.endswith(f"/{card.aliases[0]}")
    # What attention and embedding alone take is no more than the whole.
    projections = 2 * card.hidden * card.head_dim * (card.heads + card.kv_heads)
    assert card.layers * projections < card.parameters


def test_no_name_means_two_models() -> None:
    cards = [read_card(path) for path in FILES]
    names = [name for card in cards for name in (card.name, *card.aliases)]
    assert len(set(names)) == len(names)


def test_the_models_of_the_samples_and_the_paper_are_there() -> None:
    cards = load_cards()
    for name in (
        "SmolLM2-135M-Instruct",
        "all-MiniLM-L6-v2",
        "meta-llama/Llama-3.2-3B-Instruct",
        "meta-llama/Llama-3.1-8B-Instruct",
        "meta-llama/Meta-Llama-3-8B",
        "meta-llama/Meta-Llama-3-8B-Instruct",
        "Qwen/Qwen2.5-7B-Instruct",
        "mistralai/Mistral-7B-Instruct-v0.2",
        "mistralai/Mistral-7B-Instruct-v0.3",
        "TommyChien/memorag-qwen2-7b-inst",
        "BAAI/bge-reranker-base",
        "BAAI/bge-small-en-v1.5",
        "BAAI/bge-base-en-v1.5",
    ):
        assert name in cards


def test_the_facts_that_sizes_follow_from() -> None:
    card = card_for("meta-llama/Llama-3.1-8B-Instruct")
    assert card.weights_gib == pytest.approx(14.96, abs=0.01)
    assert card.kv_bytes_per_token == 131_072


def test_an_unknown_model_is_told_with_the_nearest() -> None:
    with pytest.raises(Rejected) as caught:
        card_for("qwen2.5-7b-instuct")
    [found] = caught.value.found
    assert found.code == "E0801"
    assert found.message == "no model card names `qwen2.5-7b-instuct`"
    assert found.help.startswith("did you mean `Qwen2.5-7B-Instruct`")


def test_an_unknown_model_that_resembles_none() -> None:
    with pytest.raises(Rejected) as caught:
        card_for("zzz")
    assert caught.value.found[0].help == "add the model with `harmoniac models add DIR`"


def test_a_users_card_wins_over_a_shipped_one() -> None:
    text = (SHIPPED / "bge-small-en-v1.5.toml").read_text().replace('licence = "mit"', 'licence = "bought"')
    write_card("mine", text)
    assert card_for("BAAI/bge-small-en-v1.5").licence == "bought"
    assert card_for("bge-small-en-v1.5").licence == "bought"


@pytest.mark.parametrize("text", ["name = ", 'name = "x"', 'name = "x"\nmore = 1', "\x00"])
def test_an_unreadable_card_is_a_diagnostic(text: str) -> None:
    write_card("broken", text)
    with pytest.raises(Rejected) as caught:
        load_cards()
    assert [found.code for found in caught.value.found] == ["E0802"]


def test_a_card_survives_its_document() -> None:
    card = card_for("SmolLM2-135M-Instruct")
    assert msgspec.json.decode(msgspec.json.encode(card), type=Card) == card
