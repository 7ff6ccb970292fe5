"""How large values are expected to be: what is known of the whole is known of what is inside."""

import json

import pytest

from harmonia_compiler.contract.component import Sizes
from harmonia_compiler.contract.types import Field, Labels, ListOf, Message, Number, Passage, Record, Text, Type, Value
from harmonia_compiler.kinds.extents import (
    SOURCE_TOKENS,
    item_of,
    list_extent,
    part_of,
    resized,
    shown_tokens,
    text_tokens,
    typed_extent,
    value_tokens,
)
from harmonia_compiler.kinds.kind import Extent
from harmonia_compiler.kinds.openai import show_value

PERSON = Record((Field("name", Text()), Field("born", Number())))

IN_RECORDS: list[tuple[Type, Sizes, Value]] = [
    (Text(), Sizes(3.0), "x" * 12),
    (ListOf(Number()), Sizes(3.0), [1.0, 2.0, 3.0]),
    (ListOf(Labels(("yes", "no?"))), Sizes(2.0), ["no?", "no?"]),
    (ListOf(Text()), Sizes(2.0, Sizes(5.0)), ["x" * 20, "y" * 20]),
    (ListOf(ListOf(Number())), Sizes(2.0, Sizes(4.0)), [[1.0] * 4, [2.0] * 4]),
    (ListOf(PERSON), Sizes(2.0, Sizes(parts={"name": Sizes(5.0)})), [{"name": "x" * 20, "born": 1.0}] * 2),
]


@pytest.mark.parametrize(("of", "sizes", "value"), IN_RECORDS, ids=[json.dumps(value) for *_, value in IN_RECORDS])
def test_a_value_within_a_record_has_as_many_tokens_as_one_of_its_size_is_expected_to_have(
    of: Type, sizes: Sizes, value: Value
) -> None:
    """The marks of JSON count, those between numbers as well."""
    whole = Record((Field("it", of),))
    expected = typed_extent(whole, Sizes(parts={"it": sizes}))
    assert value_tokens({"it": value}, whole) == pytest.approx(expected.tokens)


def test_what_is_inside_of_a_value_of_another_size_keeps_its_share() -> None:
    lists = typed_extent(ListOf(ListOf(Text())), Sizes(4.0, Sizes(3.0, Sizes(5.0))))
    assert lists.tokens == 60.0
    half = resized(lists, 30.0)
    assert (half.items, half.item) == (4.0, Extent(7.5, 3.0))
    people = typed_extent(ListOf(PERSON), Sizes(2.0, Sizes(parts={"name": Sizes(20.0)})))
    name = part_of(item_of(resized(people, people.tokens / 2), ListOf(PERSON)), PERSON, "name")
    assert name.tokens == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("of", "item"),
    [(Text(), "x" * 20), (Message(), {"role": "user", "text": "x" * 20}), (ListOf(Text()), ["x" * 20] * 3)],
)
@pytest.mark.parametrize("items", [0.0, 0.25, 1.0, 2.5])
def test_a_list_that_may_be_empty_is_as_long_in_a_prompt_as_in_the_mean(of: Type, item: Value, items: float) -> None:
    """No line ends behind the last one, of which an empty list has none."""
    one = typed_extent(of, Sizes(3.0, Sizes(5.0)) if isinstance(of, ListOf) else Sizes(5.0))
    extent = list_extent(ListOf(of), one, items)
    fewer, rest = divmod(items, 1.0)
    less, more = (text_tokens(show_value([item] * int(many), ListOf(of))) for many in (fewer, fewer + 1.0))
    # Of roles, one is as frequent as the other.
    roles = items * (text_tokens("assistant") - text_tokens("user")) / 2.0 if of == Message() else 0.0
    assert shown_tokens(ListOf(of), extent) == pytest.approx((1.0 - rest) * less + rest * more + roles)


@pytest.mark.parametrize("guessed", [False, True])
def test_an_item_of_which_only_its_tokens_are_known_is_as_usual_inside(*, guessed: bool) -> None:
    of = ListOf(ListOf(Text()))
    assert item_of(Extent(100.0, 5.0, guessed), of) == Extent(20.0, 4.0, guessed)
    item = item_of(Extent(100.0, 5.0, guessed), ListOf(PERSON))
    usual = typed_extent(PERSON)
    assert usual.parts is not None
    assert item.parts is not None
    assert (item.tokens, item.guessed) == (20.0, guessed)
    assert item.parts["name"].tokens == pytest.approx(20.0 * usual.parts["name"].tokens / usual.tokens)


def test_a_part_of_which_nobody_knows_is_guessed_whatever_is_known_of_the_whole() -> None:
    usual = typed_extent(PERSON)
    assert usual.parts is not None
    for name in ("name", "born"):
        part = part_of(Extent(usual.tokens / 2), PERSON, name)
        assert part.guessed
        assert part.tokens == pytest.approx(usual.parts[name].tokens / 2)


def test_what_is_beside_the_text_of_a_message_or_a_passage_is_as_long_as_it_usually_is() -> None:
    """Roles are words, one as frequent as the other; a source is a file's name and a place in it."""
    message, passage = Extent(90.0), Extent(200.0)
    assert part_of(message, Message(), "text") == message
    assert part_of(message, Message(), "role").tokens == (len("user") + len("assistant")) / 4 / 2
    assert part_of(passage, Passage(), "source").tokens == SOURCE_TOKENS
    assert part_of(passage, Passage(), "score") == typed_extent(Number())
