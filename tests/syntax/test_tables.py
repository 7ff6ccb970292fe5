"""The parser's tables: conflict-free, and the kept ones are those of the grammar."""

import json

import pytest

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
