"""What is expected of values: their sizes, and what several of them come to in the mean."""

from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.component import Port, Sizes
from harmonia_compiler.contract.types import Field, Number, Record, Text
from harmonia_compiler.emulate.outcomes import (
    NumberOutcome,
    RecordOutcome,
    TextOutcome,
    TruthOutcome,
    expected_argument,
    expected_outcomes,
)
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.kinds.extents import typed_extent
from harmonia_compiler.kinds.registry import kinds
from tests.emulate.planned import planned_for

LOOP = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 8)
component redo(q: text) -> text = small("Again: {q}")
component good(q: text) -> bool = small("{q} good?")
pipeline ask(q: text ~ 10 tokens) -> text {
    repeat up to 3 { q = redo(q) } until good(q) ~ 0.75
    return redo(q)
}
"""


RECORD = Record((Field("thought", Text()), Field("sure", Number()), Field("text", Text())))


def test_each_field_of_a_record_is_as_large_as_it_is_declared() -> None:
    port = Port("given", RECORD, inner=Sizes(parts={"thought": Sizes(40.0), "text": Sizes(7.0)}))
    assert expected_argument(port) == RecordOutcome(
        {"thought": TextOutcome(40.0), "sure": NumberOutcome(), "text": TextOutcome(7.0)}
    )


@pytest.mark.parametrize("tokens", [40.0, 400.0])
def test_a_document_may_say_the_size_of_a_record_as_a_whole(tokens: float) -> None:
    """As those did that knew no sizes of parts."""
    port = Port("given", RECORD, size=tokens)
    extent = typed_extent(port.type, port.sizes)
    assert (extent.tokens, extent.guessed) == (tokens, False)
    outcome = expected_argument(port)
    assert isinstance(outcome, RecordOutcome)
    usual = typed_extent(RECORD).tokens
    expected = TextOutcome(pytest.approx(tokens * 60.0 / usual))  # type: ignore[arg-type]
    assert outcome.fields["thought"] == outcome.fields["text"] == expected


def test_rounds_of_which_different_things_are_said_count_as_often_as_requests_reach_them(tmp_path: Path) -> None:
    application = planned_for(tmp_path, LOOP).application
    (flow,) = application.flows
    asked = demand(application, flow)
    first, second = (call for call in asked.calls if call.component == "good")
    assert [first.visits, second.visits] == pytest.approx([1.0, 0.25])
    likely = {(first.position, ()): {None: 0.4}, (second.position, ()): {None: 0.9}}
    changed = msgspec.structs.replace(asked, likely=likely)
    found = expected_outcomes(application, [(flow, changed)], kinds())["good"]
    assert found == TruthOutcome(pytest.approx((0.4 + 0.25 * 0.9) / 1.25))  # type: ignore[arg-type]
