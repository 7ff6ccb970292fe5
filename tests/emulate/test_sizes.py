"""Sizes that are declared inside of records and lists: plan, simulation and what a rehearsal sends agree on them."""

from pathlib import Path
from statistics import fmean

import msgspec
import pytest

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.program import Call
from harmonia_compiler.contract.types import Value
from harmonia_compiler.emulate.servers.replica import Called
from harmonia_compiler.emulate.servers.speech import Ask, Speech
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.kinds.extents import text_tokens, typed_extent
from harmonia_compiler.kinds.openai import messages, show_value, spoken
from harmonia_compiler.report.measures import Window
from harmonia_compiler.workload.arrivals import constant, until
from harmonia_compiler.workload.request import Arrival
from tests.emulate.planned import Asked, planned_for

#: `TYPE` is a type with sizes, of what requests bring and of what a function gives; without them it is what is taken.
SOURCE = """
component small = llm("meta-llama/Llama-3.2-3B-Instruct", max_model_len: 32768)
component made(q: text) -> TYPE = python("m:made", takes: 1 ms)
component read(it: text) -> text ~ 5 tokens = small("{it}", max_tokens: 10)
component merge(found: [text]) -> text ~ 10 tokens = small("{found}", max_tokens: 30)
pipeline ask(q: text ~ 10 tokens, given: TYPE) -> text {
    load 1 rps
    value = VALUE
    return merge(READ)
}
"""
#: A type, what reads it, how often `read` is called for it, and with how many tokens in all.
READERS = [
    ("[(name: text ~ 5 tokens, bio: text ~ 2000 tokens)] ~ 4", "each x in value: read(x.bio)", 4, 8_000.0),
    ("[(name: text ~ 5 tokens, bio: text ~ 2000 tokens)] ~ 4", "each x in value: read(x.name)", 4, 20.0),
    ("[(name: text ~ 5 tokens, bio: text ~ 2000 tokens)] ~ 4", "each x in take(value, 2): read(x.bio)", 2, 4_000.0),
    ("(names: [text ~ 5 tokens] ~ 2, bios: [text ~ 50 tokens] ~ 20)", "each x in value.bios: read(x)", 20, 1_000.0),
    ("(names: [text ~ 5 tokens] ~ 2, bios: [text ~ 50 tokens] ~ 20)", "each x in value.names: read(x)", 2, 10.0),
    ("(of: (name: text ~ 5 tokens, bio: text ~ 300 tokens), age: number)", "[read(value.of.bio)]", 1, 300.0),
    ("[[text ~ 5 tokens] ~ 12] ~ 3", "each x in flatten(value): read(x)", 36, 180.0),
    ("[[(t: text ~ 7 tokens, n: number)] ~ 6] ~ 3", "each x in flatten(value): read(x.t)", 18, 126.0),
    ("[[(t: text ~ 7 tokens, n: number)] ~ 6] ~ 3", "each x in flatten(value + value): read(x.t)", 36, 252.0),
]


@pytest.mark.parametrize("value", ["given", "made(q)"])
@pytest.mark.parametrize(("of", "reader", "calls", "tokens"), READERS, ids=[f"{of} {by}" for of, by, *_ in READERS])
def test_parts_are_as_many_and_as_large_as_declared(
    tmp_path: Path, value: str, of: str, reader: str, calls: int, tokens: float
) -> None:
    source = SOURCE.replace("TYPE", of).replace("VALUE", value).replace("READ", reader)
    planned = planned_for(tmp_path, source)
    found = demand(planned.application, planned.application.flows[0])
    assert found.visits["read"] == pytest.approx(calls)
    # The chat's own template is 16 tokens, and an answer 5.
    assert found.visits["read"] * found.work["read"].prompt_tokens == pytest.approx(16 * calls + tokens)
    # Answers stand each on a line of its own.
    merged = 16 + 5 * calls + (calls - 1) / 4
    assert found.work["merge"].prompt_tokens == pytest.approx(merged)
    simulated = simulate(planned, [*until(constant(1.0), 60_000.0)], Window(0.0, 60_000.0), load_cards(), {})
    (stage,) = (stage for stage in simulated.report.stages if stage.component == "read")
    assert stage.calls_per_request == pytest.approx(calls)
    read = fmean(one.tokens_in or 0 for one in simulated.observed)
    # Each prompt is of whole tokens, and answers vary by half.
    assert read == pytest.approx(16 * calls + tokens + merged, rel=0.03, abs=calls)


