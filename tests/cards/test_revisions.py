"""A component that names an earlier revision of a model is that model everywhere: its card is, and not the name's."""

import json
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.cli.main import run
from harmonia_compiler.contract.card import Card, Cards, ModelReference, Role, load_cards
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.profile.serving import Passing, serving
from harmonia_compiler.runtime.bundle import read_local_processes, read_service
from harmonia_compiler.runtime.model_folder import add_to_store, read_model_folder
from harmonia_compiler.runtime.weights import wanted

#: The same application with the models that the names mean, and with those of a revision.
APP = """
component e = embedder("e"{e})
component s = milvus("notes", embedder: e, top_k: 3)
component r = reranker("r"{r})
component a = llm("a"{a})
component answer(question: text, found: [passage]) -> text ~ 16 tokens = a("{{question}} {{found}}", max_tokens: 32)
pipeline ask(question: text ~ 15 tokens) -> text {{
  found = r(question, s(question))
  return answer(question, found)
}}
"""
#: What is done with a component `m`.
ANSWERS = """
component answer(q: text) -> text ~ 9 tokens = m("{q}", max_tokens: 16)
pipeline ask(q: text ~ 700 tokens) -> text { return answer(q) }
"""
SEARCHES = """
component s = milvus("d", embedder: m)
pipeline search(q: text ~ 9 tokens) -> [passage] { return s(q) }
"""
INVENTORY = '[[hosts]]\nname = "here"\ncpus = 16\nmemory_gib = 64\n'
MODELS: dict[str, tuple[Role, str]] = {
    "e": ("embedder", "BertModel"),
    "r": ("reranker", "BertForSequenceClassification"),
    "a": ("llm", "LlamaForCausalLM"),
}
ADDED = Card("m", "embedder", "local-00000000000000a1", "mit", 1e6, 1, 8, 2, 2, 4, 64, "here", dimension=8)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARMONIA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def add(folder: Path, name: str, role: Role, architecture: str, *, size: int) -> str:
    """Add a model of so many million weights, in as many layers and of that width; its revision."""
    folder.mkdir(parents=True)
    config = {
        "architectures": [architecture],
        "hidden_size": 8 * size,
        "num_hidden_layers": size,
        "num_attention_heads": 2,
        "max_position_embeddings": 600 * size,
    }
    (folder / "config.json").write_text(json.dumps(config))
    count = size * 10**6
    header = json.dumps({"w": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 4 * count)
    card = read_model_folder(folder, name=name, role=role, licence="mit")
    add_to_store(card, folder, copy=False)
    return card.revision


def add_all(folder: Path, size: int) -> dict[str, str]:
    """Add all models in one size; what a component writes to have that revision, by name."""
    return {
        name: f', revision: "{add(folder / name, name, role, architecture, size=size)}"'
        for name, (role, architecture) in MODELS.items()
    }


def compiled(folder: Path, pinned: dict[str, str]) -> Path:
    (folder / "app.rag").write_text(APP.format(**pinned))
    (folder / "site.toml").write_text(INVENTORY)
    command = ["compile", str(folder / "app.rag"), "--inventory", str(folder / "site.toml")]
    assert run([*command, "--target", "local", "--out", str(folder / "bundle")]) == 0
    return folder / "bundle"


def stands_for(bundle: Path) -> tuple[object, ...]:
    """All that a bundle says of its models, and how replicas of them are imitated."""
    plan, service = decode_document((bundle / "plan.json").read_bytes(), Plan), read_service(bundle)
    works = [serving(plan.engines[one.engine], one.config, load_cards()) for one in plan.replicas]
    return (
        [msgspec.structs.replace(one, host="") for one in plan.replicas],
        (plan.memory, plan.profiles, plan.predicted),
        service.collections,
        [one.launch for one in read_local_processes(bundle).replicas],
        works,
        [one.dimension for one in works if isinstance(one, Passing)],
    )


def test_a_plan_of_an_earlier_revision_is_that_of_when_the_name_meant_it(tmp_path: Path) -> None:
    unpinned = dict.fromkeys(MODELS, "")
    small = add_all(tmp_path / "small", 1)
    before = stands_for(compiled(tmp_path, unpinned))
    add_all(tmp_path / "large", 4)
    now = stands_for(compiled(tmp_path, unpinned))
    # None of it is the same for the other models, so that all of it is looked at.
    assert [one for one, other in zip(before, now, strict=True) if one == other] == []
    assert stands_for(compiled(tmp_path, small)) == before


def test_what_a_pinned_model_can_do_is_what_its_own_card_says(tmp_path: Path) -> None:
    first = add(tmp_path / "1", "m", "embedder", "BertModel", size=1)
    second = add(tmp_path / "2", "m", "llm", "LlamaForCausalLM", size=2)

    def codes(kind: str, settings: str) -> list[str]:
        uses = ANSWERS if kind == "llm" else SEARCHES
        (tmp_path / "app.rag").write_text(f'component m = {kind}("m"{settings})\n{uses}')
        return [one.code for one in check_files([tmp_path / "app.rag"]).found if one.is_error]

    assert codes("embedder", "") == ["E0806"]
    assert codes("embedder", f', revision: "{first}"') == []
    assert codes("llm", "") == []
    assert codes("llm", f', revision: "{first}"') == ["E0806"]
    third = add(tmp_path / "3", "m", "llm", "LlamaForCausalLM", size=1)
    assert codes("llm", ", max_model_len: 1000") == ["E0807"]
    assert codes("llm", f', max_model_len: 1000, revision: "{second}"') == []
    assert codes("llm", f', max_model_len: 1000, revision: "{third}"') == ["E0807"]


def test_a_prompt_is_too_long_by_the_context_of_the_pinned_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = add(tmp_path / "1", "m", "llm", "LlamaForCausalLM", size=1)
    add(tmp_path / "2", "m", "llm", "LlamaForCausalLM", size=2)
    (tmp_path / "site.toml").write_text(INVENTORY)
    for pinned, status in (("", 0), (f', revision: "{first}"', 1)):
        (tmp_path / "app.rag").write_text(f'component m = llm("m"{pinned})\n{ANSWERS}')
        assert run(["plan", str(tmp_path / "app.rag"), "--inventory", str(tmp_path / "site.toml")]) == status
    assert "error[E0713]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "revision", "help_"),
    [
        ("e", "near", "did you mean `local-"),
        ("e", "local-zzzzzzzzzzzzzzzz", "name one of `local-"),
        ("all-MiniLM-L6-v2", "local-0000000000000000", "leave `revision` out"),
    ],
)
def test_a_digest_that_nobody_added_is_not_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, revision: str, help_: str
) -> None:
    """Else the bundle could never be started; on another machine it may have been added, so that a check is content."""
    own = add(tmp_path / "e", "e", "embedder", "BertModel", size=1)
    revision = f"{own[:-1]}{'0' if own[-1] != '0' else '1'}" if revision == "near" else revision
    (tmp_path / "site.toml").write_text(INVENTORY)
    revision = revision.replace("z", "9")
    (tmp_path / "app.rag").write_text(f'component m = embedder("{name}", revision: "{revision}")\n{SEARCHES}')
    assert run(["check", str(tmp_path / "app.rag")]) == 0
    capsys.readouterr()
    assert run(["plan", str(tmp_path / "app.rag"), "--inventory", str(tmp_path / "site.toml")]) == 1
    said = capsys.readouterr().err
    assert f"error[E0801]: no folder that was added as `{name}` had the revision `local-" in said
    assert f"help: {help_}" in said


