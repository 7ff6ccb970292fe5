"""What the stepper does with one program after another: each test is a sentence of the language's meaning."""

from collections.abc import Sequence
from typing import Any

import pytest

from harmonia_compiler.contract.program import (
    MOST_ITEMS,
    After,
    Apply,
    Argument,
    Attempt,
    Block,
    Call,
    Compare,
    Concat,
    Constant,
    Each,
    GetField,
    MakeList,
    MakeRecord,
    Not,
    Operation,
    Output,
    Parameter,
    Repeat,
    Select,
    Whole,
)
from harmonia_compiler.contract.types import Bool, Field, ListOf, Passage, Record, Text
from harmonia_compiler.policy.heading import answering_call, given_to_answer
from tests.policy.driven import Request
from tests.policy.programs import TEXTS, call, program

Q = Parameter("question")


def request(*operations: Operation, blocks: tuple[Block, ...] = (), **more: Any) -> Request:
    return Request(program(*operations, blocks=blocks, **more))


# --- calls and branches --------------------------------------------------------------------------------------------


def test_independent_calls_are_in_flight_together_and_the_answer_ends_the_request() -> None:
    asked = request(Q, call("say", 0), call("say", 0), call("join", 1, 2))
    assert asked.start() == ["say", "say2"]
    assert asked.finish("say2", "b") == []
    assert asked.finish("say", "a") == ["join"]
    assert asked.sends["join"].inputs == {"one": "a", "other": "b"}
    assert asked.finish("join", "c") == ["answer c"]
    assert asked.finish("join", "late") == []
    assert asked.start() == []


def test_only_the_arm_that_is_taken_runs() -> None:
    for taken, expected in ((True, ["say"]), (False, ["join"])):
        asked = request(Q, call("sure", 0), call("say", 0), call("join", 0, 0), Select(1, 2, 3))
        assert asked.start() == ["sure"]
        assert asked.finish("sure", taken) == expected


@pytest.mark.parametrize(
    ("sign", "holds"),
    [
        ("==", (False, True, False)),
        ("!=", (True, False, True)),
        ("<", (True, False, False)),
        ("<=", (True, True, False)),
        (">", (False, False, True)),
        (">=", (False, True, True)),
    ],
)
def test_comparisons_at_their_border(sign: Any, holds: Sequence[bool]) -> None:
    for value, expected in zip((1, 2, 3), holds, strict=True):
        asked = request(Constant(value), Constant(2), Compare(sign, 0, 1), result_type=Bool())
        assert asked.start() == [f"answer {expected}"]


def test_a_call_s_own_settings_go_before_its_component_s() -> None:
    asked = request(Q, call("note", 0, pure=True, top_k=3))
    asked.start()
    assert asked.sends["note"].settings == {"pure": True, "top_k": 3}


def test_values_that_no_call_gives() -> None:
    pair = Record((Field("a", Text()), Field("b", TEXTS)))
    operations = (
        Constant("x"),
        MakeList((0, 0)),
        Constant(["y"]),
        Concat(1, 2),
        MakeRecord(("a", "b"), (0, 3)),
        GetField(4, "b"),
        Apply("take", (5,), {"count": 2}),
        MakeRecord(("a", "b"), (0, 6)),
    )
    assert request(*operations, result_type=pair).start() == ["answer {'a': 'x', 'b': ['x', 'x']}"]
    assert request(Constant(value=True), Not(0), result_type=Bool()).start() == ["answer False"]


def test_a_failure_ends_the_request_and_what_is_in_flight() -> None:
    asked = request(Q, call("say", 0), call("sure", 0), call("join", 1, 2))
    assert asked.start() == ["say", "sure"]
    assert asked.fail("say") == ["cancel sure", "fail say: it broke"]
    assert asked.finish("sure", value=True) == []


def test_what_is_in_flight_when_the_answer_is_there_is_cancelled() -> None:
    asked = request(Q, call("sure", 0), call("say", 0), Constant("no"), Select(1, 2, 3, early=(2,)))
    assert asked.start() == ["sure", "say"]
    assert asked.finish("sure", value=False) == ["cancel say", "answer no"]


# --- loops ---------------------------------------------------------------------------------------------------------

