"""The parser's tables: conflict-free, read as lark does, and the kept ones are those of the grammar."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import lark
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax import words
from harmonia_compiler.syntax.automaton import read
from harmonia_compiler.syntax.generate import encode, from_grammar, made
from harmonia_compiler.syntax.reductions import Build, reductions
from harmonia_compiler.syntax.scanner import lex
from harmonia_compiler.syntax.tables import grammar_folder
from harmonia_compiler.syntax.token import Token
from harmonia_compiler.syntax.tokens import read_tokens

GRAMMAR = (grammar_folder() / "rag.lark").read_text(encoding="utf-8")


def test_the_grammar_has_no_conflict() -> None:
    pytest.importorskip("interegular")
    from_grammar(GRAMMAR, strict=True)


def test_the_kept_tables_are_current(request: pytest.FixtureRequest) -> None:
    path, expected = grammar_folder() / "tables.json", encode(made(GRAMMAR))
    if request.config.getoption("--bless"):
        path.write_bytes(expected)
    assert path.read_bytes() == expected, "make bless"


SIGNS = [*"()[]{},:=~|+.<>#\n\r\"'\\ ", '"""', "->", "<=", "1e3", "x1"]
PIECES = st.one_of(st.sampled_from([*words.KEYWORDS, *SIGNS]), st.text(max_size=5))


@cache
def larks() -> lark.Lark:
    return from_grammar(GRAMMAR)


@given(st.lists(PIECES, max_size=30))
def test_the_scanner_finds_what_larks_lexer_does(pieces: list[str]) -> None:
    text = "".join(pieces)
    expected = [(token.type, str(token), token.start_pos) for token in larks().lex(text, dont_ignore=True)]
    found = lex(text)
    assert [(token.kind, token.text, token.start) for token in found] == expected
    assert "".join(token.text for token in found) == text
    assert lex(text, spaces=False) == [token for token in found if token.kind != "WS"]


class Shown:
    """Makes of each rule its name with what stays of its parts, as lark's trees show them."""

    source = Source("a.rag", "")

    def leaf(self, token: Token) -> str:
        return token.text


class Named(Mapping[str, Build]):
    """A function for every name, which gives a tree as lark would."""

    def __getitem__(self, name: str) -> Build:
        return lambda _maker, span, parts: (name, span.start, span.end, parts)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def get(self, name: str, default: object = None) -> Any:
        return self[name]


def shown(found: Any) -> Any:
    """A tree of lark's as the same tuples."""
    if not isinstance(found, lark.Tree):
        return None if found is None else str(found)
    meta = found.meta
    return (str(found.data), meta.start_pos, meta.end_pos, [shown(child) for child in found.children])


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "samples").glob("*.rag")), ids=lambda path: path.stem
)
def test_the_parser_finds_what_larks_does(path: Path) -> None:
    source = Source(path.name, path.read_text(encoding="utf-8"))
    tokens = read_tokens(source, Findings())
    assert tokens is not None
    tokens.tokens.append(Token("$END", "", len(source.text), len(source.text)))
    found = read(tokens.tokens, reductions(Named()), Shown())
    reading = larks().parse_interactive("")
    for token in tokens.tokens[:-1]:
        reading.feed_token(lark.Token(token.kind, token.text, start_pos=token.start, end_pos=token.end))
    assert found == shown(reading.feed_eof())  # type: ignore[no-untyped-call]