def test_a_model_is_asked_for_by_name_and_revision() -> None:
    hub, other = (msgspec.structs.replace(ADDED, revision=digit * 40, added=None) for digit in "12")
    hub = msgspec.structs.replace(hub, name="org/m", aliases=("m",), layers=7)
    older, newer = ADDED, msgspec.structs.replace(ADDED, revision="local-00000000000000a2", layers=2)
    cards = Cards([hub, older, newer])

    def layers(name: str, revision: str | None) -> int | None:
        found = cards.get(ModelReference(name, revision))
        assert found is None or revision in (None, found.revision)
        return None if found is None else found.layers

    assert [layers("m", None), layers("m", newer.revision), layers("m", older.revision)] == [2, 2, 1]
    # Under its own name, and under the alias that is somebody else's name by now.
    assert [layers("org/m", None), layers("org/m", hub.revision), layers("m", hub.revision)] == [7, 7, 7]
    # Of a hub's revision that no card is of, what the hub's own card says is nearer than what a folder held.
    assert [layers("m", other.revision), layers("m", "main")] == [7, 7]
    assert layers("m", "local-00000000000000a3") is None
    with pytest.raises(Rejected, match="E0801"):
        cards.of(ModelReference("m", "local-00000000000000a3"))
    # As `models list` shows it, and as no component names it.
    with pytest.raises(Rejected) as refused:
        cards.of(ModelReference(f"m@{older.revision}", None))
    assert refused.value.found[0].help == f'write the name `m`, and `revision: "{older.revision}"` beside it'
    # Where the hub's has none, it is all that is known.
    only = Cards([older, newer]).of(ModelReference("m", "main"))
    assert (only.layers, only.revision, only.weights) == (2, "main", None)
    assert {card.name: card.layers for card in cards} == {"org/m": 7, "m": 2}


def test_a_reference_is_read_as_launches_write_it() -> None:
    assert ModelReference.read("org/m@main") == ModelReference("org/m", "main")
    assert ModelReference.read("org/m") == ModelReference.read("org/m@") == ModelReference("org/m", None)
    assert wanted("all-MiniLM-L6-v2@main").revision == "main"