SHOWN = [
    "(a: text ~ 50 tokens, n: number)",
    "[(a: text ~ 5 tokens, n: number)] ~ 200",
    "(names: [text ~ 5 tokens] ~ 2, bios: [text ~ 50 tokens] ~ 20)",
    "(found: [passage ~ 100 tokens] ~ 5, turns: [message ~ 40 tokens] ~ 3, of: (n: number, rows: [(a: number)] ~ 4))",
]


@pytest.mark.parametrize("of", SHOWN)
def test_a_record_is_planned_as_long_as_it_stands_in_a_prompt(tmp_path: Path, of: str) -> None:
    """A line's end is 0.25 tokens, by which the items of lists differ, and so do digits of numbers."""
    # A size behind the whole type is none of an alias.
    alias = of.rpartition(" ~")[0] if of.startswith("[") else of
    shows = f'type whole = {alias}\ncomponent shown(it: whole) -> text ~ 5 tokens = small("{{it}}", max_tokens: 10)\n'
    source = SOURCE.replace("TYPE", of).replace("VALUE", "given").replace("READ", "[shown(value)]")
    planned = planned_for(tmp_path, shows + source)
    (coming,) = planned.coming([Arrival(0.0)])
    port = next(port for port in planned.application.flows[0].ports if port.name == "given")
    shown = show_value(coming.arguments["given"], port.type)
    assert text_tokens(shown) == pytest.approx(typed_extent(port.type, port.sizes).tokens, rel=0.03)


ANEW = """
component small = llm("meta-llama/Llama-3.2-3B-Instruct", max_model_len: 32768)
component make(q: text) -> TYPE = small("{q}", max_tokens: 9001)
component read(it: text) -> text ~ 5 tokens = small("{it}", max_tokens: 10)
component merge(found: [text]) -> text ~ 10 tokens = small("{found}", max_tokens: 30)
pipeline ask(q: text ~ 10 tokens) -> text {
    load 1 rps
    value = make(q, max_tokens: 9002)
    return merge(READ)
}
"""


def tokens_read(value: Value) -> float:
    """Those of the texts that are read of a value: of records, those by the name `bio`."""
    if isinstance(value, list):
        return sum(map(tokens_read, value))
    return text_tokens(value["bio"] if isinstance(value, dict) else value)


@pytest.mark.parametrize("limit", [40, 200, 4000])
@pytest.mark.parametrize(
    ("of", "reader"),
    [
        ("(name: text ~ 12 tokens, bio: text ~ 400 tokens)", "[read(value.bio)]"),
        ("[(name: text ~ 12 tokens, bio: text ~ 100 tokens)] ~ 4", "each x in value: read(x.bio)"),
        ("[text ~ 100 tokens] ~ 4", "each x in value: read(x)"),
        ("[[text ~ 25 tokens] ~ 4] ~ 4", "each x in flatten(value): read(x)"),
    ],
)
def test_what_a_call_gives_that_says_its_limit_anew_is_as_large_as_planned(
    tmp_path: Path, of: str, reader: str, limit: int
) -> None:
    source = ANEW.replace("TYPE", of).replace("READ", reader)
    planned = planned_for(tmp_path, source, limits={9001: 200, 9002: limit})
    found = demand(planned.application, planned.application.flows[0])
    answered = found.work["make"].output_tokens
    assert answered == pytest.approx(min(limit, 400), rel=0.2)
    program = planned.service.programs["ask"]
    (call,) = (one for one in program.operations if isinstance(one, Call) and one.component == "make")
    component = program.components["make"]
    asked = Asked(component, {**component.settings, **call.settings}, [{"q": "who?"}], many=False, request=7)
    value, size = planned.behaviour.answer(asked)
    assert size.work.output_tokens == pytest.approx(answered)
    # What is read of it are its texts.
    read = found.visits["read"] * (found.work["read"].prompt_tokens - 16)
    assert tokens_read(value) == pytest.approx(read, rel=0.05)
    speech = Speech(planned.behaviour, planned.application.components)
    said = speech.answer(Called("7", "make", ""), Ask([], max_tokens=limit), b"", room=10_000)
    assert (said.text, said.tokens) == (spoken(value, component.result), round(answered))


