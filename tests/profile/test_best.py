"""Rooflines: the printed figures, what must be monotone, what memory allows, which devices are offered."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.card import Card, Cards, load_cards
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.kinds.kind import Work
from harmonia_compiler.kinds.llm import kv_cache_gib
from harmonia_compiler.profile.assumptions import STORE_THREADS, TORCH_RUNTIME_GIB, VLLM_ENCODER_RUNTIME_GIB
from harmonia_compiler.profile.batching import LENGTH_CV2
from harmonia_compiler.profile.best import BestProfiles
from harmonia_compiler.profile.memory import memory_of
from harmonia_compiler.profile.profiles import Asked, Offer, Option, Profiles, Shortfall
from harmonia_compiler.profile.queueing import LEVELS, wait_ms
from harmonia_compiler.runtime.weights import wanted

CARDS = load_cards()
PROFILES: Profiles = BestProfiles(CARDS)
SERVER = Inventory((Host("server", 32, 256.0, (Gpu("a100_sxm", 4), Gpu("t4", 1))),))
CPU = Inventory((Host("cpu", 8, 64.0),))

SMALL = Engine("small", "llm", {"model": "meta-llama/Llama-3.2-3B-Instruct", "max_model_len": 4096})
GRADE = Work(prompt_tokens=2950.0, output_tokens=1.0)
ANSWER = Work(prompt_tokens=314.0, output_tokens=64.0)


def offer(engine: Engine, inventory: Inventory = SERVER, **work: Work) -> Offer:
    return PROFILES.offer(Asked(engine, work, dict.fromkeys(work, 1.0)), inventory)


def whole(offered: Offer, gpu: str = "a100_sxm", gpus: float = 1.0, batch: int = 1) -> Option:
    return next(
        option
        for option in offered.options
        if (option.configuration.gpu, option.configuration.gpus, option.configuration.batch) == (gpu, gpus, batch)
    )


def test_prefill_takes_what_the_data_sheet_says() -> None:
    """2 x 3.2 G parameters x 2,950 tokens over half of 312 TFLOP/s, and what each token looks back at."""
    card = wanted("meta-llama/Llama-3.2-3B-Instruct")
    option = whole(offer(SMALL, grade=GRADE))
    weights, attention = 2 * card.parameters * 2950, 4 * card.layers * card.heads * card.head_dim * 2950**2 / 2
    assert option.busy_ms["grade"] == pytest.approx((weights + attention) / (312e12 * 0.5) * 1000)
    assert option.busy_ms["grade"] == pytest.approx(131, rel=0.01)


def test_a_decoding_step_takes_what_the_data_sheet_says() -> None:
    """Weights and keys over 80 % of 2,039 GB/s, and 2 ms; the answer is half written in the mean."""
    card = wanted("meta-llama/Llama-3.2-3B-Instruct")
    option = whole(offer(SMALL, write=Work(prompt_tokens=1.0, output_tokens=101.0)), batch=64)
    context = (1.0 + 101.0 / 2) * card.kv_bytes_per_token()
    step = 2.0 + (card.parameters * 2 + 64 * context) / (2039e6 * 0.8)
    # And one step for the prompt, before which a call is late for another.
    assert option.busy_ms["write"] == pytest.approx(102 * step / 64, rel=1e-3)


def test_a_call_takes_longest_where_the_replica_is_busiest() -> None:
    for option in offer(SMALL, grade=GRADE, answer=ANSWER).options:
        for times in (*option.latency_ms.values(), *option.first_ms.values()):
            assert len(times) == len(LEVELS)
            assert list(times) == sorted(times)
        for name, times in option.first_ms.items():
            assert all(first > 0 for first in times)
            if name == "answer":
                assert times <= option.latency_ms[name]


def test_a_larger_batch_carries_more_and_a_single_call_waits_no_less() -> None:
    options = [
        option
        for option in offer(SMALL, answer=ANSWER).options
        if (option.configuration.gpu, option.configuration.gpus) == ("a100_sxm", 1.0)
    ]
    assert [option.configuration.batch for option in options] == [1, 4, 16, 64, 256]
    busy = [option.busy_ms["answer"] for option in options]
    assert busy == sorted(busy, reverse=True)


def test_a_single_place_waits_as_one_server_does() -> None:
    """With one place a call holds the replica for as long as it takes, and the queue is that of one server.

    Lengths vary by half of their mean, and so less than exponential times: a queue of those waits 5 / 8 as long.
    """
    option = whole(offer(SMALL, answer=ANSWER))
    for level, latency in zip(LEVELS, option.latency_ms["answer"], strict=True):
        alone = option.busy_ms["answer"]
        assert latency == pytest.approx(alone + (1 + LENGTH_CV2) / 2 * wait_ms(alone, 1, level), rel=1e-3)


def test_batches_end_where_the_memory_does() -> None:
    card = wanted("meta-llama/Llama-3.2-3B-Instruct")
    for option in offer(SMALL, grade=GRADE).options:
        configuration = option.configuration
        if configuration.gpu:
            needs = card.weights_gib + configuration.batch * 2951 * card.kv_bytes_per_token() / 2**30
            assert needs < configuration.gpu_memory_gib * configuration.tensor_parallel


def test_every_configuration_holds_a_call_of_full_length() -> None:
    """The engine does not start otherwise, however short the calls are that are expected: 8 GiB at 112 KiB a token."""
    long = replace_settings(SMALL, max_model_len=75_000)
    card = wanted("meta-llama/Llama-3.2-3B-Instruct")
    cache = 75_000 * card.kv_bytes_per_token() / 2**30
    assert cache > 8.0
    on = {"gpu": 0, "cpu": 0}
    for option in offer(long, write=Work(prompt_tokens=10.0, output_tokens=10.0)).options:
        configuration = option.configuration
        if configuration.gpu:
            holds = configuration.gpu_memory_gib * configuration.tensor_parallel
        else:
            holds = configuration.memory_gib
        assert holds >= card.weights_gib + cache
        on["gpu" if configuration.gpu else "cpu"] += 1
    assert all(on.values())


def test_a_model_that_no_gpu_holds_says_what_it_needs() -> None:
    engine = replace_settings(SMALL, model="meta-llama/Llama-3.1-8B-Instruct", on="t4")
    offered = offer(engine, Inventory((Host("h", 4, 8.0, (Gpu("t4", 1),)),)), answer=ANSWER)
    assert not offered.options
    short = offered.shortfalls[0]
    assert short.resource == "GiB of memory on each GPU"
    assert short.needs > short.has


def replace_settings(engine: Engine, **settings: object) -> Engine:
    return Engine(engine.id, engine.kind, engine.settings | settings)


def test_tensor_parallel_degrees_divide_the_heads_and_the_host() -> None:
    degrees = {option.configuration.tensor_parallel for option in offer(SMALL, grade=GRADE).options}
    assert degrees == {1, 2, 4}
    fixed = offer(replace_settings(SMALL, tensor_parallel=2), grade=GRADE)
    assert {option.configuration.tensor_parallel for option in fixed.options} == {2}


@pytest.mark.parametrize(("on", "gpus"), [("cpu", {""}), ("t4", {"t4"}), ("a100_sxm", {"a100_sxm"}), ("l4", set())])
def test_on_leaves_only_that_device(on: str, gpus: set[str]) -> None:
    offered = offer(replace_settings(SMALL, on=on), grade=GRADE)
    assert {option.configuration.gpu for option in offered.options} == gpus


def test_memory_on_cpu_leaves_the_cache_that_was_planned() -> None:
    """What the launch takes for the cache is what the configuration's memory was sized for."""
    engine = Engine("tiny", "llm", {"model": "SmolLM2-135M-Instruct"})
    card = wanted("SmolLM2-135M-Instruct")
    for option in offer(engine, CPU, answer=ANSWER).options:
        cache = kv_cache_gib(engine, card, option.configuration) * 2**30
        assert cache >= option.configuration.batch * 378 * card.kv_bytes_per_token()
        assert cache >= min(8192, card.context) * card.kv_bytes_per_token()


