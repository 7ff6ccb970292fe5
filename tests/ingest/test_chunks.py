"""Blocks and chunks: nothing is lost, nothing is too long, and the same text gives the same chunks."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia_compiler.ingest.blocks import parse_blocks
from harmonia_compiler.ingest.chunks import Shape, cut
from harmonia_compiler.ingest.documents import Document
from harmonia_compiler.ingest.tokens import count_tokens
from harmonia_compiler.runtime.milvus import TEXT_BYTES

SHAPE = Shape(60, 15)


def kinds(text: str, *, markdown: bool = True) -> list[tuple[str, int, str]]:
    return [
        (block.kind, block.level, block.title or text[block.start : block.end])
        for block in parse_blocks(text, markdown=markdown)
    ]


def test_blocks_of_markdown() -> None:
    text = (
        "# One [link](x) `code` #\n\nprose\nmore\n\n```py\n# not a heading\n\nx\n```\n\n"
        "Two\n---\n\n    indented\n\n    still\n\n| a | b |\n|---|---|\n\n- item\n- item\n"
    )
    assert kinds(text) == [
        ("heading", 1, "One link code"),
        ("prose", 0, "prose\nmore"),
        ("code", 0, "```py\n# not a heading\n\nx\n```"),
        ("heading", 2, "Two"),
        ("code", 0, "    indented\n\n    still"),
        ("table", 0, "| a | b |\n|---|---|"),
        ("prose", 0, "- item\n- item"),
    ]


def test_blocks_of_restructured_text() -> None:
    text = "=====\nTitle\n=====\n\ntext\n\nPart\n----\n\n# no heading\n\nInner\n~~~~~\nx\n\nNext\n----\ny"
    assert kinds(text, markdown=False) == [
        ("heading", 1, "Title"),
        ("prose", 0, "text"),
        ("heading", 2, "Part"),
        ("prose", 0, "# no heading"),
        ("heading", 3, "Inner"),
        ("prose", 0, "x"),
        ("heading", 2, "Next"),
        ("prose", 0, "y"),
    ]


@pytest.mark.parametrize("text", ["```\nnever closed\n\n# x", "#", "---", "- a\n---", "a\n\n---\n\nb", "| a\n---"])
def test_blocks_of_slips(text: str) -> None:
    covered = "".join(text[block.start : block.end] for block in parse_blocks(text, markdown=True))
    assert re.sub(r"\s", "", covered) == re.sub(r"\s", "", text)


def chunk_texts(text: str, *, shape: Shape = SHAPE, title: str = "guide") -> list[str]:
    return [chunk.text for chunk in cut(Document(title, text, markdown=True), shape)]


def test_chunks_open_with_the_path_of_their_headings() -> None:
    text = "# Guide\n\nintro " + "word " * 40 + "\n\n## Setup\n\n### Linux\n\n" + "step " * 50
    assert [chunk.split("\n\n")[0] for chunk in chunk_texts(text)] == ["Guide", "Guide > Setup > Linux"]


def test_path_begins_with_the_title_where_no_heading_says_it() -> None:
    assert chunk_texts("text", title="notes") == ["notes\n\ntext"]
    assert chunk_texts("# First Steps\n\ntext", title="first-steps") == ["First Steps\n\ntext"]


def test_small_neighbours_go_together() -> None:
    text = "# API\n\n## get\n\nreads\n\n## put\n\nwrites\n\n## big\n\n" + "word " * 50
    small, big = chunk_texts(text, title="api")
    assert small == "API\n\n## get\n\nreads\n\n## put\n\nwrites"
    assert big.startswith("API > big\n\nword")


def test_code_is_not_cut_where_it_fits() -> None:
    code = "```\n" + "\n".join(f"call {number}" for number in range(12)) + "\n```"
    chunks = chunk_texts("# T\n\n" + "word " * 40 + "\n\n" + code + "\n\n" + "word " * 40)
    assert [chunk for chunk in chunks if code in chunk]


def test_long_code_is_cut_between_lines() -> None:
    lines = [f"statement number {number}" for number in range(80)]
    text = "```\n" + "\n".join(lines) + "\n```"
    chunks = [chunk.removeprefix("guide\n\n").split("\n") for chunk in chunk_texts(text)]
    assert len(chunks) > 1
    kept = [line for chunk in chunks for line in chunk if line != "```"]
    assert list(dict.fromkeys(kept)) == lines, "whole, in their order, and none left out"


def test_prose_repeats_the_end_of_what_came_before() -> None:
    text = " ".join(f"This is sentence number {number} of them." for number in range(40))
    chunks = chunk_texts(text)
    assert len(chunks) > 3
    for before, after in pairwise(chunks):
        assert after.removeprefix("guide\n\n").split(".")[0] in before


BLANKS = " " * 70_000


@pytest.mark.parametrize(
    "text",
    [
        f"one{BLANKS}two",
        "one" + "\n" * 70_000 + "two",
        f"```\n{BLANKS}one\n\n{BLANKS}two\n```",
        f"| one |{BLANKS}| two |",
        f"First one.{BLANKS}Then two. " + "And more words follow. " * 90,
        f"# Head\n\none\n\n{BLANKS}\n\n# Next\n\ntwo",
        "one two " + "検索" * 40_000,
    ],
)
@pytest.mark.parametrize("limit", [60, 8192])
def test_a_chunk_fits_into_a_row_however_many_blanks_it_has(text: str, limit: int) -> None:
    texts = [chunk.text for chunk in cut(Document("guide", text, markdown=True), Shape(limit, 15))]
    assert max(len(chunk.encode()) for chunk in texts) <= TEXT_BYTES
    assert all(chunk.removeprefix("guide").strip() for chunk in texts)
    assert all(any(word in chunk for chunk in texts) for word in ("one", "two"))


def test_headings_alone_are_the_text_of_their_document() -> None:
    assert chunk_texts("# One\n\n## Call 112\n") == ["guide\n\n# One\n\n## Call 112"]
    assert chunk_texts("# The Guide\n\n## Call 112\n") == ["# The Guide\n\n## Call 112"]
    assert len(chunk_texts("\n".join(f"# Heading number {number}" for number in range(60)))) > 3
    assert chunk_texts("# One\n\ntext\n\n## Two\n") == ["guide > One\n\ntext"]
    assert [chunk_texts(text) for text in ("", "#\n\n##\n", "# ![](picture.png)")] == [[], [], []]


MANY = 200_000


@pytest.mark.slow
@pytest.mark.parametrize("markdown", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "# " + "word " * MANY,
        "# a" + " " * MANY + "b",
        "# " + "[" * MANY + "\n\ntext",
        "# " + "<" * MANY + "\n\ntext",
        "word " * MANY + "\n====\n\nbody",
        "# One\n\none\n\n# Two" + "\n" * MANY + "two",
        "# One\n\none\n\n# Two" + "\n" * MANY + "- two",
        "```\none\n" + "\n" * MANY + "two\n```",
    ],
    ids=["heading", "blanks", "brackets", "angles", "underlined", "newlines", "newlines before an item", "code"],
)
def test_what_stands_in_one_place_is_cut_in_time_by_its_length(text: str, markdown: bool) -> None:  # noqa: FBT001
    """By the square of the length each of these takes minutes or hours, and the test's time runs out."""
    document = Document("guide", text, markdown)
    chunks = cut(document, SHAPE)
    assert all(count_tokens(chunk.text) <= SHAPE.limit for chunk in chunks)
    assert max(len(chunk.text.encode()) for chunk in chunks) <= TEXT_BYTES


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("# a #", "a"),
        ("# a ##  ", "a"),
        ("# a #b", "a #b"),
        ("# a# ", "a#"),
        ("# #", "#"),
        ("#\t##", "##"),
        ("## ", ""),
    ],
)
def test_hashes_that_close_a_heading(line: str, title: str) -> None:
    assert [block.title for block in parse_blocks(line, markdown=True)] == [title]


