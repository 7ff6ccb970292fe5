"""The parser's tables: conflict-free, and the kept ones are those of the grammar."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.syntax import words
from harmonia_compiler.syntax.scanner import lex
from harmonia_compiler.syntax.tables import encode, from_grammar, grammar_folder, parser

GRAMMAR = (grammar_folder() / "rag.lark").read_text(encoding="utf-8")


def test_the_grammar_has_no_conflict() -> None:
    pytest.importorskip("interegular")
    from_grammar(GRAMMAR, strict=True)


def test_the_kept_tables_are_current(request: pytest.FixtureRequest) -> None:
    path = grammar_folder() / "tables.json"
    if request.config.getoption("--bless") and json.loads(path.read_bytes())["grammar"] != GRAMMAR:
        path.write_bytes(encode(GRAMMAR))
    assert json.loads(path.read_bytes())["grammar"] == GRAMMAR, "make bless"


SIGNS = [*"()[]{},:=~|+.<>#\n\r\"'\\ ", '"""', "->", "<=", "1e3", "x1"]
PIECES = st.one_of(st.sampled_from([*words.KEYWORDS, *SIGNS]), st.text(max_size=5))


@given(st.lists(PIECES, max_size=30))
def test_the_scanner_finds_what_larks_lexer_does(pieces: list[str]) -> None:
    text = "".join(pieces)
    expected = [(token.type, str(token), token.start_pos) for token in parser().lex(text, dont_ignore=True)]
    assert [(token.type, str(token), token.start_pos) for token in lex(text)] == expected
    assert "".join(lex(text)) == text


def test_kept_tables_read_as_made_ones_do() -> None:
    made, kept = from_grammar(GRAMMAR), parser()
    text = 'component a(q: text) -> "x" | "y" = b("p", k: [1, 2.5], t: 3)'
    tokens = [token for token in kept.lex(text, dont_ignore=True) if token.type != "WS"]
    trees = []
    for reading in (made.parse_interactive(""), kept.parse_interactive("")):
        for token in tokens:
            reading.feed_token(token)
        trees.append(reading.feed_eof())  # type: ignore[no-untyped-call]
    assert trees[0] == trees[1]