#: x = say(x) until sure(x); note is what only a next round reads.
ROUND = Block((Argument(0), call("say", 0), call("sure", 1)), (2, 1))


def test_a_round_begins_with_what_the_one_before_has_bound() -> None:
    asked = request(Q, Repeat(0, (0,), 1, 3), Output(1, 0), blocks=(ROUND,))
    assert asked.start() == ["say"]
    assert asked.finish("say", "a") == ["sure"]
    assert asked.finish("sure", value=False) == ["say2"]
    assert asked.sends["say2"].inputs == {"q": "a"}
    assert asked.sends["say2"].path == (("round", 2),)
    assert asked.finish("say2", "b") == ["sure2"]
    assert asked.finish("sure2", value=True) == ["answer b"]


def test_nobody_asks_whether_the_last_round_that_there_can_be_is_the_last() -> None:
    asked = request(Q, Repeat(0, (0,), 1, 1), Output(1, 0), blocks=(ROUND,))
    assert asked.start() == ["say"]
    assert asked.finish("say", "a") == ["answer a"]


def test_what_only_a_next_round_reads_is_not_computed_in_the_last() -> None:
    refine = Block((Argument(0), call("say", 0), call("sure", 1), call("join", 1, 1)), (2, 3, 1))
    asked = request(Q, Repeat(0, (0,), 1, 3), Output(1, 1), blocks=(refine,))
    asked.start()
    asked.finish("say", "a")
    assert asked.finish("sure", value=True) == ["answer a"]


def test_an_answer_out_of_the_middle_of_a_loop() -> None:
    """`results[0]` says that the block has answered; what would come after the loop is not computed."""
    early = Block((Argument(0), call("sure", 0), call("say", 0)), (1, 0, 1, 2))
    asked = request(
        Q,
        Repeat(0, (0,), 1, 5),
        Output(1, 1),
        Output(1, 2),
        call("join", 0, 0),
        Select(2, 3, 4),
        blocks=(early,),
    )
    assert asked.start() == ["sure"]
    assert asked.finish("sure", value=False) == ["sure2"]
    assert asked.finish("sure2", value=True) == ["say"]
    assert asked.sends["say"].streams
    assert asked.finish("say", "a") == ["answer a"]


def test_a_call_after_a_loop_streams() -> None:
    asked = request(Q, Repeat(0, (0,), 1, 2), Output(1, 0), call("join", 0, 2), blocks=(ROUND,))
    asked.start()
    asked.finish("say", "a")
    assert asked.finish("sure", value=True) == ["join"]
    assert {name: send.streams for name, send in asked.sends.items()} == {"say": False, "sure": False, "join": True}


# --- lists ---------------------------------------------------------------------------------------------------------

ITEM = Block((Argument(0), call("say", 0)), (1,))


def test_items_are_worked_on_side_by_side_and_keep_their_order() -> None:
    asked = request(Constant(["a", "b"]), Each(0, (0,), ()), blocks=(ITEM,), result_type=TEXTS)
    assert asked.start() == ["say", "say2"]
    assert asked.sends["say2"].path == (("item", 2),)
    assert asked.finish("say2", "B") == []
    assert asked.finish("say", "A") == ["answer ['A', 'B']"]


BESIDES = Block((Argument(0), Argument(1), call("join", 0, 0), call("join", 2, 1)), (3,))


def test_items_begin_what_does_not_read_a_further_list_before_that_is_there() -> None:
    lists = (Constant(["a", "b"]), call("say", 0, over=("q",)))
    asked = request(*lists, Each(0, (0, 1), ()), blocks=(BESIDES,), result_type=TEXTS)
    assert asked.start() == ["join", "say", "join2"]
    assert asked.finish("say", ["A", "B"]) == []
    assert asked.finish("join", "1") == ["join3"]
    assert asked.sends["join3"].inputs == {"one": "1", "other": "A"}
    assert asked.finish("join2", "2") == ["join4"]
    assert asked.sends["join4"].inputs == {"one": "2", "other": "B"}


def test_a_further_list_that_is_not_as_long_is_a_failure_where_an_item_reads_it() -> None:
    lists = (Constant(["a", "b"]), Constant(["c"]))
    reads, leaves = Block((Argument(0), Argument(1)), (1,)), Block((Argument(0), Argument(1)), (0,))
    (told,) = request(*lists, Each(0, (0, 1), ()), blocks=(reads,), result_type=TEXTS).start()
    assert told.startswith("fail None: lists of 1 and 2 items")
    assert request(*lists, Each(0, (0, 1), ()), blocks=(leaves,), result_type=TEXTS).start() == ["answer ['a', 'b']"]


