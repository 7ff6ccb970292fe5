"""What no inventory mends in what is asked of engines is found where it stands, before anything is planned."""

import re
from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.card import SHIPPED
from harmonia_compiler.contract.home import model_store
from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.diagnostics.source import Span

STORES = """
component minilm = embedder("all-MiniLM-L6-v2")
component handbook = milvus("handbook", embedder: minilm{first})
component tickets = milvus("tickets", embedder: minilm{second})
component letters = milvus("letters", embedder: minilm{third})
component unused = milvus("unused", embedder: minilm, cores: 64)
pipeline ask(question: text) -> [passage] {{
    return fuse([handbook(question), tickets(question), letters(question)], top_k: 8)
}}
"""


def stores(folder: Path, first: str = "", second: str = "", third: str = "") -> list[Diagnostic]:
    """What is wrong where the three stores have these settings, beside the one that is unused."""
    given = {"first": first, "second": second, "third": third}
    return check(folder, STORES.format(**{name: setting and f", {setting}" for name, setting in given.items()}))


def check(folder: Path, text: str) -> list[Diagnostic]:
    path = folder / "ask.rag"
    path.write_text(text)
    checked = check_files([path])
    assert (checked.application is None) == any(one.code.startswith("E") for one in checked.found)
    return checked.found


def marked(span: Span | None) -> str:
    """The text that a finding points at."""
    assert span is not None
    return span.source.text[span.start : span.end]


def test_stores_with_equal_settings_are_one_server(tmp_path: Path) -> None:
    assert stores(tmp_path) == []
    assert stores(tmp_path, "memory: 2 GiB", "memory: 2 GiB", "memory: 2048 MiB") == []
    assert stores(tmp_path, "top_k: 2", 'metric: "L2"', "memory: 1 GiB") == []


@pytest.mark.parametrize("setting", ["memory: 2 GiB", "cores: 2", "cores: 1", 'on: "cpu"'])
def test_stores_that_differ_are_refused_by_name(tmp_path: Path, setting: str) -> None:
    (one,) = stores(tmp_path, second=setting)
    name, _, value = setting.partition(": ")
    assert one.code == "E0711"
    assert one.message == (
        f"`handbook` and `letters` and `tickets` differ in `{name}`, "
        "and the milvus components of a plan share one server"
    )
    assert marked(one.span) == value


def test_stores_that_differ_are_all_pointed_at_where_they_do(tmp_path: Path) -> None:
    (one,) = stores(tmp_path, "memory: 2 GiB, min_replicas: 1", "memory: 4 GiB")
    assert "differ in `memory`, and" in one.message
    assert marked(one.span) == "4 GiB"
    assert [(marked(note.span), note.text) for note in one.notes] == [("2 GiB", "`memory` stands here")]


def test_a_store_of_its_own_is_one_too_many(tmp_path: Path) -> None:
    (one,) = stores(tmp_path, second='share: "never", memory: 4 GiB')
    assert (one.code, marked(one.span)) == ("E0711", '"never"')
    assert one.message == (
        "`tickets` asks for a server of its own, and the milvus components of a plan share one server"
    )
    found = stores(tmp_path, 'share: "never"', 'share: "never"', 'share: "never"')
    assert [one.code for one in found] == ["E0711"] * 3


def test_a_store_that_is_the_only_one_may_keep_its_server(tmp_path: Path) -> None:
    text = """
component minilm = embedder("all-MiniLM-L6-v2")
component search = milvus("docs", embedder: minilm, share: "never", min_replicas: 1)
component near = search(top_k: 2)
pipeline ask(question: text) -> [passage] { return fuse([search(question), near(question)], top_k: 8) }
"""
    assert check(tmp_path, text) == []


@pytest.mark.parametrize(
    ("setting", "more"), [("min_replicas: 4", "more than one replica"), ("min_hosts: 2", "more than one host")]
)
def test_a_store_is_never_copied(tmp_path: Path, setting: str, more: str) -> None:
    (one,) = stores(tmp_path, setting, setting, setting)
    assert (one.code, marked(one.span)) == ("E0712", setting[-1])
    assert one.message == (
        f"`handbook` and `letters` and `tickets` ask for {more}, and a milvus server is never copied"
    )


WITH_MODEL = """
component base = llm({settings})
component answer(question: text ~ 15 tokens) -> text ~ 60 tokens = base("{{question}}")
pipeline ask(question: text ~ 15 tokens) -> text {{ return answer(question) }}
"""
SEARCHING = """
component vectors = embedder("SmolLM2-135M-Instruct")
component search = milvus("docs", embedder: vectors)
component best = reranker("SmolLM2-135M-Instruct")
pipeline ask(question: text) -> [passage] { return best(question, search(question)) }
"""


def told(found: list[Diagnostic]) -> list[tuple[str, str, str]]:
    return [(one.code, one.message, marked(one.span)) for one in found]


def test_a_model_of_another_trade_is_refused_where_it_is_named(tmp_path: Path) -> None:
    assert told(check(tmp_path, WITH_MODEL.format(settings='"all-MiniLM-L6-v2"'))) == [
        ("E0806", "`all-MiniLM-L6-v2` is an embedding model, which `llm` cannot use", '"all-MiniLM-L6-v2"')
    ]
    model = '"SmolLM2-135M-Instruct"'
    assert told(check(tmp_path, SEARCHING)) == [
        ("E0806", "`SmolLM2-135M-Instruct` is a language model, which `embedder` cannot use", model),
        ("E0806", "`SmolLM2-135M-Instruct` is a language model, which `reranker` cannot use", model),
    ]


