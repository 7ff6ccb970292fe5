"""The requests of a scenario: what they are promised."""

from pathlib import Path

import pytest

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