CUT = """
type inner = (a: text ~ 8 tokens, numbers: [number] ~ 3)
type row = (name: text ~ 15 tokens, tags: [text ~ 6 tokens] ~ 4)
type whole = (one: inner, two: [inner] ~ 2, turns: [message ~ 9 tokens] ~ 2, of: passage ~ 20 tokens, is: bool)
type judged = (why: text ~ 60 tokens, score: number, verdict: "good" | "evil")
component small = llm("meta-llama/Llama-3.2-3B-Instruct", max_model_len: 32768)
component make(q: text) -> TYPE = small("{q}", max_tokens: 9001)
component show(it: TYPE) -> text ~ 5 tokens = small("{it}", max_tokens: 10)
pipeline ask(q: text ~ 10 tokens) -> text {
    load 1 rps
    return show(make(qANEW))
}
"""


@pytest.mark.parametrize("anew", [False, True], ids=["declared", "anew"])
@pytest.mark.parametrize("limit", [5, 30, 60, 4000])
@pytest.mark.parametrize("of", ["judged", "row", "whole", "[inner]", "[row]", "[number]", "[message]"])
def test_what_is_cut_is_planned_and_simulated_as_long_as_it_stands_in_a_prompt(
    tmp_path: Path, of: str, limit: int, *, anew: bool
) -> None:
    """Texts are shorter by the limit, and neither numbers nor what JSON writes around them."""
    source = CUT.replace("TYPE", of).replace("ANEW", ", max_tokens: 9002" if anew else "")
    planned = planned_for(tmp_path, source, limits={9001: 4000 if anew else limit, 9002: limit})
    found = demand(planned.application, planned.application.flows[0])
    components = planned.service.programs["ask"].components
    settings = {**components["make"].settings, "max_tokens": limit}
    value, made = planned.behaviour.answer(Asked(components["make"], settings, [{"q": "who?"}], many=False, request=7))
    assert made.work.output_tokens <= limit
    assert made.work.output_tokens == pytest.approx(found.work["make"].output_tokens)
    inputs: dict[str, Value] = {"it": value}
    _, shown = planned.behaviour.answer(Asked(components["show"], {}, [inputs], many=False, request=7))
    # No text has less than a character, and there are 20 in the largest.
    assert shown.work.prompt_tokens == pytest.approx(found.work["show"].prompt_tokens, abs=5.0, rel=0.01)
    sent = msgspec.convert({"messages": messages(components["show"], inputs)}, Ask)
    assert sent.prompt == pytest.approx(shown.work.prompt_tokens, abs=4.0, rel=0.01)
    said = Speech(planned.behaviour, planned.application.components).answer(
        Called("7", "make", ""), Ask([], max_tokens=limit), b"", room=10_000
    )
    assert (said.text, said.tokens) == (spoken(value, components["make"].result), round(made.work.output_tokens))


def test_texts_of_a_list_that_is_often_empty_are_as_large_as_planned(tmp_path: Path) -> None:
    """The limit is one of the whole answer, which is shorter in the mean than a text of it."""
    source = ANEW.replace("TYPE", "[text ~ 100 tokens] ~ 0.5").replace("LIMIT", "60")
    planned = planned_for(tmp_path, source.replace("READ", "each x in value: read(x)"))
    found = demand(planned.application, planned.application.flows[0])
    component = planned.service.programs["ask"].components["make"]
    settings = {**component.settings, "max_tokens": 60}
    asked = [Asked(component, settings, [{"q": "who?"}], many=False, request=request) for request in range(40)]
    texts = [text for one in asked for text in planned.behaviour.answer(one)[0]]
    assert found.visits["read"] == pytest.approx(0.5)
    assert {text_tokens(text) for text in texts} == {found.work["read"].prompt_tokens - 16} == {100.0}