def test_no_items_give_an_empty_list() -> None:
    assert request(Constant([]), Each(0, (0,), ()), blocks=(ITEM,), result_type=TEXTS).start() == ["answer []"]


def test_too_many_items_are_a_failure_that_can_be_caught() -> None:
    items = Constant(["x"] * (MOST_ITEMS + 1))
    (told,) = request(items, Each(0, (0,), ()), blocks=(ITEM,), result_type=TEXTS).start()
    assert told.startswith("fail None: a list of 257 items")
    caught = Block((Argument(0), Each(0, (0,), ())), (1,))
    operations = (items, Constant([]), Attempt(1, (0,), otherwise=1))
    assert request(*operations, blocks=(ITEM, caught), result_type=TEXTS).start() == ["answer []"]


def test_one_call_for_all_items() -> None:
    asked = request(Constant(["a", "b"]), call("say", 0, over=("q",)), result_type=TEXTS)
    assert asked.start() == ["say"]
    assert (asked.sends["say"].over, asked.sends["say"].inputs) == (("q",), {"q": ["a", "b"]})
    assert asked.finish("say", ["A", "B"]) == ["answer ['A', 'B']"]
    assert request(Constant([]), call("say", 0, over=("q",)), result_type=TEXTS).start() == ["answer []"]


# --- fallbacks -----------------------------------------------------------------------------------------------------

ASKS = Block((Argument(0), call("say", 0)), (1,))


def test_else_stands_in_for_what_fails_and_is_not_asked_before() -> None:
    asked = request(Q, call("join", 0, 0), Attempt(0, (0,), otherwise=1), blocks=(ASKS,))
    assert asked.start() == ["say"]
    assert asked.fail("say") == ["join"]
    assert asked.finish("join", "instead") == ["answer instead"]


def test_a_failure_of_what_only_feeds_an_attempt_is_not_caught() -> None:
    asked = request(Q, call("join", 0, 0), Constant("instead"), Attempt(0, (1,), otherwise=2), blocks=(ASKS,))
    assert asked.start() == ["join"]
    assert asked.fail("join") == ["fail join: it broke"]


def test_the_innermost_attempt_that_has_an_else_catches() -> None:
    outer = Block((Argument(0), Attempt(0, (0,))), (1,))
    asked = request(Q, Constant("outer"), Attempt(1, (0,), otherwise=1), blocks=(ASKS, outer))
    asked.start()
    assert asked.fail("say") == ["answer outer"]


def test_a_failure_of_the_fallback_is_not_caught_by_the_attempt_that_it_stands_in_for() -> None:
    asked = request(Q, call("join", 0, 0), Attempt(0, (0,), otherwise=1), blocks=(ASKS,))
    asked.start()
    asked.fail("say")
    assert asked.fail("join") == ["fail join: it broke"]


def test_the_clock_runs_from_when_the_inputs_are_there() -> None:
    late = Attempt(0, (1,), within_ms=800.0, otherwise=2, awaits=(1,))
    asked = request(Q, call("join", 0, 0), Constant("instead"), late, blocks=(ASKS,))
    assert asked.start() == ["join"]
    assert sorted(asked.finish("join", "fed")) == ["say", "wait 800"]
    assert asked.elapse() == ["cancel say", "answer instead"]


def test_in_time_the_clock_is_stopped() -> None:
    asked = request(Q, Constant("instead"), Attempt(0, (0,), within_ms=5.0, otherwise=1), blocks=(ASKS,))
    asked.start()
    assert sorted(asked.finish("say", "a")) == ["answer a", "stop"]
    assert asked.elapse() == []


def test_lateness_without_else_names_what_was_at_work() -> None:
    asked = request(Q, Attempt(0, (0,), within_ms=5.0), blocks=(ASKS,))
    asked.start()
    assert asked.elapse() == ["cancel say", "late say: no answer within 5 ms"]


