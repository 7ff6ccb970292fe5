"""Tests of items of lists, of their fields and of what requests bring hold as often as is planned."""

from collections import Counter
from math import sqrt
from pathlib import Path

import pytest

from harmonia_compiler.contract.program import Constant, Parameter, Select
from harmonia_compiler.emulate.outcomes import LabelOutcome, ListOutcome, NumberOutcome, RecordOutcome, TruthOutcome
from harmonia_compiler.emulate.scenario import Coming, Scenario
from harmonia_compiler.flow.asked import COUNT, ITEM
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.expand import expand
from harmonia_compiler.flow.graph import Flow
from harmonia_compiler.flow.origins import ways
from harmonia_compiler.policy.events import Answer, Finished, Send, Started, items_of, show_place, site_of
from harmonia_compiler.policy.frames import State
from harmonia_compiler.policy.stepper import advance
from harmonia_compiler.workload.request import Arrival
from tests.emulate.planned import Asked, planned_for

REQUESTS = 1_000
#: As in `test_branches.py`.
ERRORS, FEW = 4.5, 3

HEAD = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 1000)
component minilm = embedder("all-MiniLM-L6-v2")
component search = milvus("docs", embedder: minilm, top_k: 6)
component people(q: text) -> [(name: text, age: number, sort: "full" | "part", fine: bool)] ~ 8 = small("Who? {q}")
component scores(q: text) -> [number] ~ 4 = small("Scores of {q}")
component verdicts(q: text) -> ["full" | "part" | "none"] ~ 5 = small("Verdicts on {q}")
component names(q: text) -> [text] ~ 3 = small("Names in {q}")
component team(q: text) -> (who: [(name: text, age: number)], best: (age: number, ok: bool)) = small("Team of {q}")
component review(q: text) -> (verdict: "full" | "none", text: text) = small("Review {q}")
component good(q: text) -> bool = small("{q} good?")
component greet(name: text) -> text = small("Greet {name}")
component greet_as(name: text, way: text) -> text = small("Greet {name} {way}")
component redo(q: text) -> text = small("Again: {q}")
component other(q: text) -> text = small("Otherwise: {q}")
component answer(q: text) -> text = small("Answer: {q}")
component merge(found: [text]) -> text = small("{found}")
"""

#: By what they test: further ports of the pipeline, and its body.
BODIES = {
    "a bound of a field": ("", "return merge(each p in people(q) where p.age >= 18 ~ 0.4: greet(p.name))"),
    "a label of a field": ("", 'return merge(each p in people(q) where p.sort == "full" ~ 0.2: greet(p.name))'),
    "a truth of a field": ("", "return merge(each p in people(q) where not p.fine ~ 0.2: greet(p.name))"),
    "two bounds of an item": ("", "return merge(each s in scores(q) where s > 0.5 and s < 0.9 ~ 0.2: redo(q))"),
    "a label that is an item": ("", 'return merge(each v in verdicts(q) where v == "none" ~ 0.2: redo(q))'),
    "what a function keeps": ("", "return merge(each p in take(people(q), 3) where p.age > 17 ~ 0.4: greet(p.name))"),
    "lists of lists": (
        "",
        """people_of = each n in names(q): people(n)
    return merge(each p in flatten(people_of) where p.age >= 18 ~ 0.4: greet(p.name))""",
    ),
    "lists that are joined": (
        "",
        "return merge(each p in people(q) + people(redo(q)) where p.age >= 18 ~ 0.4: greet(p.name))",
    ),
    "lists of two paths": (
        "",
        """found = people(q)
    if good(q) ~ 0.3 { found = people(redo(q)) }
    return merge(each p in found where p.age >= 18 ~ 0.4: greet(p.name))""",
    ),
    "what each item was made to": (
        "",
        """seen = each n in names(q): review(n)
    return merge(each r in seen where r.verdict == "none" ~ 0.2: redo(r.text))""",
    ),
    "scores of passages": ("", "return merge(each p in search(q) where p.score > 0.5 ~ 0.2: greet(p.text))"),
    "parts of a record": (
        "",
        """found = team(q)
    if found.best.age > 3 ~ 0.2 { return other(q) }
    return merge(each p in found.who where p.age >= 18 ~ 0.4: greet(p.name))""",
    ),
    "one list twice": (
        "",
        """found = people(q)
    young = each p in found where p.age >= 18 ~ 0.2: greet_as(p.name, other(q))
    old = each p in found where p.age >= 65 ~ 0.1: greet_as(p.name, redo(q))
    return merge(young + old)""",
    ),
    "one test of a list twice": (
        "",
        """found = people(q)
    first = each p in found where p.age >= 18 ~ 0.2: greet_as(p.name, other(q))
    then = each p in found where p.age >= 18 ~ 0.2: greet_as(p.name, redo(q))
    return merge(first + then)""",
    ),
    "labels of what was kept": (
        "",
        """seen = verdicts(q)
    kept = each v in seen where v != "none" ~ 0.6: v
    best = each v in kept where v == "full" ~ 0.3: greet(v)
    rest = each v in kept where v == "part" ~ 0.7: redo(v)
    return merge(best + rest)""",
    ),
    "labels of what was kept of fields": (
        "",
        """seen = each n in names(q): review(n)
    kept = each r in seen where r.verdict == "full" ~ 0.6: r
    best = each r in kept where r.verdict == "none" ~ 0.3: greet(r.text)
    return merge(best + (each r in kept: redo(r.text)))""",
    ),
    "bounds of what was kept": (
        "",
        """rec = each p in people(q): (who: p.name, years: p.age)
    kept = each r in rec where r.years >= 18 ~ 0.5: r
    old = each r in kept where r.years >= 65 ~ 0.2: r
    return merge((each r in old where r.years < 80 ~ 0.6: greet(r.who)) + (each r in kept: redo(r.who)))""",
    ),
    "a bound below what was kept": (
        "",
        """young = each p in people(q) where p.age < 18 ~ 0.5: p
    return merge((each p in young where p.age < 12 ~ 0.2: greet(p.name)) + (each p in young: redo(p.name)))""",
    ),
    "a truth that was kept": (
        "",
        """kept = each p in people(q) where p.fine ~ 0.25: p
    return merge(each p in kept where p.fine ~ 0.25: greet(p.name))""",
    ),
    "another field of what was kept": (
        "",
        """kept = each p in people(q) where p.age >= 18 ~ 0.5: p
    return merge(each p in kept where p.sort == "full" ~ 0.2: greet(p.name))""",
    ),
    "a share that is said once of a test of a list": (
        "",
        """found = people(q)
    first = each p in found where p.sort == "full" ~ 0.1: greet(p.name)
    then = each p in found where p.sort == "full": redo(p.name)
    return merge(first + then)""",
    ),
    "two labels of a list in two lists": (
        "",
        """found = people(q)
    first = each p in found where p.sort == "full" ~ 0.2: greet(p.name)
    then = each p in found where p.sort == "part": redo(p.name)
    return merge(first + then)""",
    ),
    "a share that is said once of a test": (
        "",
        """seen = review(q)
    query = q
    if seen.verdict == "none" ~ 0.1 { query = redo(q) }
    if seen.verdict == "none" { return other(query) }
    return answer(query)""",
    ),
    "a share that is said of one list, in a part of it": (
        "",
        """found = people(q)
    first = each p in found where p.fine ~ 0.1: greet(p.name)
    then = each p in take(found, 3) where p.fine: redo(p.name)
    return merge(first + then)""",
    ),
    "a share that is said of one list, in a longer one": (
        "",
        """found = people(q)
    first = each p in found where p.fine ~ 0.1: greet(p.name)
    then = each p in found + people(redo(q)) where p.fine: answer(p.name)
    return merge(first + then)""",
    ),
    "a share that is said of one list, in what is made of it": (
        "",
        """found = people(q)
    made = each p in found: (fine: p.fine, name: p.name)
    first = each p in found where p.fine ~ 0.1: greet(p.name)
    then = each p in made where p.fine: redo(p.name)
    return merge(first + then)""",
    ),
    "a share that is said of one list, in what another test keeps of it": (
        "",
        """found = people(q)
    grown = each p in found where p.age >= 18 ~ 0.5: p
    first = each p in found where p.fine ~ 0.1: greet(p.name)
    then = each p in grown where p.fine: redo(p.name)
    return merge(first + then)""",
    ),
    "labels of a list and of a longer one": (
        "",
        """found = verdicts(q)
    first = each v in found where v != "none" ~ 0.1: redo(v)
    then = each v in found + verdicts(other(q)) where v == "full": greet(v)
    return merge(first + then)""",
    ),
    "what two tests together have kept": (
        "",
        """kept = each p in people(q) where p.fine and p.age >= 18 ~ 0.2: p
    return merge((each p in kept where p.fine: greet(p.name)) + (each p in kept where p.age < 65: redo(p.name)))""",
    ),
    "scores of what is found for each of several": (
        "",
        """found = each n in names(q): search(n)
    return merge(each p in flatten(found) where p.score > 0.5 ~ 0.2: greet(p.text))""",
    ),
    "two calls of a component": (
        "",
        """if good(q) ~ 0.5 { return answer(q) }
    if good(redo(q)) ~ 0.1 { return answer(redo(q)) }
    return other(q)""",
    ),
    "a truth that is brought": ("easy: bool", "if easy ~ 0.2 { return other(q) }\n    return answer(q)"),
    "a truth that may be brought": ("easy: bool = false", "if easy ~ 0.2 { return other(q) }\n    return answer(q)"),
    "a number that is brought": ("depth: number", "if depth > 1 ~ 0.2 { return other(q) }\n    return answer(q)"),
    "a label that is brought": (
        'way: "a" | "b" | "c"',
        'if way == "b" ~ 0.2 { return other(q) }\n    return answer(q)',
    ),
    "how many a list has within what is brought": (
        "team: (title: text, who: (names: [text]))",
        "if count(team.who.names) > 0 ~ 0.2 { return merge(team.who.names) }\n    return answer(q)",
    ),
    "how many each list has of those that are brought": (
        "teams: [[text]]",
        "return merge(each t in teams where count(t) > 2 ~ 0.2: merge(t))",
    ),
    "how many a list has within each of those that are brought": (
        "teams: [(title: text, names: [text])] ~ 5",
        "return merge(each t in take(teams, 3) where count(t.names) > 2 ~ 0.2: greet(t.title))",
    ),
    "how many a list has that either port brings": (
        "some: [text] ~ 6, others: [text] ~ 3",
        """made = some
    if good(q) ~ 0.5 { made = others }
    if count(made) > 0 ~ 0.2 { return merge(made) }
    return answer(q)""",
    ),
    "how many were made of a list that is brought": (
        "some: [text] ~ 6",
        "if count(each s in some: (name: s)) > 0 ~ 0.2 { return merge(some) }\n    return answer(q)",
    ),
    "a list that is brought": (
        "found: [(name: text, age: number)]",
        "return merge(each p in found where p.age >= 18 ~ 0.4: greet(p.name))",
    ),
}


#: Bodies of which those that are left ask much the same, and that take long.
SELDOM = {
    "one list twice",
    "a share that is said of one list, in a longer one",
    "a share that is said of one list, in what is made of it",
    "a share that is said of one list, in what another test keeps of it",
    "a bound below what was kept",
    "two labels of a list in two lists",
    "labels of what was kept of fields",
    "another field of what was kept",
}
EVERY = [pytest.param(*made, id=name, marks=[pytest.mark.slow] * (name in SELDOM)) for name, made in BODIES.items()]


def source_of(ports: str, body: str) -> str:
    more = f", {ports}" if ports else ""
    return f"{HEAD}pipeline ask(q: text ~ 10 tokens{more}) -> text {{\n    {body}\n}}\n"


def calls_of(planned: Scenario, coming: Coming) -> Counter[str]:
    """How often one request calls each component."""
    program, state, made = planned.service.programs[coming.pipeline], State(), Counter[str]()
    pending = advance(program, state, Started(coming.arguments))
    while pending:
        match pending.pop(0):
            case Send() as send:
                made[send.component] += 1
                component, where = program.components[send.component], (coming.number, send.path, send.site)
                asked = Asked(component, send.settings, items_of(send), bool(send.over), *where)
                pending += advance(program, state, Finished(send.call, planned.behaviour.answer(asked)[0]))
            case command:
                assert isinstance(command, Answer), command
    return made


def off(planned: Scenario, flow: Flow) -> list[tuple[str, float, float]]:
    """The components that a pipeline's requests call more or less often than planned: what came, what was planned."""
    expected = demand(planned.application, flow).visits
    came = planned.coming(Arrival(float(at)) for at in range(REQUESTS))
    found = [calls_of(planned, one) for one in came if one.pipeline == flow.name]
    wrong, requests = [], len(found)
    for component in {*expected}.union(*found):
        visits, counts = expected.get(component, 0.0), [each[component] for each in found]
        mean = sum(counts) / requests
        spread = max(sum((count - mean) ** 2 for count in counts) / requests, visits * (1.0 - visits))
        if abs(mean - visits) > ERRORS * sqrt(spread / requests) + FEW / requests:
            wrong.append((component, mean, visits))
    return wrong


