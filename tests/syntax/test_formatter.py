"""Formatting: the same tree, every comment where it stood, and nothing left to change."""

import re
from itertools import zip_longest
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax import tree
from harmonia_compiler.syntax.formatter import formatted, printed
from harmonia_compiler.syntax.layout import WIDTH
from harmonia_compiler.syntax.parser import parse
from harmonia_compiler.syntax.scanner import lex
from tests.syntax.trees import files, plain

ROOT = Path(__file__).parent.parent.parent
RAG = sorted(path for folder in ("samples", "bench/pipelines", "tests") for path in (ROOT / folder).rglob("*.rag"))
BLOCKS = [
    pytest.param(block, id=f"{path.name} {number}")
    for path in sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/*.md")) + [ROOT / "grammar/README.md"]
    for number, block in enumerate(
        re.findall(r"^```rag.*?\n(.*?)^```$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    )
]
SOME = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])


def read(text: str) -> tree.File | None:
    """The file, or None where something is wrong with it."""
    findings = Findings()
    file = parse(Source("a.rag", text), findings)
    return None if findings.items else file


def whole(text: str) -> tree.File:
    file = read(text)
    assert file is not None, text
    return file


def words(text: str) -> list[str]:
    """The tokens but for commas behind a last item; a long text by what it says."""
    kept = [token for token in lex(text) if token.kind not in ("WS", "COMMENT", "_NL")]
    pairs = zip_longest(kept, kept[1:])
    found = [token for token, after in pairs if token.text != "," or after is None or after.text not in (")", "]")]
    return [re.sub(r"\s+", " ", token.text) if token.kind == "LONG_TEXT" else token.text for token in found]


def sound(text: str) -> str:
    """Format a text, and hold the outcome to everything that must be true of any."""
    before = whole(text)
    outcome = formatted(before)
    after = whole(outcome)
    assert plain(after.declarations) == plain(before.declarations)
    assert [found.text.rstrip() for found in after.comments] == [found.text.rstrip() for found in before.comments]
    assert [getattr(found, "doc", "") for found in after.declarations] == [
        getattr(found, "doc", "") for found in before.declarations
    ]
    assert words(outcome) == words(text)
    assert formatted(after) == outcome
    assert outcome == "" or (outcome.endswith("\n") and not outcome.endswith("\n\n"))
    return outcome


@given(files)
@SOME
def test_a_tree_printed_and_read_is_the_tree(declarations: tuple[tree.Declaration, ...]) -> None:
    text = printed(declarations)
    assert plain(whole(text).declarations) == plain(declarations)
    assert sound(text) == text


@given(files, st.data())
@SOME
def test_comments_stay_where_they_stood(declarations: tuple[tree.Declaration, ...], data: st.DataObject) -> None:
    text = printed(declarations)
    for number in range(data.draw(st.integers(1, 6))):
        pieces = [token.text for token in lex(text)]
        at = data.draw(st.integers(0, len(pieces)))
        said = data.draw(st.sampled_from(["# {}\n", "\n# {}\n", "\n\n#{}\n\n", "#\n  # {}\n", "\n\n\n"])).format(number)
        changed = "".join([*pieces[:at], said, *pieces[at:]])
        if (file := read(changed)) is not None and plain(file.declarations) == plain(declarations):
            text = changed
    sound(text)


@pytest.mark.parametrize("path", RAG, ids=lambda path: f"{path.parent.name} {path.stem}")
def test_every_file_that_can_be_read_is_formatted_soundly(path: Path) -> None:
    text = path.read_text(encoding="utf-8", errors="replace")
    if read(text) is None:
        assert path.parent.name in ("broken", "parts")
    else:
        sound(text)


LAYOUTS = Path(__file__).with_name("layouts.txt")


def layouts() -> list[tuple[str, str, str]]:
    """Title, text and outcome of each."""
    found = []
    for block in LAYOUTS.read_text(encoding="utf-8").split("--- ")[1:]:
        title, _, rest = block.partition("\n")
        text, _, outcome = rest.partition("=>\n")
        found.append((title, text, outcome))
    return found


@pytest.mark.parametrize(("title", "text", "outcome"), layouts(), ids=[title for title, *_ in layouts()])
def test_the_form_of_each_construct(title: str, text: str, outcome: str) -> None:
    assert sound(text) == outcome, "make bless"
    assert sound(outcome) == outcome


def test_the_forms_are_current(request: pytest.FixtureRequest) -> None:
    written = "".join(f"--- {title}\n{text}=>\n{formatted(whole(text))}" for title, text, _ in layouts())
    if request.config.getoption("--bless"):
        LAYOUTS.write_text(written, encoding="utf-8")
    assert LAYOUTS.read_text(encoding="utf-8") == written, "make bless"


def test_no_line_that_may_be_broken_is_too_long() -> None:
    for title, _, outcome in layouts():
        assert [line for line in outcome.split("\n") if len(line) > WIDTH] == [], title


@pytest.mark.parametrize(
    "path", [path for path in RAG if path.parent.name != "broken"], ids=lambda path: f"{path.parent.name} {path.stem}"
)
def test_every_file_that_is_not_wrong_on_purpose_is_formatted(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert formatted(whole(text)) == text, f"harmoniac fmt {path}"


@pytest.mark.parametrize("block", BLOCKS)
def test_what_the_documents_show_is_formatted(block: str) -> None:
    assert formatted(whole(block)) == block


def test_carriage_returns_go() -> None:
    text = 'component a = b(\r\n  # c\r\n    """\r\n  x\r\n  """)\r\n\r\n\r\n# end\r\n'
    assert sound(text) == 'component a = b(\n    # c\n    """\n    x\n    """,\n)\n\n# end\n'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x\r\ny", "x\ny"),
        ("x\r\r\ny", "x\ny"),
        ("\r\r\n  x\r\r\r\n  y\r\r\n", "x\ny"),
        ("x\ry", "x\ry"),
        ("x\n  y\r", "x\ny\r"),
        ("\r", "\r"),
        ("x\n\r\ny", "x\n\ny"),
    ],
)
def test_carriage_returns_belong_to_the_newline_that_they_stand_before(text: str, value: str) -> None:
    """However many: else the one that is left would go with the newline when the text is read again."""
    outcome = sound(f'component a = b(system: """{text}""")\n')
    (declared,) = whole(outcome).declarations
    assert isinstance(declared, tree.Component)
    assert plain(declared.settings[0].value) == ("Text", value)


def test_what_nests_as_deep_as_may_be_is_formatted() -> None:
    nested = "[" * 60 + "q" + "]" * 60
    sound(f"pipeline p(q: text) -> text {{ return {'each a in b: ' * 150}q }}\n")
    sound(f"pipeline p(q: text) -> text {{ return {'f(' * 60}q{')' * 60} }}\n")
    sound(f"pipeline p(q: text) -> text {{ return q{' else q' * 100} }}\n")
    sound(f"pipeline p(q: text) -> text {{ return {nested} }}\n")
