"""Which passages an answer is said to rest on."""

from harmonia_compiler.contract.component import Component, Port
from harmonia_compiler.contract.program import Call, Parameter
from harmonia_compiler.runtime.gateway.returned import passages_used
from tests.gateway.fakes import PASSAGES, TEXT, program

#: An answer from what was found and from what was found before.
ANSWER = Component("answer", "llm", "llm", (Port("earlier", PASSAGES), Port("found", PASSAGES), Port("q", TEXT)), TEXT)
PROGRAM = program(
    "p",
    (Parameter("question"), Call("answer", ("earlier", "found", "q"), (0, 0, 0))),
    components={"answer": ANSWER},
)


def test_of_several_lists_the_last_that_the_answering_call_was_given() -> None:
    given = {"earlier": [{"text": "old"}], "found": [{"text": "new"}], "q": "?"}
    assert passages_used(PROGRAM, ("answer", given), "yes") == [{"text": "new"}]
    # What has a default may be left out of a call.
    assert passages_used(PROGRAM, ("answer", {"earlier": given["earlier"], "q": "?"}), "yes") == [{"text": "old"}]


def test_none_where_no_call_gives_the_answer_or_it_was_given_none() -> None:
    assert passages_used(PROGRAM, None, "yes") == []
    assert passages_used(PROGRAM, ("answer", {"q": "?"}), "yes") == []
