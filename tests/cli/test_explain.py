"""`harmoniac explain`, and the document that is made of the same pages."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.cli.exits import FINE, USAGE
from harmonia_compiler.cli.main import run
from harmonia_compiler.cli.reference import names, page, reference
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.diagnostics.pages import codes
from harmonia_compiler.flow.passes.registry import PASSES
from harmonia_compiler.functions.registry import functions
from harmonia_compiler.kinds.kind import COMMON_SETTINGS
from harmonia_compiler.kinds.registry import kind_names, kinds

DOCUMENT = Path(__file__).parents[2] / "docs" / "kinds.md"


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["explain", *arguments]) == FINE
    return capsys.readouterr().out


@pytest.mark.parametrize("name", kind_names())
def test_a_kind_with_all_that_it_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = explained(capsys, name)
    kind = kinds()[name]
    assert text.startswith(f"# `{name}`\n\n{kind.doc}\n")
    for setting in (*kind.settings, *COMMON_SETTINGS):
        assert f"\n- `{setting.name}`: {setting.doc}. " in text
    for port in kind.signature.ports if kind.signature else ():
        assert f"{port.name}: " in text


@pytest.mark.parametrize("name", kind_names())
def test_the_example_of_a_kind_is_of_that_kind_and_checks(name: str, tmp_path: Path) -> None:
    example = kinds()[name].example
    assert f" = {name}(" in example
    path = tmp_path / "example.rag"
    path.write_text(f"{example}\n")
    found = check_files([path]).found
    assert [one.message for one in found if one.is_error] == []
    models = [text for text in example.split('"')[1::2] if "/" in text or text.startswith("all-")]
    assert all(load_cards().named(model) or "://" in model for model in models)


@pytest.mark.parametrize("name", functions())
def test_a_function_with_all_that_it_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = explained(capsys, name)
    function = functions()[name]
    assert text.startswith(f"# `{name}`\n\n{function.doc}\n\n    {name}(")
    for parameter in function.parameters:
        assert f"\n- `{parameter.name}`: {parameter.doc}. It takes " in text


@pytest.mark.parametrize("number", range(len(PASSES)))
def test_a_pass(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    found = PASSES[number]
    text = explained(capsys, found.name)
    assert f"The pass number {number + 1} of {len(PASSES)}: it {found.doc}." in text
    for each in found.needs | found.gives:
        assert f'"{each}"' in text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("milvus", "- `top_k`: how many passages to find. A whole number from 1 to 1,024; 8 where it is not said."),
        ("milvus", "always given; its name may be left out."),
        ("milvus", "A component made from `embedder`; always given."),
        ("python", "An amount of memory from 0.125 GiB to 65,536 GiB; 1 GiB where it is not said."),
        ("http", "A duration from 0 ms; 200 ms where it is not said."),
        ("http", 'Letters, digits and signs of ASCII, without blanks; only as `secret("NAME")` or `env("NAME")`.'),
        ("web_search", "It takes `(query: text)` and gives `[passage]`."),
        ("llm", "Its ports and its result are declared"),
        ("fuse", "from 1 to 16,384 that stands in the source; 10 where it is not said."),
    ],
)
def test_how_facts_are_said(line: str, text: str) -> None:
    assert text in (page(line) or "")


def test_everything_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    text = explained(capsys)
    for name in [*codes(), *(name for known in names().values() for name in known)]:
        assert name in text


@pytest.mark.parametrize(
    ("given", "near"), [("milvos", "milvus"), ("E020", "E0201"), ("fus", "fuse"), ("dead_cod", "dead_code")]
)
def test_an_unknown_name_is_told_with_the_nearest(given: str, near: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", given]) == USAGE
    assert f"did you mean {near}?" in capsys.readouterr().err


def test_a_name_that_resembles_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "zzzzzzzzzz"]) == USAGE
    assert "`harmoniac explain` lists all" in capsys.readouterr().err


def test_the_document_is_made_of_the_declarations(request: pytest.FixtureRequest) -> None:
    text = reference(kind_names())
    if request.config.getoption("--bless"):
        DOCUMENT.write_text(text, encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == text