def test_stated_cores_and_memory_are_taken_as_they_are() -> None:
    engine = Engine("walk", "python", {"function": "walk:walk", "cores": 2.0, "memory": 8.0})
    (option,) = offer(engine, CPU, walk=Work(core_ms=10.0)).options
    assert (option.configuration.cores, option.configuration.memory_gib) == (2.0, 8.0)
    assert option.busy_ms == {"walk": 5.0}
    assert offer(replace_settings(engine, cores=64.0), CPU, walk=Work(core_ms=10.0)).shortfalls[0].resource == "cores"


def test_half_a_core_more_is_no_thread_more() -> None:
    engine = Engine("walk", "python", {"function": "walk:walk", "cores": 1.5})
    (option,) = offer(engine, CPU, walk=Work(core_ms=10.0)).options
    assert option.busy_ms == {"walk": 10.0}
    assert option.configuration.batch == 1


def test_part_of_a_core_is_slower_by_as_much() -> None:
    engine = Engine("walk", "python", {"function": "walk:walk", "cores": 0.5})
    (option,) = offer(engine, CPU, walk=Work(core_ms=10.0)).options
    assert option.busy_ms == {"walk": 20.0}


def test_a_store_is_no_faster_on_more_cores_than_it_uses() -> None:
    offered = offer(Engine("milvus", "milvus", {}), SERVER, search=Work(core_ms=7.0))
    fastest = min(option.busy_ms["search"] for option in offered.options)
    assert fastest == 7.0 / STORE_THREADS


