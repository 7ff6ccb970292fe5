"""Where weights are looked for, and what `harmoniac models` says and does."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from harmonia_compiler.cli.models import command
from harmonia_compiler.contract.card import Card, Weights
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.supervision.preflight import check_weights
from harmonia_compiler.runtime.model_folder import add_to_store, read_model_folder
from harmonia_compiler.runtime.weights import Found, find, folders_of, locate, stored_folder, wanted

BERT = {
    "architectures": ["BertModel"],
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARMONIA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def model_folder(folder: Path, **config: object) -> Path:
    """A folder as `save_pretrained` writes it: 96 weights of 32 bits and eight positions that are no weights."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(BERT | config))
    tensors = {
        "__metadata__": {"format": "pt"},
        "embeddings.weight": {"dtype": "F32", "shape": [12, 8], "data_offsets": [0, 384]},
        "embeddings.position_ids": {"dtype": "I64", "shape": [1, 8], "data_offsets": [384, 448]},
    }
    header = json.dumps(tensors).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(448))
    return folder


def run(*arguments: str) -> str:
    done = CliRunner().invoke(command, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_folder_tells_its_own_card(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny")
    card = read_model_folder(folder, licence="mit")
    assert (card.name, card.role, card.licence) == ("tiny", "embedder", "mit")
    assert (card.parameters, card.weight_bytes) == (96, 4.0)
    assert (card.layers, card.hidden, card.heads, card.kv_heads, card.head_dim) == (2, 8, 2, 2, 4)
    assert (card.context, card.dimension) == (64, 8)
    assert card.revision.startswith("local-")


@pytest.mark.parametrize(
    ("architecture", "role"),
    [("LlamaForCausalLM", "llm"), ("XLMRobertaForSequenceClassification", "reranker"), ("BertModel", "embedder")],
)
def test_the_architecture_says_what_a_model_is_for(tmp_path: Path, architecture: str, role: str) -> None:
    folder = model_folder(tmp_path / "tiny", architectures=[architecture], num_key_value_heads=1)
    card = read_model_folder(folder, licence="mit")
    assert card.role == role
    assert card.kv_heads == 1


def test_an_embedder_whose_files_say_nothing_of_pooling_has_it_in_its_card(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny")
    assert read_model_folder(folder, licence="mit").pooling == "mean"
    assert read_model_folder(folder, role="reranker", licence="mit").pooling is None
    (folder / "modules.json").write_text("[]")
    assert read_model_folder(folder, licence="mit").pooling is None


def test_an_embedder_reads_no_more_than_its_own_file_says(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 32}')
    assert read_model_folder(folder, licence="mit").context == 32


def rejected(folder: Path) -> str:
    with pytest.raises(Rejected) as caught:
        read_model_folder(folder, licence="mit")
    [found] = caught.value.found
    assert found.code == "E0805"
    return found.message


def test_folders_that_are_no_models(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no config.json" in rejected(empty)
    assert "missing required field `hidden_size`" in rejected(_without(model_folder(tmp_path / "a"), "hidden_size"))
    assert "is not known" in rejected(model_folder(tmp_path / "b", architectures=["Strange"]))
    torn = model_folder(tmp_path / "c")
    (torn / "model.safetensors").write_bytes(b"\xff" * 16)
    assert "is no safetensors file" in rejected(torn)
    scrambled = model_folder(tmp_path / "d")
    (scrambled / "config.json").write_text("[1]")
    assert "Expected `object`, got `array`" in rejected(scrambled)


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_size": "wide"},
        {"num_attention_heads": 0},
        {"num_hidden_layers": None},
        {"num_key_value_heads": [1]},
        {"max_position_embeddings": -1},
        {"architectures": 7},
        {"architectures": [7]},
        {"max_position_embeddings": None},
    ],
)
def test_a_configuration_of_other_values_is_one_finding(tmp_path: Path, wrong: dict[str, Any]) -> None:
    assert next(iter(wrong)) in rejected(model_folder(tmp_path / "tiny", **wrong))


@pytest.mark.parametrize("header", ['{"a": 1}', '{"a": {"dtype": "F32", "shape": ["x"]}}', "[]", '{"a": {}}'])
def test_weights_whose_header_lies_are_one_finding(tmp_path: Path, header: str) -> None:
    folder = model_folder(tmp_path / "tiny")
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode())
    assert "is no safetensors file" in rejected(folder)


def test_weights_that_are_not_there_are_one_finding(tmp_path: Path) -> None:
    for name, shape, why in (
        ("none", [0, 8], "its safetensors hold no weights"),
        ("more", [1 << 40, 8], "model.safetensors names more weights than it holds"),
        ("huge", [1 << 62] * 400, "model.safetensors is no safetensors file"),
    ):
        folder = model_folder(tmp_path / name)
        header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
        (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
        assert rejected(folder).endswith(why)


def test_a_pipe_in_a_models_folder_is_not_waited_for(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny")
    os.mkfifo(folder / "a.safetensors")
    assert read_model_folder(folder, licence="mit").parameters == 96
    with pytest.raises(Rejected, match=r"a\.safetensors cannot be copied"):
        add_to_store(read_model_folder(folder, licence="mit"), folder, copy=True)
    assert list((tmp_path / "home" / "models").iterdir()) == []
    os.mkfifo(folder / "sentence_bert_config.json")
    assert read_model_folder(folder, licence="mit").context == 64


@pytest.mark.parametrize(
    ("options", "config", "fact"),
    [
        (["--name", "a\nb"], {}, "`name`"),
        (["--name", ".."], {}, "`name`"),
        (["--name", "a@b"], {}, "`name`"),
        (["--name", "x" * 300], {}, "`name`"),
        (["--licence", "a\x7fb"], {}, "`licence`"),
        ([], {"num_attention_heads": 1000}, "`head_dim` cannot be 0"),
        ([], {"max_position_embeddings": 1 << 62}, "`context`"),
    ],
)
def test_what_no_card_may_say_is_not_added(
    tmp_path: Path, options: list[str], config: dict[str, Any], fact: str
) -> None:
    folder = model_folder(tmp_path / "tiny", **config)
    done = CliRunner().invoke(command, ["add", str(folder), *options])
    assert isinstance(done.exception, Rejected)
    [found] = done.exception.found
    assert (found.code, fact in found.message, found.help[:8]) == ("E0805", True, "it takes")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("name", "most"),
    [("é" * 128, 232), ("😀" * 100, 232), ("é" * 120 + "--a", 223)],
    ids=["two bytes", "four bytes", "marked"],
)
def test_a_name_that_no_folder_can_have_is_not_added(tmp_path: Path, name: str, most: int) -> None:
    """A store's folder is called after the model and its revision, in bytes of which a folder's name has few."""
    folder = model_folder(tmp_path / "tiny")
    done = CliRunner().invoke(command, ["add", str(folder), "--name", name])
    assert isinstance(done.exception, Rejected)
    [found] = done.exception.found
    assert (found.code, f"`name` takes {len(name.encode())} bytes" in found.message) == ("E0805", True)
    assert found.help.startswith(f"give one of at most {most} with `--name`")
    assert not (tmp_path / "home").exists()
    shorter = f"{'é' * ((most - 3) // 2)}{'--a' if '--' in name else 'abc'}"
    run("add", str(folder), "--name", shorter)
    assert locate(shorter).is_dir()


@pytest.mark.parametrize("name", ["m😀", 'a "quoted" \\ name', "é/#[x]"])
def test_a_model_of_any_name_is_found_again(tmp_path: Path, name: str) -> None:
    run("add", str(model_folder(tmp_path / "tiny")), "--name", name, "--licence", "free 🎈")
    assert (wanted(name).name, wanted(name).licence) == (name, "free 🎈")
    assert locate(name).is_dir()


def _without(folder: Path, name: str) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if key != name}))
    return folder