@pytest.mark.parametrize(("ports", "body"), EVERY)
def test_as_often_as_is_planned(tmp_path: Path, ports: str, body: str) -> None:
    planned = planned_for(tmp_path, source_of(ports, body))
    (flow,) = planned.application.flows
    assert off(planned, flow) == []


def test_pipelines_that_say_different_things_of_a_component_have_each_its_own(tmp_path: Path) -> None:
    pipelines = """
pipeline desk(q: text ~ 10 tokens) -> text {
    load 3 rps
    if good(q) ~ 0.9 { return answer(q) }
    return other(q)
}
pipeline web(q: text ~ 10 tokens) -> text {
    load 1 rps
    if good(q) ~ 0.1 { return answer(q) }
    if good(redo(q)) ~ 0.6 { return other(q) }
    return q
}
"""
    planned = planned_for(tmp_path, HEAD + pipelines)
    assert [off(planned, flow) for flow in planned.application.flows] == [[], []]


def test_in_two_lists_of_one_value_any_item_brings_what_is_outside(tmp_path: Path) -> None:
    """What the items of either list need of outside is needed as soon as one of eight does."""
    planned = planned_for(tmp_path, source_of(*BODIES["one test of a list twice"]))
    visits = demand(planned.application, planned.application.flows[0]).visits
    assert visits["other"] == pytest.approx(1.0 - 0.8**8)
    assert visits["redo"] == pytest.approx(1.0 - 0.8**8)


