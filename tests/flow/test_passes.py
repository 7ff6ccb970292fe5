"""Each pass against its text fixture, and every pass against the reference interpreter."""

import re
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import iter_modules
from random import Random

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harmonia_compiler.contract.program import Argument, Block, Call, Each, Operation, Parameter, Program
from harmonia_compiler.contract.types import ListOf, Text, Value, fits
from harmonia_compiler.flow import passes as package
from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.flow.passes.definition import Context, Pass
from harmonia_compiler.flow.passes.registry import PASSES, apply, optimise, selected
from harmonia_compiler.flow.takes import Takes
from harmonia_compiler.flow.text import show_flow
from harmonia_compiler.policy.events import Answer, Command, Event, Fail, Finished
from tests.examples import examples
from tests.flow.library import KINDS, application, read_flow
from tests.flow.random_flows import BLOCK_KINDS, EACH_MADE, flows, make_flow, with_blocks
from tests.policy.programs import ARGUMENTS as BLOCK_ARGUMENTS
from tests.policy.programs import call, program
from tests.policy.random_programs import make_program, programs
from tests.policy.reference import Bad, Ok, Reference, from_the_library, run
from tests.policy.test_random_programs import SEEDS, Driven, check

FIXTURES = Path(__file__).parent / "passes"


def _cases() -> list[object]:
    cases: list[object] = []
    for each in PASSES:
        text = (FIXTURES / f"{each.name}.txt").read_text(encoding="utf-8")
        for case in re.split(r"^# ", text, flags=re.MULTILINE)[1:]:
            title, _, body = case.partition("\n")
            before, after = body.split("---\n")
            cases.append(pytest.param(each, before, after.strip() + "\n", id=f"{each.name}: {title}"))
    return cases


#: About how long a call of each of the library's components takes, for the pass that asks.
TAKES = Takes(
    {
        "sure": 200.0,
        "judge": 250.0,
        "grade": 250.0,
        "embed": 10.0,
        "search": 20.0,
        "answer": 900.0,
        "write": 900.0,
        "rewrite": 100.0,
        "web": 150.0,
        "count": 50.0,
    },
    deviation=0.2,
)


#: The same of the components of random programs with blocks: as most often, a test takes longer than what it is about.
BLOCK_TAKES = Takes({"sure": 50.0, "say": 3.0, "join": 2.0, "draw": 2.0, "many": 4.0, "note": 5.0}, 0.2)


def _rewrite(each: Pass, flow: Flow) -> Flow:
    return each.rewrite(flow, Context(application(flow), KINDS, TAKES))


@pytest.mark.parametrize(("each", "before", "after"), _cases())
def test_the_pass_gives_the_text_of_its_fixture(each: Pass, before: str, after: str) -> None:
    assert show_flow(_rewrite(each, read_flow(before))) == after


def test_every_pass_and_no_other_has_its_file_its_fixture_and_its_place() -> None:
    modules = {found.name for found in iter_modules(package.__path__)} - {"definition", "likeness", "registry"}
    assert modules == {each.name for each in PASSES} == {path.stem for path in FIXTURES.iterdir()}


@given(flows(), SEEDS)
@examples(150)
def test_every_pass_keeps_answers_and_types_and_is_idempotent(flow: Flow, seed: int) -> None:
    arguments = {"question": "why?"}
    expected, _ = run(lower(flow, application(flow)), arguments)
    for each in PASSES:
        after = _rewrite(each, flow)
        if after == flow:
            continue
        assert _rewrite(each, after) == after
        assert run(lower(after, application(after)), arguments)[0] == expected
        assert after.nodes[after.result].type == flow.nodes[flow.result].type
        assert msgspec.structs.replace(after, nodes=(), result=0) == msgspec.structs.replace(flow, nodes=(), result=0)
    together = optimise(application(flow), kinds=KINDS, takes=TAKES)
    assert optimise(together, kinds=KINDS, takes=TAKES) == together
    driven = Driven(lower(together.flows[0], together), seed, answers=from_the_library).run()
    check(driven)
    assert driven.ended == Answer(expected)


