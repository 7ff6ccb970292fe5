"""What holds of every function of the language, and what each one gives."""

import copy
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.types import ListOf, Message, Number, Passage, Text, Type, Vector, mismatch
from harmonia_compiler.functions.function import Function
from harmonia_compiler.functions.registry import function_names, functions
from harmonia_compiler.kinds.extents import USUAL_ITEMS
from harmonia_compiler.kinds.kind import Extent

EVERY_FUNCTION = pytest.mark.parametrize("function", functions().values(), ids=lambda function: function.name)
NOTHING: dict[str, int] = {}
PASSAGES = ListOf(Passage())


def passage(text: str, source: str = "s") -> dict[str, Any]:
    return {"text": text, "source": source, "score": 0.5}


LISTS = st.lists(st.lists(st.sampled_from([passage(text) for text in "abcdefg"]), max_size=6), max_size=4)


def test_the_functions_are_those_of_the_folder() -> None:
    assert function_names() == ("count", "flatten", "fuse", "take")
    assert tuple(functions()) == function_names()


@EVERY_FUNCTION
def test_a_function_is_whole(function: Function) -> None:
    names = [parameter.name for parameter in function.parameters]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)
    assert function.doc.endswith(".")
    assert all(
        function.parameter(name) is parameter for name, parameter in zip(names, function.parameters, strict=True)
    )
    assert function.parameter("other") is None
    # A value never stands behind a constant, so that values go by position.
    constant = [parameter.constant for parameter in function.parameters]
    assert constant == sorted(constant)
    for parameter in function.parameters:
        assert parameter.default is None or parameter.constant
        assert parameter.minimum <= (parameter.default or parameter.minimum) <= parameter.maximum


@EVERY_FUNCTION
@pytest.mark.parametrize("of", [Text(), Number(), Passage(), Message(), Vector()], ids=lambda of: type(of).__name__)
def test_a_function_takes_lists_alone(function: Function, of: Type) -> None:
    assert function.result_type([of]) is None


@EVERY_FUNCTION
@given(LISTS)
def test_the_value_is_of_the_type_and_what_was_given_stays_as_it_was(function: Function, lists: list[Any]) -> None:
    before = copy.deepcopy(lists)
    settings = {parameter.name: 2 for parameter in function.parameters if parameter.constant}
    of = function.result_type([ListOf(PASSAGES)])
    assert of is not None
    assert mismatch(function.evaluate([lists], settings), of) is None
    assert lists == before


@pytest.mark.parametrize(
    ("name", "given_type", "result"),
    [
        ("count", ListOf(Text()), Number()),
        ("count", ListOf(None), Number()),
        ("flatten", ListOf(ListOf(Text())), ListOf(Text())),
        ("flatten", ListOf(ListOf(None)), ListOf(None)),
        ("flatten", ListOf(None), ListOf(None)),
        ("flatten", ListOf(Text()), None),
        ("take", ListOf(Text()), ListOf(Text())),
        ("take", ListOf(None), ListOf(None)),
        ("fuse", ListOf(PASSAGES), PASSAGES),
        ("fuse", ListOf(ListOf(None)), PASSAGES),
        ("fuse", ListOf(None), PASSAGES),
        ("fuse", PASSAGES, None),
        ("fuse", ListOf(ListOf(Text())), None),
    ],
)
def test_types(name: str, given_type: Type, result: Type | None) -> None:
    assert functions()[name].result_type([given_type]) == result


def test_count_flatten_and_take() -> None:
    evaluate = {name: function.evaluate for name, function in functions().items()}
    assert evaluate["count"]([["a", "b"]], NOTHING) == 2
    assert evaluate["count"]([[]], NOTHING) == 0
    assert evaluate["flatten"]([[["a"], [], ["b", "c"]]], NOTHING) == ["a", "b", "c"]
    assert evaluate["take"]([["a", "b", "c"]], {"count": 2}) == ["a", "b"]
    assert evaluate["take"]([["a"]], {"count": 2}) == ["a"]


def fused(*lists: str, **settings: int) -> list[tuple[str, float]]:
    found = functions()["fuse"].evaluate([[[passage(text) for text in found] for found in lists]], settings)
    return [(each["text"], each["score"]) for each in found]


def test_fuse_adds_up_what_the_ranks_are_worth() -> None:
    assert fused("ab", "bc") == [("b", 1 / 62 + 1 / 61), ("a", 1 / 61), ("c", 1 / 62)]


def test_fuse_keeps_the_best_ten_or_as_many_as_it_is_told() -> None:
    assert [text for text, _ in fused("abcdefghijklm")] == list("abcdefghij")
    assert [text for text, _ in fused("abc", "cb", top_k=1)] == ["c"]


def test_fuse_keeps_equals_in_the_order_in_which_they_were_seen() -> None:
    assert [text for text, _ in fused("ab", "ba")] == ["a", "b"]
    assert [text for text, _ in fused("ba", "ab")] == ["b", "a"]


def test_fuse_counts_a_passage_once_in_a_list_and_two_sources_apart() -> None:
    assert fused("aa") == [("a", 1 / 61)]
    both = functions()["fuse"].evaluate([[[passage("a", "one"), passage("a", "two")]]], NOTHING)
    assert [each["source"] for each in both] == ["one", "two"]
    assert functions()["fuse"].evaluate([[]], NOTHING) == []


@given(LISTS, st.randoms(use_true_random=False))
def test_the_order_of_the_lists_does_not_change_a_fused_score(lists: list[Any], chance: Any) -> None:
    shuffled = chance.sample(lists, len(lists))
    fuse = functions()["fuse"].evaluate
    scores = [{each["text"]: each["score"] for each in fuse([some], NOTHING)} for some in (lists, shuffled)]
    assert scores[0] == scores[1]


def test_extents() -> None:
    extent = {name: function.extent for name, function in functions().items()}
    lists = Extent(3200.0, 4.0, item=Extent(800.0, 8.0))
    assert extent["fuse"]([lists], {"top_k": 6}) == Extent(600.0, 6.0)
    assert extent["fuse"]([lists], {"top_k": 100}) == Extent(3200.0, 32.0)
    assert extent["flatten"]([lists], NOTHING) == Extent(3200.0, 32.0)
    assert extent["flatten"]([Extent(3200.0, 4.0)], NOTHING) == Extent(3200.0, 4.0 * USUAL_ITEMS, guessed=True)
    assert extent["take"]([Extent(800.0, 8.0, guessed=True)], {"count": 2}) == Extent(200.0, 2.0, guessed=True)
    assert extent["take"]([Extent(0.0, 0.0)], {"count": 2}) == Extent(0.0, 0.0)
    assert extent["fuse"]([Extent(0.0, 0.0, item=Extent(0.0, 0.0))], NOTHING) == Extent(0.0, 0.0)
    assert extent["count"]([lists], NOTHING).items == 1.0


def test_a_part_of_nested_lists_knows_how_they_are_nested() -> None:
    whole = Extent(120.0, 4.0, item=Extent(30.0, 6.0))
    taken = functions()["take"].extent((whole,), {"count": 2})
    assert taken == Extent(60.0, 2.0, item=Extent(30.0, 6.0))