@pytest.mark.parametrize("copy", [True, False])
def test_an_added_model_is_found(tmp_path: Path, *, copy: bool) -> None:
    folder = model_folder(tmp_path / "tiny")
    arguments = ["add", str(folder), "--name", "me/tiny", "--licence", "mit", *(["--copy"] if copy else [])]
    assert "added me/tiny (embedder, 96 parameters)" in run(*arguments)
    assert wanted("me/tiny").licence == "mit"
    place = locate("me/tiny")
    assert (place / "config.json").read_text() == (folder / "config.json").read_text()
    assert place.is_symlink() != copy


def test_adding_again_takes_the_name_of_the_first(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny")
    run("add", str(folder), "--copy")
    (folder / "config.json").write_text(json.dumps(BERT | {"num_hidden_layers": 3}))
    run("add", str(folder), "--copy")
    assert wanted("tiny").layers == 3
    assert len(list(stored_folder(wanted("tiny")).parent.iterdir())) == 2
    assert folder.is_dir()


def test_a_name_with_a_wildcard_replaces_no_other_model(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny")
    run("add", str(folder))
    run("add", str(folder), "--name", "t*")
    run("add", str(folder), "--name", "t*")
    assert wanted("tiny").name == "tiny"
    assert wanted("t*").name == "t*"


def test_a_link_of_the_store_that_leads_back_to_itself_leads_nowhere(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny")
    run("add", str(folder))
    link = stored_folder(wanted("tiny")) / "weights"
    assert link.is_symlink()
    link.unlink()
    link.symlink_to(link)
    assert folders_of("tiny") == [tmp_path / "home/models"]
    (folder / "config.json").write_text(json.dumps(BERT | {"num_hidden_layers": 3}))
    run("add", str(folder))
    assert folders_of("tiny") == [tmp_path / "home/models", folder]


def test_a_store_that_is_a_link_to_itself_is_a_finding(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny")
    (tmp_path / "home").symlink_to(tmp_path / "home")
    with pytest.raises((Rejected, OSError)):
        run("add", str(folder))


def test_a_package_is_found_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "packaged_minilm"
    model_folder(package / "model")
    (package / "__init__.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(package.parent)
    card = _added(tmp_path, Weights("packaged_minilm", "model"))
    assert find(card) == Found(package / "model", "package")
    assert "packaged_minilm" not in sys.modules


def test_a_gguf_in_a_package_has_to_be_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "packaged_llm"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "tiny.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(package.parent)
    card = _added(tmp_path, Weights("packaged_llm", "tiny.gguf", "gguf"))
    assert find(card) == Found(package / "tiny.gguf", "package", convert=True)


def test_a_store_that_cannot_be_written_is_known_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in the place of a file keeps root from writing too."""
    package = tmp_path / "site" / "packaged_llm"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "tiny.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(package.parent)
    card = _added(tmp_path, Weights("packaged_llm", "tiny.gguf", "gguf"))
    check_weights(card.name)
    (stored_folder(card) / ".lock").unlink()
    (stored_folder(card) / ".lock").mkdir()
    for asked in (check_weights, locate):
        with pytest.raises(Rejected) as rejected:
            asked(card.name)
        (found,) = rejected.value.found
        assert found.code == "E0814"
        assert str(stored_folder(card)) in found.message
        assert found.help is not None
        assert "set `HARMONIA_HOME`" in found.help


@pytest.mark.slow
def test_a_gguf_that_cannot_be_converted_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "broken_llm"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "tiny.gguf").write_bytes(b"no GGUF")
    monkeypatch.syspath_prepend(package.parent)
    card = _added(tmp_path, Weights("broken_llm", "tiny.gguf", "gguf"))
    with pytest.raises(Rejected, match=f"E0804: the weights of `{card.name}` could not be converted: .+"):
        locate(card.name)
    assert find(card) == Found(package / "tiny.gguf", "package", convert=True)


def _added(tmp_path: Path, weights: Weights) -> Card:
    """A card in the store that names a package, as of a revision of a hub's, without weights beside it."""
    card = replace(read_model_folder(model_folder(tmp_path / "tiny"), licence="mit"), revision="7" * 40)
    stored = add_to_store(card, tmp_path / "tiny", copy=False)
    (stored / "weights").unlink()
    with (stored / "card.toml").open("a") as file:
        file.write(f'[weights]\npackage = "{weights.package}"\npath = "{weights.path}"\nformat = "{weights.format}"\n')
    return wanted("tiny")


def test_the_hubs_cache_is_looked_into(tmp_path: Path) -> None:
    cache = tmp_path / "hub" / "models--BAAI--bge-small-en-v1.5"
    snapshot = model_folder(cache / "snapshots" / wanted("bge-small-en-v1.5").revision)
    assert find(wanted("bge-small-en-v1.5")) == Found(snapshot, "hub cache")
    assert locate("BAAI/bge-small-en-v1.5") == snapshot


def test_a_revision_that_has_a_name_is_followed(tmp_path: Path) -> None:
    cache = tmp_path / "hub" / "models--BAAI--bge-small-en-v1.5"
    snapshot = model_folder(cache / "snapshots" / "abc")
    (cache / "refs").mkdir()
    (cache / "refs" / "stable").write_text("abc")
    assert locate("bge-small-en-v1.5@stable") == snapshot
    with pytest.raises(Rejected):
        locate("bge-small-en-v1.5")


@pytest.mark.parametrize(
    ("model", "step"),
    [
        (
            "bge-small-en-v1.5",
            "fetch them: `harmoniac models fetch BAAI/bge-small-en-v1.5`, or",
        ),
        ("Llama-3.2-3B-Instruct", "accept its licence at https://huggingface.co/meta-llama/Llama-3.2-3B-Instruct and"),
        (
            "SmolLM2-135M-Instruct@other",
            "fetch them: `harmoniac models fetch HuggingFaceTB/SmolLM2-135M-Instruct@other`",
        ),
    ],
)
def test_absent_weights_are_told_with_a_next_step(model: str, step: str) -> None:
    with pytest.raises(Rejected) as caught:
        locate(model)
    [found] = caught.value.found
    assert found.code == "E0803"
    assert found.help.startswith(step)


def test_the_list_says_where_weights_are(tmp_path: Path) -> None:
    run("add", str(model_folder(tmp_path / "tiny")))
    rows = {row["name"]: row for row in json.loads(run("list", "--format", "json"))}
    assert rows["tiny"]["weights"] == "store"
    assert rows["BAAI/bge-base-en-v1.5"]["weights"] is None
    assert rows["meta-llama/Llama-3.2-3B-Instruct"]["gated"] is True
    assert "Llama-3.2-3B-Instruct" in run("list")


def test_fetch_prints_the_place(tmp_path: Path) -> None:
    run("add", str(model_folder(tmp_path / "tiny")))
    assert run("fetch", "tiny").strip() == str(stored_folder(wanted("tiny")) / "weights")


@pytest.mark.engines
@pytest.mark.slow
def test_a_packaged_gguf_is_converted_once() -> None:
    found = find(wanted("SmolLM2-135M-Instruct"))
    assert found is not None
    assert found.convert
    place = locate("SmolLM2-135M-Instruct")
    assert "<|im_start|>" in (place / "chat_template.jinja").read_text()
    made = (place / "model.safetensors").stat().st_mtime_ns
    assert locate("HuggingFaceTB/SmolLM2-135M-Instruct") == place
    assert (place / "model.safetensors").stat().st_mtime_ns == made
    assert [each.name for each in place.parent.iterdir() if each.name.startswith(".weights")] == []
