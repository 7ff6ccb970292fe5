import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia_compiler.contract.program import Call, Constant, Not, Operation, Parameter, Program, Select
from harmonia_compiler.contract.types import Bool
from harmonia_compiler.flow.graph import Flow
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.policy.stepper import (
    Answer,
    Cancel,
    Command,
    Fail,
    Failed,
    Finished,
    Send,
    Started,
    State,
    advance,
)
from tests.flow.library import application, read_flow
from tests.flow.random_flows import flows
from tests.policy.reference import answer, look, run

ARGUMENTS = {"question": "why?"}


def _program(flow: Flow) -> Program:
    return lower(flow, application(flow))


def _sends(commands: list[Command]) -> dict[int, Send]:
    return {command.position: command for command in commands if isinstance(command, Send)}


@given(flows(), st.data())
@settings(max_examples=300, deadline=None)
def test_in_any_order_of_replies_it_sends_what_the_reference_wants_and_answers_the_same(
    flow: Flow, data: st.DataObject
) -> None:
    program = _program(flow)
    expected, needed = run(program, ARGUMENTS)
    state = State()
    commands = advance(program, state, Started(ARGUMENTS))
    finished: dict[int, object] = {}
    sent: list[int] = []
    while True:
        sends = _sends(commands)
        sent += sends
        _, wanted = look(program, ARGUMENTS, finished)
        assert set(sent) == set(wanted)
        assert all((send.inputs, send.settings) == wanted[at] for at, send in sends.items())
        if not state.in_flight:
            break
        position = data.draw(st.sampled_from(sorted(state.in_flight)))
        call = program.operations[position]
        assert isinstance(call, Call)
        finished[position] = answer(call.component, *wanted[position])
        commands = advance(program, state, Finished(position, finished[position]))
        assert advance(program, state, Finished(position, "late")) == []
        assert advance(program, state, Failed(position, "late")) == []
        assert advance(program, state, Started({"question": "again"})) == []
    assert commands[-1] == Answer(expected)
    assert len(sent) == len(set(sent))
    assert set(sent) == needed
    assert not any(isinstance(command, Cancel) for command in commands)


@given(flows(), st.data())
@settings(max_examples=100, deadline=None)
def test_a_failure_cancels_what_is_in_flight_and_ends_the_request(flow: Flow, data: st.DataObject) -> None:
    program = _program(flow)
    state = State()
    sends = _sends(advance(program, state, Started(ARGUMENTS)))
    rounds = data.draw(st.integers(0, 4))
    while sends and rounds:
        rounds -= 1
        position, send = sends.popitem()
        sends |= _sends(advance(program, state, Finished(position, answer(send.component, send.inputs, send.settings))))
    if not sends:
        return
    position, send = sends.popitem()
    commands = advance(program, state, Failed(position, "it broke"))
    assert commands == [*(Cancel(at) for at in sorted(sends)), Fail(send.component, "it broke")]
    assert all(advance(program, state, Finished(at, "late")) == [] for at in sends)
    assert advance(program, state, Failed(position, "again")) == []


def test_independent_calls_are_in_flight_together() -> None:
    program = _program(
        read_flow("""
        pipeline p(question: text) -> text
          %0 = parameter question : text
          %1 = call rewrite(question: %0) : text
          %2 = call imagine(question: %0) : text
          %3 = call join(one: %1, other: %2) : text
          return %3
        """)
    )
    assert list(_sends(advance(program, State(), Started(ARGUMENTS)))) == [1, 2]


#: A draft is the answer unless a grader dislikes it: nobody knows that while it is written.
_JUDGED = """
    pipeline p(question: text) -> text
      %0 = parameter question : text
      %1 = call recall(question: %0) : text
      %2 = call sure(question: %1) : bool
      %3 = call imagine(question: %0) : text
      %4 = select %2 then %1 else %3 : text
      return stream %4
    """


@pytest.mark.parametrize(("sure", "then_sent"), [(True, []), (False, [(3, True)])])
def test_a_call_streams_only_once_it_is_known_to_be_the_answer(sure: object, then_sent: list[object]) -> None:
    program, state = _program(read_flow(_JUDGED)), State()
    first = _sends(advance(program, state, Started(ARGUMENTS)))
    assert [(send.position, send.streams) for send in first.values()] == [(1, False)]
    second = _sends(advance(program, state, Finished(1, "a draft")))
    assert [(send.position, send.streams) for send in second.values()] == [(2, False)]
    third = advance(program, state, Finished(2, sure))
    assert [(send.position, send.streams) for send in _sends(third).values()] == then_sent
    assert then_sent or third == [Answer("a draft")]


def test_a_flow_that_does_not_stream_streams_nothing() -> None:
    program = _program(read_flow(_JUDGED.replace("return stream", "return")))
    state = State()
    sends = advance(program, state, Started(ARGUMENTS))
    sends += advance(program, state, Finished(1, "a draft")) + advance(program, state, Finished(2, value=False))
    assert [send.streams for send in _sends(sends).values()] == [False, False, False]


DEPTH = 10_000


def test_ten_thousand_operations_deep_it_does_not_recurse() -> None:
    operations: tuple[Operation, ...] = (Parameter("p"), *(Not(at) for at in range(DEPTH)))
    program = Program("deep", (), Bool(), operations, DEPTH, {})
    assert advance(program, State(), Started({"p": True})) == [Answer(value=True)]


def test_ten_thousand_branches_deep_only_the_path_taken_is_walked() -> None:
    operations: tuple[Operation, ...] = (
        Constant(value=True),
        Parameter("p"),
        *(Select(0, at, at) for at in range(1, DEPTH)),
    )
    program = Program("deep", (), Bool(), operations, DEPTH, {}, streams=True)
    state = State()
    assert advance(program, state, Started({"p": "text"})) == [Answer("text")]