LABELLED = """
component small = llm("meta-llama/Llama-3.2-3B-Instruct", max_model_len: 32768)
component show(it: SHOWN) -> text ~ 5 tokens = small("What there is: {it}", max_tokens: 10)
component merge(found: [text]) -> text ~ 10 tokens = small("{found}", max_tokens: 30)
pipeline ask(given: GIVEN) -> text {
    load 1 rps
    return merge(READ)
}
"""


@pytest.mark.parametrize(
    ("shown", "given", "read"),
    [
        ("passage", "[passage ~ 40 tokens] ~ 5", "each one in given: show(one)"),
        ("[passage]", "[passage ~ 40 tokens] ~ 5", "[show(given)]"),
        ("[[passage]]", "[[passage ~ 40 tokens] ~ 3] ~ 2", "[show(given)]"),
        ("[[[passage]]]", "[[[passage ~ 40 tokens] ~ 3] ~ 2] ~ 2", "[show(given)]"),
        ("message", "[message ~ 5 tokens] ~ 2", "each one in given: show(one)"),
        ("[message]", "[message ~ 5 tokens] ~ 40", "[show(given)]"),
        ("[[message]]", "[[message ~ 5 tokens] ~ 6] ~ 8", "[show(given)]"),
        ("[text]", "[text ~ 3 tokens] ~ 40", "[show(given)]"),
        ("[text]", "[text ~ 3 tokens] ~ 1", "[show(given)]"),
        ("[[text]]", "[[text ~ 3 tokens] ~ 5] ~ 8", "[show(given)]"),
        ("[bool]", "[bool] ~ 100", "[show(given)]"),
        ("number", "[number] ~ 1", "each one in given: show(one)"),
        ("[[number]]", "[[number] ~ 5] ~ 8", "[show(given)]"),
        ('["yes" | "but"]', '["yes" | "but"] ~ 40', "[show(given)]"),
        ('"a" | "longer"', '["a" | "longer"] ~ 1', "each one in given: show(one)"),
    ],
)
def test_values_in_a_prompt_are_planned_and_simulated_as_long_as_they_are_written_there(
    tmp_path: Path, shown: str, given: str, read: str
) -> None:
    planned = planned_for(tmp_path, LABELLED.replace("SHOWN", shown).replace("GIVEN", given).replace("READ", read))
    found = demand(planned.application, planned.application.flows[0])
    (coming,) = planned.coming([Arrival(0.0)])
    value = coming.arguments["given"]
    component = planned.service.programs["ask"].components["show"]
    inputs: dict[str, Value] = {"it": value if shown.startswith("[") else value[0]}
    text = "".join(turn["content"] for turn in messages(component, inputs))
    asked = Asked(component, component.settings, [inputs], many=False, request=7)
    _, size = planned.behaviour.answer(asked)
    assert size.work.prompt_tokens == pytest.approx(found.work["show"].prompt_tokens)
    # Of roles, bools and labels one is as frequent as the other; some numbers end early.
    apart = {"message": 0.7, "[bool]": 1.5, "number": 0.25, "[[number]]": 2.0, '"a" | "longer"': 0.7}.get(shown, 0.01)
    assert found.work["show"].prompt_tokens == pytest.approx(16 + text_tokens(text), abs=apart)


def test_passages_that_a_component_makes_are_as_long_in_a_prompt_as_planned(tmp_path: Path) -> None:
    look = 'component look(q: text) -> [passage ~ 40 tokens] ~ 5 = python("m:look", takes: 1 ms)\n'
    source = LABELLED.replace("SHOWN", "[passage]").replace("GIVEN", "text ~ 10 tokens")
    planned = planned_for(tmp_path, look + source.replace("READ", "[show(look(given))]"))
    found = demand(planned.application, planned.application.flows[0])
    components = planned.service.programs["ask"].components
    asked = Asked(components["look"], components["look"].settings, [{"q": "who?"}], many=False, request=7)
    value, _ = planned.behaviour.answer(asked)
    text = "".join(turn["content"] for turn in messages(components["show"], {"it": value}))
    assert found.work["show"].prompt_tokens == pytest.approx(16 + text_tokens(text), abs=0.01)


