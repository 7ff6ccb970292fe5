"""The cards that are shipped, and how a user's own come beside them."""

import os
import re
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.card import SHIPPED, Card, load_cards, read_card
from harmonia_compiler.contract.home import model_store
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.weights import wanted

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
        assert cards.named(name)


def test_the_facts_that_sizes_follow_from() -> None:
    card = wanted("meta-llama/Llama-3.1-8B-Instruct")
    assert card.weights_gib == pytest.approx(14.96, abs=0.01)
    assert card.kv_bytes_per_token() == 131_072


def test_an_unknown_model_is_told_with_the_nearest() -> None:
    with pytest.raises(Rejected) as caught:
        wanted("qwen2.5-7b-instuct")
    [found] = caught.value.found
    assert found.code == "E0801"
    assert found.message == "no model card names `qwen2.5-7b-instuct`"
    assert found.help.startswith("did you mean `Qwen2.5-7B-Instruct`")


def test_an_unknown_model_that_resembles_none() -> None:
    with pytest.raises(Rejected) as caught:
        wanted("zzz")
    assert caught.value.found[0].help == "add the model with `harmoniac models add DIR`"


def test_a_users_card_wins_over_a_shipped_one() -> None:
    text = (SHIPPED / "bge-small-en-v1.5.toml").read_text().replace('licence = "mit"', 'licence = "bought"')
    write_card("mine", text)
    assert wanted("BAAI/bge-small-en-v1.5").licence == "bought"
    assert wanted("bge-small-en-v1.5").licence == "bought"


def refused() -> list[tuple[str, int, str, str]]:
    """What is said of the cards in the store: code, line, message, next step."""
    with pytest.raises(Rejected) as caught:
        load_cards()
    return [
        (item.code, item.span.source.position(item.span.start)[0] if item.span else 0, item.message, item.help)
        for item in caught.value.found
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("name = ", 1, "this is not TOML: invalid value"),
        ("\x00", 1, "this is not TOML: invalid statement"),
        ("x = " + "[" * 5000, 1, "this is not TOML: it is nested too deeply"),
        (f"# a card\nlayers = {'9' * 6000}", 2, "this is not TOML: a number has too many digits"),
    ],
)
def test_a_card_that_is_no_toml_is_one_finding_with_its_line(text: str, line: int, message: str) -> None:
    write_card("broken", text)
    assert [found[:3] for found in refused()] == [("E0802", line, message)]


def test_a_card_that_is_no_file_is_one_finding(home: Path) -> None:
    folder = home / "models" / "broken"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "card.toml")
    [(code, _, message, step)] = refused()
    assert (code, step.endswith("`harmoniac models add DIR`")) == ("E0802", True)
    assert message.endswith("card.toml` cannot be read: it is not a regular file")


SOUND = (SHIPPED / "bge-small-en-v1.5.toml").read_text()


@pytest.mark.parametrize(
    ("fact", "value", "said", "step"),
    [
        ("parameters", "nan", "nan", "a number from 1 to 1e15"),
        ("parameters", "inf", "inf", "a number from 1 to 1e15"),
        ("parameters", "1e308", "1e+308", "a number from 1 to 1e15"),
        ("parameters", "0", "0", "a number from 1 to 1e15"),
        ("layers", "-30", "-30", "a whole number from 1 to 1,048,576"),
        ("heads", "0", "0", "a whole number from 1 to 1,048,576"),
        ("hidden", '"wide"', '"wide"', "a whole number from 1 to 1,048,576"),
        ("head_dim", "0x" + "f" * 9000, "enormous", "a whole number from 1 to 1,048,576"),
        ("context", "-5", "-5", "a whole number from 1 to 1,073,741,824"),
        ("dimension", "true", "true", "a whole number from 1 to 1,048,576"),
        ("role", '"generator"', '"generator"', "`llm`, `embedder` or `reranker`"),
        ("licence", '"a\\nb"', '"a\\nb"', "one line of at most 200 characters"),
        ("name", '"a@b"', '"a@b"', "one line of at most 128 characters, without `@`, that begins with no `.`"),
        ("aliases", "[1]", "a list", "a list of names"),
    ],
)
def test_a_fact_out_of_its_range_is_told_with_its_line_and_range(fact: str, value: str, said: str, step: str) -> None:
    lines = SOUND.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"{fact} "))
    write_card("broken", "\n".join([*lines[:at], f"{fact} = {value}", *lines[at + 1 :]]))
    assert refused() == [("E0802", at + 1, f"`{fact}` cannot be {said}", f"it takes {step}")]


def test_all_mistakes_of_a_card_are_told_at_once() -> None:
    lines = [line for line in SOUND.splitlines() if not line.startswith("hidden ")]
    write_card("broken", "\n".join([*lines, "weight_bites = 2", "active_parameters = 0"]))
    assert [(line, message, step) for _, line, message, step in refused()] == [
        (1, "`hidden` is missing", "add `hidden = …`: a whole number from 1 to 1,048,576"),
        (len(lines) + 1, "`weight_bites` is no fact of a model card", "did you mean `weight_bytes`?"),
        (len(lines) + 2, "`active_parameters` cannot be 0", "it takes a number from 1 to 1e15"),
    ]


def test_a_card_survives_its_document() -> None:
    card = wanted("SmolLM2-135M-Instruct")
    assert msgspec.json.decode(msgspec.json.encode(card), type=Card) == card


@pytest.mark.parametrize(
    ("package", "path"),
    [
        ("nosuch.pkg", "model"),
        ("..", "model"),
        ("../../x", "model"),
        ("torch", "../../../../etc/passwd"),
        ("torch", "/etc/passwd"),
        ("torch", "a/../b"),
        ("torch", ""),
    ],
)
def test_weights_lie_inside_of_a_package_that_is_one_word(package: str, path: str) -> None:
    write_card("broken", f'{SOUND}\n[weights]\npackage = "{package}"\npath = "{path}"\n')
    assert {code for code, *_ in refused()} == {"E0802"}
