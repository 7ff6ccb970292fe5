"""Which known name an unknown one was probably meant to be."""

import pytest

from harmonia_compiler.diagnostics.near import listed, nearest, suggestion


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
    ],
)
def test_few_slips_or_a_beginning(name: str, known: list[str], meant: str | None) -> None:
    assert nearest(name, known) == meant


def test_in_a_sentence() -> None:
    assert suggestion("serach", ["search"], "otherwise") == "did you mean `search`?"
    assert suggestion("zebra", ["search"], "otherwise") == "otherwise"
    assert listed(["a", "b", "c"], most=2) == "`a`, `b` and 1 more"
