"""Steps by NVIDIA's tables: without a socket, with all that the card says, and silent where there is no table."""

import importlib.metadata
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.card import SHIPPED, read_card
from harmonia_compiler.profile import tables
from harmonia_compiler.profile.steps import StepLoad
from harmonia_compiler.profile.tables import Table, config_of, table_for
from harmonia_compiler.runtime.weights import wanted

LLAMA = "meta-llama/Llama-3.2-3B-Instruct"
WIDTHS = {
    "llama-3.1-8b-instruct": (14_336, False),
    "llama-3.2-3b-instruct": (8_192, True),
    "mistral-7b-instruct-v0.3": (14_336, False),
    "qwen2.5-7b-instruct": (18_944, False),
    "smollm2-135m-instruct": (1_536, True),
}


@pytest.mark.parametrize("name", WIDTHS)
def test_a_card_says_all_that_a_table_needs(name: str) -> None:
    config = config_of(read_card(SHIPPED / f"{name}.toml"))
    assert config is not None
    assert (config["intermediate_size"], config["tie_word_embeddings"]) == WIDTHS[name]


def test_a_card_without_a_vocabulary_does_not() -> None:
    assert config_of(read_card(SHIPPED / "all-minilm-l6-v2.toml")) is None


def test_without_the_package_there_is_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(tables, "version", absent)
    assert table_for(wanted(LLAMA), "h100_sxm", 1) is None


@pytest.fixture(scope="module")
def h100() -> Table:
    pytest.importorskip("aiconfigurator_core")
    with pytest.MonkeyPatch.context() as patch:

        def refused(*_: object) -> None:
            raise AssertionError("it opened a socket")

        patch.setattr(socket.socket, "connect", refused)
        patch.setattr(socket, "getaddrinfo", refused)
        table = table_for(wanted(LLAMA), "h100_sxm", 1)
    assert table is not None
    return table


def test_where_its_figures_are_from_is_said(h100: Table) -> None:
    assert h100.provenance == "tables: aiconfigurator-core 0.12.0, h100_sxm, vllm"


@pytest.mark.parametrize(("gpu", "precision"), [("l4", "bf16"), ("h100_sxm", "fp32"), ("no_such_gpu", "bf16")])
def test_for_what_it_has_no_figures_there_is_no_table(gpu: str, precision: str) -> None:
    pytest.importorskip("aiconfigurator_core")
    assert table_for(wanted(LLAMA), gpu, 1, precision) is None


def test_a_model_of_a_shape_that_nobody_measured_has_none() -> None:
    pytest.importorskip("aiconfigurator_core")
    assert table_for(wanted("SmolLM2-135M-Instruct"), "h100_sxm", 1) is None


def test_nothing_is_written_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, h100: Table) -> None:
    monkeypatch.chdir(tmp_path)
    h100.step_ms(StepLoad(100, 5000.0))
    assert list(tmp_path.iterdir()) == []


def test_a_prefill_decodes_and_both_add_up(h100: Table) -> None:
    prefill, decode = StepLoad(512, 512**2 / 2), StepLoad(0, 0.0, 16, 16_000)
    both = StepLoad(512, 512**2 / 2, 16, 16_000)
    longer = max(h100.step_ms(prefill), h100.step_ms(decode))
    assert longer < h100.step_ms(both) < h100.step_ms(prefill) + h100.step_ms(decode)
    after = StepLoad(512, 512 * (4000 + 256))
    assert h100.step_ms(after) > h100.step_ms(prefill)
    assert h100.step_ms(StepLoad(512, 4 * 128**2 / 2)) < h100.step_ms(prefill)


@given(st.integers(1, 256), st.floats(1, 4000))
def test_time_grows_evenly_between_contexts(h100: Table, sequences: int, context: float) -> None:
    at, later = (h100.step_ms(StepLoad(0, 0.0, sequences, sequences * (context + more))) for more in (0.0, 1.0))
    assert abs(later - at) < 0.2


@given(st.integers(1, 8000), st.floats(0, 1e8), st.integers(0, 256), st.floats(0, 1e6))
def test_every_step_has_a_time(h100: Table, prefill: int, pairs: float, decodes: int, context: float) -> None:
    assert h100.step_ms(StepLoad(prefill, pairs, decodes, context * bool(decodes))) > 0
