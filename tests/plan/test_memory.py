"""What a plan says of the memory of its replicas, and what checks it."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as changed

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.contract.plan import (
    FORMAT_VERSION,
    Configuration,
    MemoryUse,
    Plan,
    Replica,
    Solver,
    decode_plan,
    encode_plan,
)
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.kinds.vllm import CPU_RUNTIME_GIB
from harmonia_compiler.plan.build import build_problem
from harmonia_compiler.plan.memory import memory_uses
from harmonia_compiler.plan.planner import make_plan
from harmonia_compiler.plan.recount_memory import memory_miscounted
from harmonia_compiler.plan.verify import faults
from harmonia_compiler.profile.assumptions import WEIGHT_BYTES
from harmonia_compiler.profile.best import BestProfiles

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
LAPTOP = Inventory((Host("laptop", 8, 32.0),))
GPUS = Inventory((Host("gpus", 32, 256.0, (Gpu("l4", 2),)),))


def sample() -> Application:
    checked = check_files([SAMPLES / "quickstart.rag"])
    assert checked.application is not None, checked.found
    return optimise(checked.application)


@pytest.mark.parametrize("inventory", [LAPTOP, GPUS])
def test_every_replica_of_a_model_has_room_for_what_it_holds(inventory: Inventory) -> None:
    application = sample()
    plan = make_plan(application, inventory)
    problem = build_problem(application, inventory, "throughput", BestProfiles()).problem
    assert faults(plan, problem) == []
    assert {one.engine for one in plan.memory} == {"minilm", "rerank", "small"}
    for small in (one for one in plan.memory if one.engine == "small"):
        assert small.weights_gib == pytest.approx(0.2506, rel=0.01)
        assert small.cache_tokens > 1000
        # SmolLM2-135M: 30 layers, 3 heads of 64 for keys and for values, 2 bytes each.
        assert small.cache_gib == pytest.approx(small.cache_tokens * 30 * 3 * 64 * 2 * 2 / 2**30, rel=1e-4)
    assert decode_plan(encode_plan(plan)) == plan


def corrupted(plan: Plan, engine: str, **changes: object) -> Plan:
    memory = tuple(changed(one, **changes) if one.engine == engine else one for one in plan.memory)
    return changed(plan, memory=memory)


def test_what_does_not_fit_is_a_fault() -> None:
    application = sample()
    plan = make_plan(application, LAPTOP)
    problem = build_problem(application, LAPTOP, "throughput", BestProfiles()).problem
    small = [one for one in plan.memory if one.engine == "small"]
    for changes in ({"weights_gib": 40.0}, {"cache_gib": 40.0}, {"rest_gib": 40.0}):
        found = faults(corrupted(plan, "small", **changes), problem)
        for fault, one in zip(found, small, strict=True):
            assert fault.startswith(f"a replica of small as {one.config} holds 4")
    found = faults(corrupted(plan, "small", cache_gib=-1.0), problem)
    assert len(found) == len(small)
    assert all(" holds " in fault for fault in found)
    twice = changed(plan, memory=plan.memory * 2)
    assert faults(twice, problem) == ["the memory is not that of the configurations of models in use"]


@pytest.mark.slow
def test_no_configuration_is_left_out_and_none_is_invented() -> None:
    application = sample()
    plan = make_plan(application, LAPTOP)
    problem = build_problem(application, LAPTOP, "throughput", BestProfiles()).problem
    wrong = [plan.memory[1:], plan.memory * 2, (*plan.memory, MemoryUse("milvus", "1 core", 1.0, 0.0, 0.0, 0.0))]
    for memory in wrong:
        assert faults(changed(plan, memory=memory), problem) == [
            "the memory is not that of the configurations of models in use"
        ]


PLACES = {
    "cores": Configuration(4.0, 24.0),
    "a batch on cores": Configuration(8.0, 48.0, batch=64),
    "little memory": Configuration(2.0, 4.0, batch=16),
    # Room for one more GiB of cache beside weights of two bytes than beside those of four.
    "memory for weights of two bytes": Configuration(2.0, CPU_RUNTIME_GIB + 2.4, batch=16),
    "cores without bf16": Configuration(8.0, 48.0, batch=4, bf16=False),
    "a GPU": Configuration(1.0, 4.0, "l4", 1.0, 24.0, 1, 64),
    "two GPUs": Configuration(1.0, 4.0, "h100_sxm", 2.0, 80.0, 2, 256),
    "half a GPU": Configuration(1.0, 4.0, "l40s", 0.5, 24.0, 1, 16),
}
EMPTY = Plan(FORMAT_VERSION, "throughput", (), {}, {}, (), {}, (), Solver("optimal", 0.0), {})
MODELS = {"llm": "SmolLM2-135M-Instruct", "embedder": "all-MiniLM-L6-v2", "reranker": "all-MiniLM-L6-v2"}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", MODELS)
def test_what_is_held_is_counted_alike_from_both_ends(kind: str, place: str) -> None:
    """A verifier that counted otherwise would refuse plans that are right."""
    config = PLACES[place]
    given: tuple[dict[str, Any], ...] = ({}, {"max_model_len": 512}, {"server": "vllm"})
    for settings in (*given, *({"precision": one} for one in (*WEIGHT_BYTES, "int8"))):
        engine = Engine("one", kind, {"model": MODELS[kind], **settings})
        replica = Replica("one-0", "one", "host", (), config.cores, config.memory_gib, config, ())
        plan = changed(EMPTY, engines={"one": engine}, replicas=(replica,))
        memory = memory_uses(plan.engines, plan.replicas)
        assert len(memory) == 1
        assert [*memory_miscounted(changed(plan, memory=memory))] == []
        for figure in ("weights_gib", "cache_gib", "cache_tokens", "rest_gib"):
            said = getattr(memory[0], figure)
            other = changed(memory[0], **{figure: said * 1.001 or 0.1})
            (fault,) = memory_miscounted(changed(plan, memory=(other,)))
            assert fault.endswith(f"not {said * 1.001 or 0.1:.6g}")