def test_a_text_that_has_begun_to_leave_cannot_be_replaced() -> None:
    asked = request(Q, Constant("instead"), Attempt(0, (0,), within_ms=5.0, otherwise=1), blocks=(ASKS,))
    asked.start()
    assert asked.sends["say"].streams
    assert asked.begin("say") == ["stop"]
    assert asked.fail("say") == ["fail say: it broke"]


def test_all_calls_of_an_attempt_are_cancelled_with_it_and_none_outside() -> None:
    both = Block(
        (Argument(0), call("say", 0), call("many", 0), Apply("count", (2,)), call("join", 1, 1), After(3, 4)), (5,)
    )
    asked = request(
        Q,
        Constant("instead"),
        Attempt(0, (0,), within_ms=5.0, otherwise=1),
        call("sure", 0),
        call("join", 2, 3),
        blocks=(both,),
    )
    assert sorted(asked.start()) == ["many", "say", "sure", "wait 5"]
    assert sorted(asked.elapse()) == ["cancel many", "cancel say"]
    assert asked.finish("sure", value=True) == ["join"]


def test_what_only_a_cancelled_block_awaited_outside_is_cancelled_with_it() -> None:
    """An argument that one path of the block needs has been demanded outside; nobody else wants it."""
    chooses = Block((Argument(0), Argument(1), call("sure", 0), Select(2, 1, 0)), (3,))
    asked = request(
        Q, call("join", 0, 0), Constant("instead"), Attempt(0, (0, 1), within_ms=5.0, otherwise=2), blocks=(chooses,)
    )
    assert sorted(asked.start()) == ["sure", "wait 5"]
    assert asked.finish("sure", value=True) == ["join"]
    assert asked.elapse() == ["cancel join", "answer instead"]


# --- speculation ---------------------------------------------------------------------------------------------------

GUESS = (Q, call("sure", 0), call("say", 0), call("join", 0, 0), Select(1, 2, 3, early=(2,)))


def test_what_was_begun_early_and_is_needed_goes_on() -> None:
    asked = request(*GUESS)
    assert asked.start() == ["sure", "say"]
    assert not asked.sends["say"].streams
    assert asked.finish("sure", value=True) == []
    assert asked.finish("say", "a") == ["answer a"]


def test_what_was_begun_early_in_vain_is_cancelled() -> None:
    asked = request(*GUESS)
    asked.start()
    assert asked.finish("sure", value=False) == ["cancel say", "join"] or asked.sends.keys() == {"sure", "say", "join"}
    assert asked.finish("join", "b") == ["answer b"]


def test_a_failure_of_what_was_begun_early_counts_only_if_it_is_needed() -> None:
    asked = request(*GUESS)
    asked.start()
    assert asked.fail("say") == []
    assert asked.finish("sure", value=True) == ["say2"]
    assert asked.fail("say2") == ["fail say: it broke"]
    asked = request(*GUESS)
    asked.start()
    asked.fail("say")
    assert asked.finish("sure", value=False) == ["join"]


def test_what_is_not_pure_is_not_begun_early() -> None:
    asked = request(Q, call("sure", 0), call("note", 0), Constant("no"), Select(1, 2, 3, early=(2,)))
    assert asked.start() == ["sure"]
    assert asked.finish("sure", value=True) == ["note"]


# --- order ---------------------------------------------------------------------------------------------------------


def test_calls_that_are_not_pure_wait_for_those_before_whatever_they_read() -> None:
    asked = request(Q, call("note", 0), call("note", 0, after=1), call("say", 0), After(2, 3))
    assert sorted(asked.start()) == ["note", "say"]
    assert asked.finish("say", "a") == []
    assert asked.finish("note", "1") == ["note2"]
    assert asked.finish("note2", "2") == ["answer a"]


@pytest.mark.parametrize("noted", [call("note", 0), call("say", 0, pure=False)])
@pytest.mark.parametrize("fails", [True, False])
def test_a_call_that_is_not_pure_is_made_once_though_nothing_awaits_it_for_a_while(*, noted: Call, fails: bool) -> None:
    """It goes on, and what became of it holds when it is needed again; its component says so, or the call itself."""
    late = Attempt(0, (1,), within_ms=5.0, otherwise=2)
    asked = request(
        Q, noted, Constant("instead"), late, call("sure", 3), call("join", 3, 1), Select(4, 5, 3), blocks=(ASKS,)
    )
    name = noted.component
    assert sorted(asked.start()) == [name, "wait 5"]
    assert asked.elapse() == ["sure"]
    assert (asked.fail(name) if fails else asked.finish(name, "noted")) == []
    assert asked.finish("sure", value=True) == ([f"fail {name}: it broke"] if fails else ["join"])


