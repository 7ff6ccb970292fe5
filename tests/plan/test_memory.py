"""What a plan says of the memory of its replicas, and what checks it."""

from pathlib import Path

import pytest
from msgspec.structs import replace as changed

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.contract.plan import MemoryUse, Plan, decode_plan, encode_plan
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.build import build_problem
from harmonia_compiler.plan.planner import make_plan
from harmonia_compiler.plan.verify import faults
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