FOLLOWING = """
component vectors = embedder("{model}"{settings})
component search = milvus("docs", embedder: vectors)
component best = reranker("bge-reranker-base", revision: "main")
component base = llm("SmolLM2-135M-Instruct", revision: "main")
component answer(question: text ~ 9 tokens, found: [passage]) -> text ~ 60 tokens = base("{{question}}{{found}}")
pipeline ask(question: text ~ 9 tokens) -> text {{ return answer(question, best(question, search(question))) }}
"""


@pytest.mark.parametrize("revision", ["main", "v2.0", "c9745ed", "local-x"])
def test_an_embedder_follows_no_branch(tmp_path: Path, revision: str) -> None:
    settings = f', revision: "{revision}"'
    (one,) = check(tmp_path, FOLLOWING.format(model="all-MiniLM-L6-v2", settings=settings))
    why = f"`{revision}` moves, and the vectors of a collection are of one revision of their embedder"
    assert told([one]) == [("E0813", why, f'"{revision}"')]
    assert one.help == "name a commit, of 40 digits, or leave `revision` out for that of the card"
    # Nobody has a card of it here.
    (one,) = check(tmp_path, FOLLOWING.format(model="Nobody-Embeds", settings=settings))
    assert one.help == 'name a commit, of 40 digits: `revision: "…"`'


def test_a_commit_in_capitals_is_not_said_to_move(tmp_path: Path) -> None:
    commit = "C9745ED1D9F207416BE6D2E6F8DE32D1F16199BF"
    (one,) = check(tmp_path, FOLLOWING.format(model="all-MiniLM-L6-v2", settings=f', revision: "{commit}"'))
    assert (one.code, marked(one.span), one.help) == ("E0813", f'"{commit}"', f"write `{commit.lower()}`")
    assert "small letters" in one.message


def test_an_embedder_stays_at_a_commit_or_at_what_a_folder_held(tmp_path: Path) -> None:
    for revision in ("c9745ed1d9f207416be6d2e6f8de32d1f16199bf", "local-0123456789abcdef"):
        settings = f', revision: "{revision}"'
        assert check(tmp_path, FOLLOWING.format(model="all-MiniLM-L6-v2", settings=settings)) == []
    assert check(tmp_path, FOLLOWING.format(model="all-MiniLM-L6-v2", settings="")) == []
    assert check(tmp_path, FOLLOWING.format(model="Nobody-Embeds", settings="")) == []


def test_a_card_may_not_follow_a_branch_where_vectors_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARMONIA_HOME", str(tmp_path / "home"))
    (model_store() / "own").mkdir(parents=True)
    text = (SHIPPED / "all-minilm-l6-v2.toml").read_text()
    own = re.sub('revision = ".*"', 'revision = "main"', text)
    (model_store() / "own" / "card.toml").write_text(own)
    (one,) = check(tmp_path, FOLLOWING.format(model="all-MiniLM-L6-v2", settings=""))
    assert (one.code, marked(one.span), one.help) == (
        "E0813",
        '"all-MiniLM-L6-v2"',
        'name a commit, of 40 digits: `revision: "…"`',
    )


RERANKING = """
component vectors = embedder("all-MiniLM-L6-v2", server: "vllm")
component search = milvus("docs", embedder: vectors)
component best = reranker({settings})
pipeline ask(question: text) -> [passage] {{ return best(question, search(question)) }}
"""


def test_vllm_reranks_by_cross_encoders_alone(tmp_path: Path) -> None:
    (one,) = check(tmp_path, RERANKING.format(settings='"all-MiniLM-L6-v2", server: "vllm"'))
    why = '`all-MiniLM-L6-v2` is an embedding model, which `reranker` cannot use with `server: "vllm"`'
    assert told([one]) == [("E0806", why, '"vllm"')]
    assert one.help == (
        "leave `server` out, or give one of the models `BAAI/bge-reranker-base`, `cross-encoder/ms-marco-MiniLM-L6-v2`"
    )
    assert check(tmp_path, RERANKING.format(settings='"ms-marco-MiniLM-L6-v2", server: "vllm"')) == []
    assert check(tmp_path, RERANKING.format(settings='"all-MiniLM-L6-v2", server: "transformers"')) == []


def test_a_context_longer_than_the_models_is_refused_where_it_is_given(tmp_path: Path) -> None:
    assert told(check(tmp_path, WITH_MODEL.format(settings='"SmolLM2-135M-Instruct", max_model_len: 65536'))) == [
        ("E0807", "`max_model_len` is 65536, and `SmolLM2-135M-Instruct` reads 8192 tokens", "65536")
    ]


def test_a_model_that_is_not_known_here_may_be_elsewhere(tmp_path: Path) -> None:
    assert check(tmp_path, WITH_MODEL.format(settings='"Nobody-1B"')) == []


def test_a_card_that_cannot_be_read_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARMONIA_HOME", str(tmp_path / "home"))
    (model_store() / "broken").mkdir(parents=True)
    (model_store() / "broken" / "card.toml").write_text("name =")
    assert check(tmp_path, WITH_MODEL.format(settings='"SmolLM2-135M-Instruct"')) == []