CHATTED = """
component small = llm("meta-llama/Llama-3.2-3B-Instruct", max_model_len: 32768)
component talk(before: [message], q: text) -> text ~ 5 tokens = small("{q}", SYSTEM max_tokens: 10)
pipeline ask(q: text ~ 10 tokens, before: [message ~ 6 tokens] ~ 20) -> text {
    load 1 rps
    return talk(before, q)
}
"""


@pytest.mark.parametrize("system", ["", 'system: "Be brief, please.",'])
def test_the_turns_of_a_conversation_are_planned_simulated_and_emulated_alike(tmp_path: Path, system: str) -> None:
    planned = planned_for(tmp_path, CHATTED.replace("SYSTEM", system))
    found = demand(planned.application, planned.application.flows[0])
    (coming,) = planned.coming([Arrival(0.0)])
    component = planned.service.programs["ask"].components["talk"]
    inputs: dict[str, Value] = {**coming.arguments}
    _, size = planned.behaviour.answer(Asked(component, component.settings, [inputs], many=False, request=7))
    assert size.work.prompt_tokens == pytest.approx(found.work["talk"].prompt_tokens)
    ask = msgspec.convert({"messages": messages(component, inputs)}, Ask)
    assert len(ask.messages) == 21 + bool(system)
    assert found.work["talk"].prompt_tokens == pytest.approx(ask.prompt, abs=0.5)


DEFAULTED = """
component small = llm("meta-llama/Llama-3.2-3B-Instruct", max_model_len: 32768)
component show(it: TYPE) -> text ~ 5 tokens = small("{it}", max_tokens: 10)
component clear(it: text) -> bool = small("{it}")
component read(it: text) -> text ~ 5 tokens = small("{it}", max_tokens: 10)
pipeline ask(q: text ~ 10 tokens, given: PORT) -> text {
    load 1 rps
    if TEST { return show(given) }
    return read(q)
}
"""


@pytest.mark.parametrize(
    ("of", "port", "test", "tokens"),
    [
        ("text", 'text = "short, please"', "clear(q) ~ 0.9", 3.25),
        ("text", 'text ~ 40 tokens = "short, please"', "clear(q) ~ 0.9", 40.0),
        ("[text]", '[text] = ["a", "much longer"]', "clear(q) ~ 0.9", 3.25),
        ("[text]", '[text] ~ 7 = ["a", "much longer"]', "clear(q) ~ 0.9", 7 * 60.25 - 0.25),
        ("[[text]]", '[[text]] = [["a", "much longer"], ["b"]]', "clear(q) ~ 0.9", 3.75),
        ("[passage]", "[passage] = []", "clear(q) ~ 0.9", 0.0),
        ("[message]", "[message ~ 30 tokens] = []", "clear(q) ~ 0.9", 4 * (30 + 2 + 0.25) - 0.25),
        ("[text]", "[text] = []", "count(given) > 0 ~ 0.5", 4 * 60.25 - 0.25),
    ],
)
def test_a_port_that_nobody_sized_is_planned_as_large_as_the_default_that_requests_bring(
    tmp_path: Path, of: str, port: str, test: str, tokens: float
) -> None:
    """Where it is tested, they bring what is usual, for the test to hold as often as is said."""
    source = DEFAULTED.replace("TYPE", of).replace("PORT", port).replace("TEST", test)
    planned = planned_for(tmp_path, source)
    found = demand(planned.application, planned.application.flows[0])
    assert found.work["show"].prompt_tokens == pytest.approx(16 + tokens, abs=0.6)
    simulated = simulate(planned, [*until(constant(1.0), 60_000.0)], Window(0.0, 60_000.0), load_cards(), {})
    shown = [one for one in simulated.observed if "show" in {stage.component for stage in one.stages}]
    others = 26.0 if "clear" in test else 0.0
    read = fmean(one.tokens_in or 0 for one in shown) - others
    assert read == pytest.approx(found.work["show"].prompt_tokens, abs=0.6)
