"""Which known name an unknown one was probably meant to be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.diagnostics import near
from harmonia_compiler.diagnostics.near import listed, nearest, suggestion
from tests.executed import executed


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("serach", ["search", "answer"], "search"),
        ("flat", ["FLAT", "HNSW"], "FLAT"),
        ("qwen2.5-7b-instuct", ["Qwen2.5-7B-Instruct", "Qwen2.5-0.5B-Instruct"], "Qwen2.5-7B-Instruct"),
        ("h100", ["a100_sxm", "h100_sxm"], "h100_sxm"),
        ("a100", ["a10g", "a100_sxm", "a100_pcie_40", "a1000"], "a100_sxm"),
        ("a10", ["a10g", "a100_sxm"], "a10g"),
        ("top", ["to", "top_k"], "top_k"),
        ("SmolLM2", ["SmolLM2-360M-Instruct", "SmolLM2-1.7B"], "SmolLM2-1.7B"),
        ("to", ["top_k", "total"], None),
        ("search", ["search"], None),
        ("z", ["a", "b"], None),
        ("z", ["a", "zs"], "zs"),
        ("zebra", ["search", "answer"], None),
        ("zebra", [], None),
        ("x" + "a" * 99, ["y" + "a" * 99], "y" + "a" * 99),
        ("x" + "a" * 100, ["y" + "a" * 100], None),
        ("aaa", ["a" * 101, "aaaaaaa"], "aaaaaaa"),
        ("aaa", ["a" * 101], None),
    ],
)
def test_few_slips_or_a_beginning(name: str, known: list[str], meant: str | None) -> None:
    assert nearest(name, known) == meant


def slips(one: str, other: str) -> int:
    """Letters inserted, left out, changed, or swapped with a neighbour, by the whole matrix."""
    rows: list[list[int]] = [[*range(len(other) + 1)]]
    for i, letter in enumerate(one, 1):
        rows.append([i])
        for j, wanted in enumerate(other, 1):
            best = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (letter != wanted))
            if i > 1 and j > 1 and (letter, one[i - 2]) == (other[j - 2], wanted):
                best = min(best, rows[i - 2][j - 2] + 1)
            rows[i].append(best)
    return rows[-1][-1]


@given(one=st.text("abc", max_size=70), other=st.text("abc", max_size=70), fewer=st.integers(1, 70))
def test_slips_are_those_of_the_whole_matrix(one: str, other: str, fewer: int) -> None:
    every = slips(one, other)
    assert near._slips(one, other, every) == every
    assert near._slips(one, other, every - fewer) > every - fewer


@pytest.mark.parametrize("length", [5, 60, 10_000])
def test_however_long_and_many_names_are_a_look_is_bounded(length: int) -> None:
    many = [
        f"{at:05}".translate(str.maketrans("0123456789", "abcdefghij")) + "xy" * (length // 2) for at in range(9_000)
    ]
    assert executed(lambda: nearest("yx" * (length // 2) + "klmno"[: length % 2], many)) < 700_000


def test_in_a_sentence() -> None:
    assert suggestion("serach", ["search"], "otherwise") == "did you mean `search`?"
    assert suggestion("zebra", ["search"], "otherwise") == "otherwise"
    assert listed(["a", "b", "c"], most=2) == "`a`, `b` and 1 more"
    assert listed(["a" * 101, "b" * 100]) == f"`{'a' * 100}…`, `{'b' * 100}`"