def _wished(flow: Flow, made: Application, wished: str) -> Ok | Bad:
    """What comes of a request whose wish for its answer every call that it reaches heeds."""
    program = lower(flow, made)

    def dressed(operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
        return tuple(
            msgspec.structs.replace(each, settings={**each.settings, "stop": wished})
            if isinstance(each, Call) and each.may_answer
            else each
            for each in operations
        )

    blocks = tuple(msgspec.structs.replace(block, operations=dressed(block.operations)) for block in program.blocks)
    request = msgspec.structs.replace(program, operations=dressed(program.operations), blocks=blocks)
    return Reference(request, BLOCK_ARGUMENTS).run()


@given(programs())
@examples(300)
def test_what_a_request_wishes_for_its_answer_reaches_what_it_reached_before_the_passes(program: Program) -> None:
    flow, made = with_blocks(program)
    runners = [node.operation for body in flow.bodies for node in body.nodes if isinstance(node.operation, Each)]
    assume(all(len(each.lists) == 1 for each in runners))
    before, after = (
        _wished(each, made, "x") for each in (flow, apply(PASSES, flow, Context(made, BLOCK_KINDS, BLOCK_TAKES)))
    )
    assume(isinstance(before, Ok))
    assert isinstance(before, Ok)
    assert isinstance(after, Ok)
    assert after.value == before.value


def _items(component: str, inputs: Mapping[str, Value]) -> list[str]:
    """What each item of a call is given, so that a call for many is told as its items' calls would be."""
    lists = {port: value for port, value in inputs.items() if isinstance(value, list)}
    rest = {port: value for port, value in inputs.items() if port not in lists}
    items = [dict(zip(lists, item, strict=True)) for item in zip(*lists.values(), strict=True)] if lists else [{}]
    return [repr((component, sorted({**rest, **item}.items()))) for item in items]


class _ByItems(Driven):
    """One request of a flow in which a call for many fails where one of its items' calls would."""

    def fails(self, component: str, inputs: Mapping[str, Value]) -> bool:
        return bool(self.failing) and any(
            zlib.crc32(text.encode()) % self.failing == 0 for text in _items(component, inputs)
        )


@dataclass
class _Observed:
    """One request of a flow: what came of it, and what was asked of each component, item by item.

    `each_made` is what was asked of those whose equal calls do not stand for each other.
    """

    request: Reference
    outcome: Ok | Bad
    asked: Counter[str]
    each_made: Counter[str]


def _observed(flow: Flow, made: Application, failing: int) -> _Observed:
    """By the reference, which makes no call before it is needed."""
    asked, each_made = Counter[str](), Counter[str]()
    driven = _ByItems(lower(flow, made), 0, failing)

    def fails(component: str, inputs: Mapping[str, Value]) -> bool:
        asked.update(_items(component, inputs))
        each_made.update(_items(component, inputs) if component in EACH_MADE else ())
        return driven.fails(component, inputs)

    request = Reference(driven.program, BLOCK_ARGUMENTS, fails=fails)
    return _Observed(request, request.run(), asked, each_made)


@given(programs(), SEEDS, st.sampled_from((0, 0, 3, 6)))
@examples(600)
def test_with_loops_lists_and_fallbacks_every_pass_keeps_what_comes_of_a_request(
    program: Program, seed: int, failing: int
) -> None:
    flow, made = with_blocks(program)
    # Only passes work on several lists at once, which are equally long then; the program's own may not be.
    runners = [node.operation for body in flow.bodies for node in body.nodes if isinstance(node.operation, Each)]
    assume(all(len(each.lists) == 1 for each in runners))
    before = _observed(flow, made, failing)
    assume(not before.request.ambiguous)
    context = Context(made, BLOCK_KINDS, BLOCK_TAKES)
    for name, chosen in [*((each.name, (each,)) for each in PASSES), ("all", PASSES)]:
        passed = apply(chosen, flow, context)
        if passed == flow:
            continue
        assert apply(chosen, passed, context) == passed, f"{name} does more the second time"
        after = _observed(passed, made, failing)
        assume(not after.request.ambiguous)
        if isinstance(before.outcome, Ok):
            assert isinstance(after.outcome, Ok), name
            assert after.outcome.value == before.outcome.value, name
            assert after.asked <= before.asked, f"{name} asks what nobody asked"
            assert after.each_made == before.each_made, f"{name} merges or leaves out what is made each time"
        else:
            assert isinstance(after.outcome, Bad), name
        if name in ("speculate", "all"):
            # What is begun early is begun, and left where it was a wrong guess.
            driven = _ByItems(lower(passed, made), seed, failing).run()
            check(driven)
            assert isinstance(driven.ended, Fail if isinstance(after.outcome, Bad) else Answer), name


@dataclass
class _Clocked(Driven):
    """One request whose calls each take as long as their component's do; `now` is how long it has taken."""

    takes: Mapping[str, float] = field(default_factory=dict)
    now: float = 0.0
    due: dict[int, float] = field(default_factory=dict)

    def take(self, commands: list[Command]) -> None:
        super().take(commands)
        for number, send in self.open_calls.items():
            self.due.setdefault(number, self.now + self.takes[send.component])

    def choose(self, chance: Random) -> Event:
        number = min(self.open_calls, key=lambda each: (self.due[each], each))
        self.now = self.due[number]
        send = self.open_calls[number]
        value = self.answers(self.program.components[send.component], send.inputs, send.settings, send.over)
        return Finished(number, value)


def _of_items(chance: Random) -> Program:
    """A list whose items each ask several things, of themselves and of what is around them."""
    asked: list[Operation] = [Argument(0), Argument(1)]
    for _ in range(chance.randint(2, 6)):
        one, other = chance.choices(range(len(asked)), k=2)
        asked.append(chance.choice((call("say", one), call("join", one, other))))
    last = len(asked) - 1
    block = Block((*asked, call("join", last, last - 1)), (last + 1,))
    around = (Parameter("question"), call("many", 0), call("say", 0), Each(0, (1,), (2,)))
    return program(*around, blocks=(block,), result_type=ListOf(Text()))


@given(SEEDS)
@examples(200)
def test_an_engine_that_is_asked_once_for_all_items_keeps_nobody_waiting(seed: int) -> None:
    """What an item asks besides, of itself or of what is around it, does not wait for what all of them ask."""
    chance = Random(seed)
    flow, made = with_blocks(_of_items(chance))
    (batch_each,) = [each for each in PASSES if each.name == "batch_each"]
    batched = apply((batch_each,), flow, Context(made, BLOCK_KINDS))
    assume(batched != flow)
    takes = {name: chance.choice((1.0, 3.0, 10.0, 30.0, 100.0)) for name in made.components}
    before, after = (_Clocked(lower(each, made), 0, takes=takes) for each in (flow, batched))
    before.run()
    after.run()
    assert after.ended == before.ended
    assert after.now <= before.now


def _changes(flow: Flow, made: Application, context: Context) -> set[str]:
    """The passes that change what is executed of a flow; of the one that drops what nothing reads, the flow."""
    program = lower(flow, made)
    passed = {each.name: each.rewrite(flow, context) for each in PASSES}
    found = {name for name, after in passed.items() if lower(after, made) != program}
    return found | ({"dead_code"} if passed["dead_code"] != flow else set())


def test_every_pass_changes_some_of_the_random_flows_and_guesses_are_made() -> None:
    """So that what is said of every pass over random flows says something of each."""
    changed, with_blocks_changed, guessing = Counter[str](), Counter[str](), 0
    for seed in range(80):
        flow = make_flow(Random(seed), 1 + seed % 14)
        changed.update(_changes(flow, application(flow), Context(application(flow), KINDS, TAKES)))
        flow, made = with_blocks(make_program(Random(seed), 1 + seed % 16, early=False))
        context = Context(made, BLOCK_KINDS, BLOCK_TAKES)
        with_blocks_changed.update(_changes(flow, made, context))
        guessing += Driven(lower(apply(PASSES, flow, context), made), seed).run().guesses > 0
    least = {"expand_retrieval": 8, "order_prompts": 8, "speculate": 8, "common_subexpressions": 2}
    assert {name for name, number in least.items() if changed[name] < number} == set(), changed
    least = {"hoist_invariants": 8, "order_prompts": 8, "speculate": 8, "common_subexpressions": 3, "batch_each": 3}
    assert {name for name, number in least.items() if with_blocks_changed[name] < number} == set(), with_blocks_changed
    assert guessing >= 8
    assert changed.keys() | with_blocks_changed.keys() == {each.name for each in PASSES}


@given(flows())
@examples(100)
def test_no_pass_adds_calls_but_for_embeddings(flow: Flow) -> None:
    arguments = {"question": "why?"}
    expanded = apply(PASSES[:1], flow, Context(application(flow), KINDS))
    _, before = run(lower(expanded, application(flow)), arguments)
    _, after = run(lower(optimise(application(flow), kinds=KINDS).flows[0], application(flow)), arguments)
    assert len(after) <= len(before)


def test_a_label_still_fits_where_a_text_is_wanted_after_merging() -> None:
    flow = read_flow("""
        pipeline p(question: text) -> text
          %0 = parameter question : text
          %1 = call route(question: %0) : "none" | "one" | "many"
          %2 = call rewrite(question: %1) : text
          return %2
        """)
    after = optimise(application(flow), kinds=KINDS).flows[0]
    assert fits(after.nodes[1].type, after.nodes[0].type)


LISTS_IN_LISTS = """\
pipeline p(question: text) -> [text]
  block 0(1 argument)
    %0 = argument 0 : text
    %1 = call search(query: %0) : [passage]
    results %1
  block 1(2 arguments)
    %0 = argument 0 : text
    %1 = argument 1 : [text]
    %2 = each block 0(%1) : [[passage]]
    %3 = apply flatten(%2) : [passage]
    %4 = call answer(question: %0, passages: %3) : text
    results %4
  %0 = parameter question : text
  %1 = list(%0) : [text]
  %2 = call rewrite(question: %0) : text
  %3 = list(%2) : [text]
  %4 = each block 1(%1; %3) : [text]
  return %4
"""
SEARCHED_ONCE = """\
pipeline p(question: text) -> [text]
  block 0(2 arguments)
    %0 = argument 0 : text
    %1 = argument 1 : [[passage]]
    %2 = apply flatten(%1) : [passage]
    %3 = call answer(question: %0, passages: %2) : text
    results %3
  %0 = parameter question : text
  %1 = list(%0) : [text]
  %2 = call rewrite(question: %0) : text
  %3 = list(%2) : [text]
  %4 = call embed(text: each %3) : [vector]
  %5 = call search(query: each %4) : [[passage]]
  %6 = each block 0(%1; %5) : [text]
  return %6
"""


def test_what_a_pass_makes_of_a_flow_gives_an_earlier_one_work() -> None:
    """Searches that have become one call are the same for every item of the list around them."""
    flow = read_flow(LISTS_IN_LISTS)
    context = Context(application(flow), KINDS)
    assert show_flow(apply(PASSES, flow, context)) == SEARCHED_ONCE


def test_each_pass_finds_what_it_needs() -> None:
    assert selected() == PASSES, "a pass stands before the one whose gift it needs"
    assert "batch_each" not in [each.name for each in selected({"hoist_invariants"})]


def test_calls_that_must_not_be_merged_are_made_for_each_item_by_itself() -> None:
    """An engine that is asked for many at once is called once, and not once an item."""
    (batch_each,) = [each for each in PASSES if each.name == "batch_each"]
    text = """
        pipeline p(question: text) -> [vector]
          block 0(1 argument)
            %0 = argument 0 : text
            %1 = call embed(text: %0){settings} : vector
            results %1
          %0 = parameter question : text
          %1 = list(%0, %0) : [text]
          %2 = each block 0(%1) : [vector]
          return %2
        """
    for settings, alone in (("", False), (' {"pure":true}', False), (' {"pure":false}', True)):
        flow = read_flow(text.replace("{settings}", settings))
        assert (_rewrite(batch_each, flow) == flow) == alone


def test_leaving_a_pass_out_leaves_out_what_needs_its_gift() -> None:
    names = [each.name for each in PASSES]
    assert [each.name for each in selected({"expand_retrieval"})] == ["dead_code"]
    assert [each.name for each in selected({"dead_code"})] == [
        name for name in names if name not in {"dead_code", "speculate"}
    ]


def test_stopping_after_a_pass_keeps_the_earlier_ones() -> None:
    assert [each.name for each in selected(last="hoist_invariants")] == ["expand_retrieval", "hoist_invariants"]


def test_an_unknown_pass_is_named() -> None:
    with pytest.raises(ValueError, match="no pass is called inline"):
        selected({"inline"})