def test_what_is_tested_is_drawn_so_and_nothing_else_is(tmp_path: Path) -> None:
    planned = planned_for(tmp_path, source_of(*BODIES["a bound of a field"]))
    people = planned.behaviour.outcomes["people"]
    assert isinstance(people, ListOutcome)
    assert isinstance(people.item, RecordOutcome)
    assert people.item.fields["age"] == NumberOutcome((18.0,), (0.6,))
    assert people.item.fields["sort"] == LabelOutcome({"full": 0.5, "part": 0.5})
    assert people.item.fields["fine"] == TruthOutcome(0.5)


@pytest.mark.parametrize(
    "test", ["count(names(q)) > 100 ~ 0.3", "count(some + names(q)) > 3 ~ 0.3", "count(some + [q]) > 3 ~ 0.3"]
)
def test_a_list_that_no_request_brings_alone_has_as_many_items_as_are_declared(tmp_path: Path, test: str) -> None:
    """How many calls answer with, and how many lists have that are joined, is not drawn for what a test asks."""
    body = f"if {test} {{ return merge(names(q) + some) }}\n    return answer(q)"
    planned = planned_for(tmp_path, source_of("some: [text] ~ 6", body))
    names = planned.behaviour.outcomes["names"]
    assert isinstance(names, ListOutcome)
    assert names.counts == NumberOutcome()
    assert planned.arguments["ask"] == {}


