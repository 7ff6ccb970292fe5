"""What people write instead: one finding each, on the right line, with a next step.

`slips.txt` holds the slips, each with what is said about it; `make bless` writes that anew.
"""

import re
from pathlib import Path

import pytest

from harmonia_compiler.diagnostics.diagnostic import Findings, in_order
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax.parser import parse

PATH = Path(__file__).with_name("slips.txt")
#: Where a slip stands: a statement between two others, a declaration before another.
AROUND = {
    "statement": ("pipeline p(question: text) -> text {\n    query = question\n", "\n    return query\n}\n"),
    "declaration": ("", "\n"),
}
BEHIND = 'component last(q: text) -> text = python("m:last")\n'


def cases() -> list[tuple[str, str, list[str]]]:
    """Kind, text and outcome of each."""
    found = []
    for block in PATH.read_text(encoding="utf-8").split("--- ")[1:]:
        kind, *lines = block.rstrip("\n").split("\n")
        text = [line for line in lines if not line.startswith("=> ")]
        found.append((kind, "\n".join(text), [line for line in lines if line.startswith("=> ")]))
    return found


def outcome(kind: str, text: str) -> tuple[list[str], list[str]]:
    """What is said, by line and column within the slip, and the names of the declarations that are read."""
    before, after = AROUND[kind]
    source, findings = Source("a.rag", before + text + after + BEHIND), Findings()
    file = parse(source, findings)
    said = []
    for item in in_order(findings.items):
        assert item.span is not None
        line, column = source.position(item.span.start)
        said.append(f"=> {line - before.count(chr(10))}:{column} {item.code} {item.message} | {item.help}")
    return said, [declared.name.text for declared in file.declarations if hasattr(declared, "name")]


@pytest.mark.parametrize(("kind", "text", "expected"), [pytest.param(*case, id=case[1].strip()) for case in cases()])
def test_one_slip_is_one_finding_on_its_line(kind: str, text: str, expected: list[str]) -> None:
    said, read = outcome(kind, text)
    assert said == expected, "make bless"
    assert len(said) == 1
    line = int(re.findall(r"\d+", said[0])[0])
    assert 1 <= line <= text.count("\n") + 1
    assert not said[0].endswith("| ")
    assert "last" in read
    assert kind == "declaration" or "p" in read


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("    if g(query):\n        query = question\n    } else:\n        query = f(query)\n    }", [1, 3]),
        ("    if g(query):\n        query = question\n    else:\n        query = f(query)", [1, 3]),
        ("    repeat up to 3:\n        if g(query):\n            query = question\n    } until g(query)", [1, 2]),
        ("    repeat up to 3:\n        if g(query):\n            query = question\n        }", [1, 2]),
        ("    if g(query):\n        query = question\n    }\n    query = f(query) }", [1, 4]),
        ("    for x in query:\n        query = f(x)\n        if g(x):\n            query = x", [1, 3]),
    ],
    ids=["both closed", "none closed", "outer closed", "inner closed", "another bracket", "another language"],
)
def test_of_blocks_behind_a_colon_each_is_told_with_or_without_its_brace(text: str, lines: list[int]) -> None:
    said, read = outcome("statement", text)
    assert [int(re.findall(r"\d+", one)[0]) for one in said] == lines
    assert read == ["p", "last"]


def test_the_outcomes_are_current(request: pytest.FixtureRequest) -> None:
    written = "".join("--- " + "\n".join([kind, text, *outcome(kind, text)[0]]) + "\n" for kind, text, _ in cases())
    if request.config.getoption("--bless"):
        PATH.write_text(written, encoding="utf-8")
    assert PATH.read_text(encoding="utf-8") == written, "make bless"
