"""How large a value is that is one or the other, in the mean over requests."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.program import GetField
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.extents import extents
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.kinds.kind import Extent
from harmonia_compiler.kinds.registry import kinds

HEAD = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 400)
component sure(q: text) -> bool = small("{q}?", max_tokens: 4)
component read(it: text) -> text ~ 5 tokens = small("{it}", max_tokens: 10)
"""


def checked(folder: Path, source: str) -> Application:
    (path := folder / "ask.rag").write_text(HEAD + source)
    found = check_files([path])
    assert found.application is not None, found.found
    return found.application


LISTS = """
component few(q: text) -> [(a: text ~ 5 tokens, b: text ~ 300 tokens)] ~ 1 = python("m:few", takes: 1 ms)
component many(q: text) -> [(a: text ~ 200 tokens, b: text ~ 3 tokens)] ~ 20 = python("m:many", takes: 1 ms)
pipeline ask(q: text ~ 10 tokens) -> [text] {
    rows = few(q)
    if sure(q) ~ 0.3 { rows = many(q) }
    return each row in rows: read(row.PART)
}
"""


@pytest.mark.parametrize(("part", "few", "many"), [("a", 5.0, 200.0), ("b", 300.0, 3.0)])
def test_items_of_either_list_count_as_often_as_they_come(tmp_path: Path, part: str, few: float, many: float) -> None:
    application = checked(tmp_path, LISTS.replace("PART", part))
    found = demand(application, application.flows[0])
    assert found.visits["read"] == pytest.approx(0.7 * 1 + 0.3 * 20)
    read = found.visits["read"] * (found.work["read"].prompt_tokens - 16)
    assert read == pytest.approx(0.7 * 1 * few + 0.3 * 20 * many)


RECORDS = """
component known(q: text) -> (a: text ~ 10 tokens, b: text ~ 30 tokens) = python("m:known", takes: 1 ms)
component told(q: text) -> (a: text, b: text) = small("{q}")
pipeline ask(q: text ~ 10 tokens) -> text {
    record = known(q)
    if sure(q) ~ SHARE { record = told(q) }
    return read(record.a)
}
"""
WHOLE = 100.0


def part_read(folder: Path, share: float) -> Extent:
    """What is read of either record, where only the size of the second one as a whole is known."""
    application = checked(folder, RECORDS.replace("SHARE", str(share)))
    told = {**kinds(), "llm": replace(kinds()["llm"], result_extent=lambda _, inputs=None: Extent(WHOLE))}
    (flow,) = application.flows
    found = extents(flow, application, told, {})
    (part,) = (extent for node, extent in zip(flow.nodes, found, strict=True) if isinstance(node.operation, GetField))
    return part


def test_of_a_record_whose_parts_are_not_always_known_they_are_the_usual_ones(tmp_path: Path) -> None:
    """Both texts have the same share of it, beside the names: known are 10 tokens of the first."""
    part = part_read(tmp_path, 0.5)
    assert part.guessed
    # The other one has 49.5: two texts, and what stands around them.
    assert part.tokens == pytest.approx((WHOLE + 10 + 30 + 4.5) / 2 * 60 / (120 + 4.5))


def test_a_record_that_no_request_has_tells_nothing_of_the_parts(tmp_path: Path) -> None:
    assert part_read(tmp_path, 0.0) == Extent(10.0)
