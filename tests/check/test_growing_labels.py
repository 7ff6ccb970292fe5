"""Names whose labels grow from round to round: as long as possible they are what they may be, and nothing more."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files

STATES = [f"s{each}" for each in range(8)]
TAKES = " | ".join(f'"{each}"' for each in STATES)
SOURCE = """
component ok(q: text) -> bool = python("m:ok")
component g(q: text) -> text = python("m:g")
component of(k: TAKES) -> text = python("m:of")
pipeline p(q: text) -> text {
    k = "s0"
    y = q
    repeat up to 20 {
        was = k
        y = of(k)
        BETWEEN
        NEXT
    }
    return y
}
"""
NEXT = " ".join(
    f'{"if" if at == 0 else "} elif"} was == "{each}" {{ k = "{STATES[at + 1]}"' for at, each in enumerate(STATES[:-1])
)


@pytest.mark.parametrize(
    "between",
    [
        'if ok(y) { k = "done"\n return g(k) }',
        'if ok(y) { k = "busy"\n y = g(k) }',
    ],
)
def test_a_label_of_a_path_that_does_not_lead_on_is_none_of_a_later_round(between: str, tmp_path: Path) -> None:
    source = (
        SOURCE.replace("TAKES", TAKES).replace("NEXT", f'{NEXT} }} else {{ k = "s0" }}').replace("BETWEEN", between)
    )
    (path := tmp_path / "a.rag").write_text(source)
    checked = check_files([path])
    assert [one for one in checked.found if one.code.startswith("E")] == []
    assert checked.application is not None


PARTS = [f"f{at}" for at in range(18)]
SHIFTED = ", ".join(f"{name}: {f'r.{PARTS[at - 1]}' if at else 'FIRST'}" for at, name in enumerate(PARTS))
TURNS = """
component ok(q: text) -> bool = python("m:ok")
component kind(q: text) -> "y" | "z" = python("m:kind")
component g(q: text) -> text = python("m:g")
component of(k: "a" | "y" | "z") -> text = python("m:of")
pipeline p(q: text) -> text {
    r = (START)
    repeat up to 50 {
        r = (SHIFTED)
    } until ok(q)
    return of(LAST)
}
"""


@pytest.mark.parametrize("first", ['"z"', "kind(q)", "(ok: kind(q)).ok"])
def test_each_part_of_a_record_may_be_one_label_more_after_a_round(first: str, tmp_path: Path) -> None:
    start = ", ".join(f'{name}: "a"' for name in PARTS)
    source = TURNS.replace("START", start).replace("SHIFTED", SHIFTED).replace("FIRST", first)
    (path := tmp_path / "a.rag").write_text(source.replace("LAST", f"r.{PARTS[-1]}"))
    checked = check_files([path])
    assert [one for one in checked.found if one.code.startswith("E")] == []
    assert checked.application is not None


@pytest.mark.parametrize(
    ("start", "first"),
    [("[]", "[g(q)]"), ("[]", "[[g(q)]]"), ("[]", "[kind(q)]"), ('"a"', "g(q)"), ('["a"]', "[g(q)]")],
)
def test_each_part_of_a_record_may_become_more_than_it_was_after_a_round(
    start: str, first: str, tmp_path: Path
) -> None:
    starts = ", ".join(f"{name}: {start}" for name in PARTS)
    source = TURNS.replace("START", starts).replace("SHIFTED", SHIFTED).replace("FIRST", first)
    (path := tmp_path / "a.rag").write_text(source.replace("LAST", "kind(q)"))
    assert [one for one in check_files([path]).found if one.code.startswith("E")] == []


def test_items_of_a_list_may_be_one_label_more_after_a_round(tmp_path: Path) -> None:
    start = ", ".join(f'{name}: ["a"]' for name in PARTS)
    shifted = SHIFTED.replace("FIRST", "[kind(q)]")
    source = TURNS.replace("START", start).replace("SHIFTED", shifted).replace("LAST", "kind(q)")
    (path := tmp_path / "a.rag").write_text(source)
    assert [one for one in check_files([path]).found if one.code.startswith("E")] == []