# --- the answer ----------------------------------------------------------------------------------------------------


def test_a_call_streams_only_once_it_is_known_to_be_the_answer() -> None:
    asked = request(Q, call("say", 0), call("sure", 1), call("join", 0, 0), Select(2, 1, 3))
    assert asked.start() == ["say"]
    assert not asked.sends["say"].streams
    asked.finish("say", "a draft")
    assert asked.finish("sure", value=False) == ["join"]
    assert asked.sends["join"].streams


def test_a_program_that_does_not_stream_streams_nothing() -> None:
    asked = request(Q, call("say", 0), streams=False)
    asked.start()
    assert not asked.sends["say"].streams


def test_of_what_is_whole_nothing_streams_and_it_is_the_answer_all_the_same() -> None:
    """What a plain `return` gives beside others that stream: the call behind it is known, for what the answer says."""
    asked = request(Q, call("sure", 0), call("say", 0), call("join", 0, 0), Whole(3), Select(1, 2, 4))
    asked.start()
    assert asked.finish("sure", value=False) == ["join"]
    assert not asked.sends["join"].streams
    assert asked.finish("join", "b") == ["answer b"]
    assert answering_call(asked.program, asked.state) == asked.sends["join"].call
    assert given_to_answer(asked.program, asked.state) == ("join", {"one": "why?", "other": "why?"})


def test_one_call_streams_where_it_is_returned_so_and_not_where_it_is_whole() -> None:
    for streamed in (True, False):
        asked = request(Q, call("sure", 0), call("say", 0), Whole(2), Select(1, 2, 3))
        asked.start()
        assert asked.finish("sure", value=streamed) == ["say"]
        assert asked.sends["say"].streams is streamed


def test_what_is_whole_keeps_its_time_to_the_end() -> None:
    """Nothing of it has left, so that what comes late is still caught."""
    asked = request(Q, Attempt(0, (0,), within_ms=5.0, otherwise=2), Constant("instead"), Whole(1), blocks=(ASKS,))
    assert sorted(asked.start()) == ["say", "wait 5"]
    assert not asked.sends["say"].streams
    assert asked.elapse() == ["cancel say", "answer instead"]


def test_of_a_record_the_first_text_is_the_answer() -> None:
    of = Record((Field("sure", Bool()), Field("text", Text()), Field("found", ListOf(Passage()))))
    asked = request(
        Q,
        call("sure", 0),
        call("say", 0),
        Constant([]),
        MakeRecord(("sure", "text", "found"), (1, 2, 3)),
        result_type=of,
    )
    asked.start()
    assert answering_call(asked.program, asked.state) == asked.sends["say"].call
    assert given_to_answer(asked.program, asked.state) == ("say", {"q": "why?"})


# --- sizes ---------------------------------------------------------------------------------------------------------

DEPTH = 10_000


def test_ten_thousand_operations_deep_it_does_not_recurse() -> None:
    operations: tuple[Operation, ...] = (Constant(value=True), *(Not(at) for at in range(DEPTH)))
    assert request(*operations, result_type=Bool()).start() == ["answer True"]


def test_ten_thousand_branches_deep_only_the_path_taken_is_walked() -> None:
    operations: tuple[Operation, ...] = (Constant(value=True), Q, *(Select(0, at, at) for at in range(1, DEPTH)))
    assert request(*operations).start() == ["answer why?"]


def test_a_hundred_rounds_of_256_items_do_not_recurse() -> None:
    item = Block((Argument(0), MakeList((0,))), (1,))
    each = Block((Argument(0), Each(0, (0,), ()), Apply("flatten", (1,)), Constant(value=False)), (3, 2))
    asked = request(
        Constant(["x"] * MOST_ITEMS), Repeat(1, (0,), 1, 100), Output(1, 0), Apply("count", (2,)), blocks=(item, each)
    )
    assert asked.start() == [f"answer {MOST_ITEMS}"]
