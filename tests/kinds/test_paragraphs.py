"""A prompt's paragraphs in another order."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.component import Component, Engine, Insert, Port, Prompt
from harmonia_compiler.contract.types import ListOf, Passage, Text
from harmonia_compiler.kinds.llm import KIND
from harmonia_compiler.kinds.paragraphs import PROMPT_ORDER, in_order, paragraphs

THREE: Prompt = ("Question: ", Insert("question"), "\n\n", Insert("passages"), "\n \nBe brief.\nSay where from.")

PROMPTS = st.lists(
    st.one_of(st.text("ab\n \t", max_size=8), st.sampled_from([Insert("x"), Insert("y")])), min_size=1, max_size=8
).map(tuple)


def test_a_blank_line_of_the_template_parts_them() -> None:
    assert paragraphs(THREE) == (
        ("Question: ", Insert("question")),
        (Insert("passages"),),
        ("Be brief.\nSay where from.",),
    )


def test_very_many_spaces_are_looked_through_once() -> None:
    spaces = " " * 1_000_000
    assert paragraphs((f"a\n{spaces}b\n{spaces}\nc",)) == ((f"a\n{spaces}b",), ("c",))


def test_blank_lines_stay_where_they_are() -> None:
    assert in_order(THREE, (2, 1, 0)) == (
        *("Be brief.\nSay where from.\n\n", Insert("passages"), "\n \nQuestion: "),
        Insert("question"),
    )


@given(PROMPTS)
def test_the_order_of_the_source_changes_nothing(prompt: Prompt) -> None:
    def flat(parts: Prompt) -> str:
        return "".join(part if isinstance(part, str) else f"<{part.port}>" for part in parts)

    assert flat(in_order(prompt, range(len(paragraphs(prompt))))) == flat(prompt)


@given(PROMPTS, st.data())
def test_every_order_has_all_that_the_source_has(prompt: Prompt, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(paragraphs(prompt)))))
    moved = in_order(prompt, order)
    assert sorted(part.port for part in moved if isinstance(part, Insert)) == sorted(
        part.port for part in prompt if isinstance(part, Insert)
    )
    text = "".join(part for part in prompt if isinstance(part, str))
    assert sorted("".join(part for part in moved if isinstance(part, str))) == sorted(text)


@pytest.mark.parametrize("order", [(), (0, 1), (0, 1, 1), (0, 1, 3), (0, 1, 2, 3)])
def test_what_is_no_order_of_them_is_a_bug(order: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="is no order of 3 paragraphs"):
        in_order(THREE, order)


def test_a_call_is_sent_in_the_order_that_a_pass_said() -> None:
    ports = (Port("question", Text()), Port("passages", ListOf(Passage())))
    passages = [{"text": "a\n\nb", "source": "a.md", "score": 1.0}]
    sent = set()
    for order in permutations(range(3)):
        made = Component("c", "llm", "e", ports, Text(), prompt=THREE, settings={PROMPT_ORDER: list(order)})
        wire = KIND.encode(
            Engine("e", "llm", {"model": "m"}), made, {"question": "why", "passages": passages}, stream=False
        )
        sent.add(wire.body)
        assert PROMPT_ORDER.encode() not in wire.body
    assert len(sent) == 6


def test_nobody_but_a_pass_can_say_it() -> None:
    assert KIND.setting(PROMPT_ORDER) is None
