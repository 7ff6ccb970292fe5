import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.runtime.worker.sentences import sentences


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", [""]),
        ("Short.", ["Short."]),
        (
            "Milvus stores vectors in segments. Queries go through a proxy! Do they return?",
            ["Milvus stores vectors in segments.", "Queries go through a proxy! Do they return?"],
        ),
        ("Yes. It was written by Shakespeare in London. No.", ["Yes. It was written by Shakespeare in London. No."]),
        (
            "# How to start the server\n- run the first command\n- run the second command",
            ["# How to start the server", "- run the first command - run the second command"],
        ),
        (
            'He said "stop at once, please." Then he went to the station.',
            ['He said "stop at once, please.', "Then he went to the station."],
        ),
    ],
)
def test_cutting(text: str, parts: list[str]) -> None:
    assert sentences(text) == parts


@given(st.text())
def test_no_word_is_lost(text: str) -> None:
    parts = sentences(text)
    assert parts
    letters = [character for character in text if character.isalnum()]
    assert [character for part in parts for character in part if character.isalnum()] == letters