def test_a_group_that_no_host_has_says_how_many_devices_it_needs() -> None:
    offered = offer(replace_settings(SMALL, tensor_parallel=8), grade=GRADE)
    assert offered.shortfalls == (Shortfall("GPUs of one type on one host", 8.0, 4.0, "a smaller `tensor_parallel`"),)
    assert offer(replace_settings(SMALL, tensor_parallel=2), CPU, grade=GRADE).shortfalls == (
        Shortfall("GPUs of one type on one host", 2.0, 0.0, "a smaller `tensor_parallel`"),
    )


def test_an_encoder_reads_its_sequences() -> None:
    engine = Engine("embed", "embedder", {"model": "all-MiniLM-L6-v2"})
    offered = offer(engine, embed=Work(encoded_tokens=20.0, encoded_items=1.0))
    assert all(option.configuration.tensor_parallel == 1 for option in offered.options)
    longer = offer(engine, embed=Work(encoded_tokens=2000.0, encoded_items=10.0))
    for short, long in zip(offered.options, longer.options, strict=True):
        assert short.busy_ms["embed"] < long.busy_ms["embed"]


def test_an_encoder_on_vllm_takes_the_same_time_and_more_memory_of_cores() -> None:
    ours = Engine("embed", "embedder", {"model": "all-MiniLM-L6-v2"})
    work = Work(encoded_tokens=20.0, encoded_items=1.0)
    offered, by_vllm = offer(ours, embed=work), offer(replace_settings(ours, server="vllm"), embed=work)
    for one, other in zip(offered.options, by_vllm.options, strict=True):
        more = 0.0 if one.configuration.gpu else VLLM_ENCODER_RUNTIME_GIB - TORCH_RUNTIME_GIB
        assert other.configuration.memory_gib == pytest.approx(one.configuration.memory_gib + more)
        assert other.busy_ms == one.busy_ms
        assert memory_of(ours, wanted("all-MiniLM-L6-v2"), one.configuration).rest_gib + more == pytest.approx(
            memory_of(replace_settings(ours, server="vllm"), wanted("all-MiniLM-L6-v2"), other.configuration).rest_gib
        )


def test_an_unknown_model_names_its_neighbours() -> None:
    with pytest.raises(Rejected) as rejected:
        offer(replace_settings(SMALL, model="Llama-3.2-3B-Instrukt"), grade=GRADE)
    assert [found.code for found in rejected.value.found] == ["E0801"]


@pytest.mark.slow
@given(
    st.sampled_from(sorted({card.name for card in CARDS if card.role == "llm"})),
    st.floats(0.0, 4000.0),
    st.floats(0.0, 400.0),
)
def test_every_model_has_finite_positive_figures(name: str, prompt: float, output: float) -> None:
    offered = offer(replace_settings(SMALL, model=name), call=Work(prompt_tokens=prompt, output_tokens=output))
    for option in offered.options:
        figures = [*option.latency_ms["call"], *option.first_ms["call"]]
        assert all(0.0 <= figure < float("inf") for figure in figures)


def test_a_mixture_of_experts_is_as_fast_as_what_it_activates() -> None:
    card = wanted("meta-llama/Llama-3.2-3B-Instruct")
    sparse: Card = replace_card(card, card.parameters / 4)
    option = whole(BestProfiles(Cards([sparse])).offer(Asked(SMALL, {"grade": GRADE}), SERVER))
    spared = 2 * card.parameters * 0.75 * 2950 / (312e12 * 0.5) * 1000
    assert option.busy_ms["grade"] == pytest.approx(whole(offer(SMALL, grade=GRADE)).busy_ms["grade"] - spared)


def replace_card(card: Card, active: float) -> Card:
    changed = {name: getattr(card, name) for name in Card.__struct_fields__} | {"active_parameters": active}
    return Card(**changed)


def test_a_heavier_mixture_slows_the_same_call() -> None:
    """Calls wait longer where those beside them are longer."""
    light = PROFILES.offer(Asked(SMALL, {"grade": GRADE, "answer": ANSWER}, {"grade": 1.0, "answer": 9.0}), SERVER)
    heavy = replace(light, options=offer(SMALL, grade=GRADE, answer=ANSWER).options)
    one, other = whole(light, batch=16), whole(heavy, batch=16)
    assert one.first_ms["answer"][-1] < other.first_ms["answer"][-1]