def test_estimate_counts_each_kind_of_word() -> None:
    assert count_tokens("a short word") == 3
    assert count_tokens("retrieval, 2024!") == 2 + 1 + 2 + 1
    assert count_tokens("internationalisation") == 6
    assert count_tokens("検索") == 2
    assert count_tokens("größer") == 3
    assert count_tokens(" \n\t") == 0


LINES = st.one_of(
    st.sampled_from(
        ["", "", "# Head", "## Sub *x*", "Under", "-----", "```", "~~~", "    code", "| a | b |", "- item"]
    ),
    st.text(alphabet=st.sampled_from("abc d.e,f  g!ü検1"), max_size=60),
    st.integers(1, 400).map(lambda count: "w" * count),
    st.integers(1, 120).map(lambda count: "some words. " * count),
)
TEXTS = st.lists(LINES, max_size=30).map("\n".join)


@settings(deadline=None)
@given(TEXTS, st.booleans(), st.integers(16, 80), st.integers(0, 20))
def test_every_character_is_in_a_chunk_or_a_heading(text: str, markdown: bool, limit: int, overlap: int) -> None:  # noqa: FBT001
    document = Document("t", text, markdown)
    chunks = cut(document, Shape(limit, overlap))
    covered = {at for chunk in chunks for at in range(chunk.start, chunk.end)}
    covered |= {
        at
        for block in parse_blocks(text, markdown=markdown)
        if block.kind == "heading"
        for at in range(block.start, block.end)
    }
    assert all(text[at].isspace() for at in range(len(text)) if at not in covered)


@settings(deadline=None)
@given(TEXTS, st.booleans(), st.integers(16, 80), st.integers(0, 20))
def test_chunks_are_bounded_in_order_and_the_same_each_time(
    text: str,
    markdown: bool,  # noqa: FBT001
    limit: int,
    overlap: int,
) -> None:
    document = Document("t", text, markdown)
    chunks = cut(document, Shape(limit, overlap))
    assert all(count_tokens(chunk.text) <= limit for chunk in chunks)
    assert [chunk.start for chunk in chunks] == sorted(chunk.start for chunk in chunks)
    assert all(text[chunk.start : chunk.end].strip("\n") in chunk.text for chunk in chunks)
    assert chunks == cut(document, Shape(limit, overlap))
