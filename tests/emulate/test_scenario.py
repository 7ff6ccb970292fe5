"""The requests of a scenario: what they are promised, and what cannot be drawn for them."""

from collections import Counter
from pathlib import Path

import pytest

from harmonia_compiler.contract.objective import Objective
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.workload.request import Arrival
from tests.emulate.planned import planned_for

SOURCE = """
class urgent(deadline: 4 s)
class patient(deadline: 60 s)
class usual()
component small = llm("SmolLM2-135M-Instruct", max_tokens: 8)
component answer(q: text) -> text = small("Answer: {q}")
pipeline ask(q: text ~ 10 tokens, who: class) -> text {
    slo p95 latency <= 9 s
    slo p95 ttft <= 2 s
    load urgent 1 rps, patient 1 rps, usual 1 rps
    return stream answer(q)
}
"""


@pytest.mark.parametrize(("name", "deadline_ms"), [("urgent", 4_000.0), ("patient", 60_000.0), ("usual", 9_000.0)])
def test_the_deadline_of_a_class_holds_in_the_place_of_what_its_pipeline_promises(
    tmp_path: Path, name: str, deadline_ms: float
) -> None:
    (coming,) = planned_for(tmp_path, SOURCE).coming([Arrival(0.0, request_class=name)])
    assert (coming.request_class, coming.deadline_ms, coming.ttft_deadline_ms) == (name, deadline_ms, 2_000.0)


def test_reports_judge_what_is_promised_to_each_class(tmp_path: Path) -> None:
    assert planned_for(tmp_path, SOURCE).objectives == {
        "ask": (Objective("latency", 0.95, 9_000.0), Objective("ttft", 0.95, 2_000.0)),
        "ask/urgent": (Objective("latency", 0.95, 4_000.0),),
        "ask/patient": (Objective("latency", 0.95, 60_000.0),),
    }


MIXED = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 8)
component answer(q: text) -> text = small("Answer: {q}")
pipeline often(q: text ~ 10 tokens) -> text {
    load 2 rps peak 90 rps
    return answer(q)
}
pipeline unsaid(q: text ~ 10 tokens) -> text {
    return answer(q)
}
"""


def test_pipelines_get_their_parts_of_the_mean_loads_and_of_one_a_second_where_none_is_said(tmp_path: Path) -> None:
    planned = planned_for(tmp_path, MIXED)
    assert planned.load_rps == 3.0
    came = Counter(one.pipeline for one in planned.coming(Arrival(float(at)) for at in range(3000)))
    assert came["unsaid"] == pytest.approx(1000, rel=0.1)
    assert came.total() == 3000


LARGE = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 8)
component rows(q: text) -> ANSWER = python("code:rows")
component few(first: TYPE, then: TYPE, brought: TYPE) -> text ~ 8 tokens = python("code:few")
component say(q: text) -> text ~ 8 tokens = small("{q}")
pipeline ask(q: text ~ 10 tokens, brought: BROUGHT, unread: UNREAD) -> text {
    return say(few(rows(q), rows(say(q)), brought))
}
"""


def large(folder: Path, of: str, **sizes: int) -> list[str]:
    """What is too large to be drawn, with its place, where some of the answer and the ports have so many items."""
    source = LARGE.replace("TYPE", of)
    for name in ("answer", "brought", "unread"):
        source = source.replace(name.upper(), f"{of} ~ {sizes.get(name, 100)}")
    try:
        planned_for(folder, source)
    except Rejected as rejected:
        return [
            f"{one.code}: {one.message.partition(' tokens')[0]} at "
            f"{one.span.source.text[one.span.start : one.span.end] if one.span else None}"
            for one in rejected.found
        ]
    return []


#: A list that may be drawn, one that may not, and how much there is in it: the most is 1,048,576.
TOO_LARGE = [
    ("[number]", 1_000_000, 1_100_000, "1,100,000"),
    ("[(least: number, most: number)]", 500_000, 600_000, "1,200,000"),
    ("[[number]]", 200_000, 500_000, "2,000,000"),
]


@pytest.mark.parametrize(("of", "fits", "items", "parts"), TOO_LARGE)
def test_what_a_component_answers_is_refused_where_it_is_called_if_it_cannot_be_drawn(
    tmp_path: Path, of: str, fits: int, items: int, parts: str
) -> None:
    assert large(tmp_path, of, answer=fits) == []
    assert large(tmp_path, of, answer=items) == [f"E1343: what `rows` answers has up to {parts} at rows(q)"]


@pytest.mark.parametrize(("of", "fits", "items", "parts"), TOO_LARGE)
def test_what_is_brought_is_refused_at_its_port_if_it_cannot_be_drawn(
    tmp_path: Path, of: str, fits: int, items: int, parts: str
) -> None:
    assert large(tmp_path, of, brought=fits, unread=fits) == []
    assert large(tmp_path, of, brought=items, unread=items) == [
        f"E1343: `unread` of `ask` has up to {parts} at ask",
        f"E1343: `brought` of `ask` has up to {parts} at brought: {of} ~ {items}",
    ]


SEARCH = """
component minilm = embedder("all-MiniLM-L6-v2")
component small = llm("SmolLM2-135M-Instruct", max_tokens: 8)
component search = milvus("docs", embedder: minilm, top_k: 4, chunk_tokens: 2000)
component few(found: [passage]) -> text ~ 8 tokens = python("code:few")
component say(q: text) -> text ~ 8 tokens = small("{q}")
pipeline ask(q: text ~ 10 tokens) -> text { return say(few(search(say(few(search(q))), top_k: 1000))) }
"""


def test_what_a_call_answers_is_refused_by_what_it_says_anew(tmp_path: Path) -> None:
    planned_for(tmp_path, SEARCH.replace("1000", "40"))
    with pytest.raises(Rejected) as rejected:
        planned_for(tmp_path, SEARCH)
    (found,) = rejected.value.found
    assert (found.code, found.message.partition(" tokens")[0]) == ("E1343", "what `search` answers has up to 1,600,000")
    assert found.span is not None
    assert found.span.source.text[found.span.start : found.span.end].endswith("top_k: 1000)")