def test_an_empty_list_has_a_number_of_items_and_none_that_come_from_it(tmp_path: Path) -> None:
    pipelines = """
pipeline either(q: text ~ 10 tokens, some: [text] ~ 6, rest: [text] = []) -> text {
    made = some
    if good(q) ~ 0.25 { made = rest }
    if count(made) > 2 ~ 0.3 { return merge(each m in made: greet(m)) }
    return answer(q)
}
pipeline ask(q: text ~ 10 tokens, some: [text] ~ 6) -> text { return either(q, some: some) }
"""
    (flow,) = [flow for flow in planned_for(tmp_path, HEAD + pipelines).application.flows if flow.name == "ask"]
    nodes = expand(flow).flow.nodes
    (made,) = [at for at, node in enumerate(nodes) if isinstance(node.operation, Select) and node.share == 0.25]
    found = {
        part: [(nodes[way.origin.position].operation, way.is_drawn, way.weight) for way in ways(nodes, made, (part,))]
        for part in (COUNT, ITEM)
    }
    some, rest = (Parameter("some"), True, 0.75), (Constant([]), False, 0.25)
    assert sorted(found[COUNT], key=str) == sorted([some, rest], key=str)
    assert found[ITEM] == [some]


def test_each_call_of_a_component_has_shares_of_its_own(tmp_path: Path) -> None:
    """By its number, which a rehearsal finds in what tells its calls apart."""
    outcomes = planned_for(tmp_path, source_of(*BODIES["two calls of a component"])).behaviour.outcomes
    assert [outcomes[name] for name in ("good", "good#1")] == [TruthOutcome(0.5), TruthOutcome(0.1)]
    assert {name for name in outcomes if "#" in name} == {"good#1"}


@pytest.mark.parametrize(("place", "site"), [("", 0), ("2/5", 0), ("#3", 3), ("2/5#12", 12), ("what#", 0), ("a#b", 0)])
def test_the_number_of_a_call_is_read_off_its_place(place: str, site: int) -> None:
    assert site_of(place) == site


def test_a_place_that_is_shown_tells_its_number() -> None:
    assert site_of(show_place((("round", 2),), 4)) == 4
