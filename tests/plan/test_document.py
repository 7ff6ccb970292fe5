"""The page about planning names each field of a plan document, and no other."""

import re
from pathlib import Path

import msgspec

from harmonia_compiler.contract.plan import (
    FORMAT_VERSION,
    Configuration,
    MemoryUse,
    PipelineShare,
    Plan,
    Predicted,
    ProfileUse,
    Replica,
    Solver,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "planning.md"

#: The rows of the page that are about fields of a part of the plan, and which part.
PARTS: dict[str, type[msgspec.Struct]] = {
    "`pipelines[]`": PipelineShare,
    "`solver`": Solver,
    "`replicas[]`": Replica,
    "`config` of a replica": Configuration,
    "`predicted{}`": Predicted,
    "`profiles[]`": ProfileUse,
    "`memory[]`": MemoryUse,
}

#: Words in these rows that are values, and no fields.
VALUES = {"optimal", "feasible"}


def rows() -> list[tuple[str, str]]:
    section = PAGE.read_text(encoding="utf-8").split("\n## The plan document\n")[1].split("\n## ")[0]
    return re.findall(r"^\| (`[^|]*?) \| ([^|]*) \|$", section, re.MULTILINE)


def test_each_field_of_a_plan_has_a_row_and_no_other_has() -> None:
    first = [re.findall(r"`([a-z_]+)(?:\[\]|\{\})?`", name)[0] for name, _ in rows()]
    assert first[: len(Plan.__struct_fields__)] == list(Plan.__struct_fields__)
    assert {name for name, _ in rows()[len(Plan.__struct_fields__) :]} < PARTS.keys()


def test_each_field_of_its_parts_is_named_and_no_other() -> None:
    said: dict[str, set[str]] = {}
    for name, text in rows():
        said.setdefault(name, set()).update(re.findall(r"`([a-z_0-9]+)`", text))
    for name, part in PARTS.items():
        assert said[name] - VALUES == set(part.__struct_fields__), name


def test_the_version_on_the_page_is_the_one_that_is_written() -> None:
    assert f"`format_version` is {FORMAT_VERSION}." in PAGE.read_text(encoding="utf-8")
