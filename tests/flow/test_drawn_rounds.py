"""The picture of a loop says how often its calls run as the plan counts them, and how often a round is the last."""

import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.flow.picture import Opened, picture

SOURCE = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)
component sort(q: text) -> "a" | "b" | "c" = small("{q}")
component good(q: text) -> bool = small("{q}")
component more(q: text) -> text = small("More: {q}")
component first(q: text) -> text = small("First: {q}")
pipeline ask(q: text ~ 10 tokens) -> text {
    r = q
    repeat up to LIMIT {
        r = more(r)
        k = sort(r)
        if k == "a" ~ FIRST { r = first(r) }
    } UNTIL
    return r
}
"""


@pytest.mark.parametrize("limit", [3, 12, 100])
@pytest.mark.parametrize("first", [0.8, 0.5])
@pytest.mark.parametrize(
    ("until", "last"),
    [
        ('until k == "b" ~ 0.1', lambda first: 0.1),
        ('until k != "a"', lambda first: 1.0 - first),
        ('until k == "a"', lambda first: first),
        ("until good(r) ~ 0.05", lambda first: 0.05),
        ("", lambda first: 0.0),
    ],
)
def test_calls_in_rounds_are_drawn_as_often_as_they_are_planned(
    tmp_path: Path, limit: int, first: float, until: str, last: Callable[[float], float]
) -> None:
    path = tmp_path / "ask.rag"
    path.write_text(SOURCE.replace("LIMIT", str(limit)).replace("FIRST", str(first)).replace("UNTIL", until))
    checked = check_files([path], {}).application
    assert checked is not None
    made = optimise(checked)
    (flow,) = made.flows
    asked = demand(made, flow)
    drawn = picture(flow, made, asked)
    counts = defaultdict[str, float](float)
    for box in drawn.boxes:
        if box.shape == "call" and (times := re.fullmatch(r"×(.*) a request", box.lines[-1])):
            counts[box.lines[0]] += float(times[1])
    assert counts == pytest.approx(asked.visits, rel=0.01)
    rounds = sum((1.0 - last(first)) ** number for number in range(limit))
    assert asked.visits["more"] == pytest.approx(rounds, rel=0.01)
    (loop,) = (part.title for part in drawn.parts if isinstance(part, Opened))
    said = f"repeat up to {limit}, last round {100 * last(first):.3g} %" if until else f"repeat {limit} times"
    assert loop == said
