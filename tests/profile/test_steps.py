"""The step model: what a step's time must do, and that many steps at once are as long as one by one."""

import math
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.profile.device import GpuPart
from harmonia_compiler.profile.steps import Roofline, Slower, StepLoad, roofline, run_ms, steps_begun
from harmonia_compiler.runtime.weights import wanted

H100 = roofline(wanted("meta-llama/Llama-3.2-3B-Instruct"), "bf16", GpuPart("h100_sxm", 1.0))

loads = st.builds(
    StepLoad,
    prefill_tokens=st.integers(0, 8192),
    prefill_pairs=st.floats(0, 1e8),
    decodes=st.integers(0, 256),
    decode_context=st.floats(0, 1e6),
)
models = st.builds(
    Roofline,
    parameters=st.floats(1e6, 1e11),
    weight_bytes=st.floats(1e6, 2e11),
    kv_bytes_per_token=st.floats(1e3, 1e6),
    pair_flops=st.floats(1e3, 1e7),
    flops_per_ms=st.floats(1e8, 1e12),
    bytes_per_ms=st.floats(1e7, 1e10),
    fixed_ms=st.floats(0, 20),
)


@dataclass(frozen=True)
class Curved:
    """A time that nowhere grows evenly: the hardest case for taking steps together."""

    request_ms: float = 0.0

    def step_ms(self, load: StepLoad, /) -> float:
        return 1.0 + math.sqrt(load.decode_context)


def test_a_prefill_is_bound_by_arithmetic_and_a_decode_by_memory() -> None:
    alone = H100.step_ms(StepLoad(decodes=1, decode_context=500))
    assert H100.step_ms(StepLoad(decodes=16, decode_context=8000)) < 1.5 * alone
    one, two = (H100.step_ms(StepLoad(tokens, tokens**2 / 2)) for tokens in (4000, 8000))
    assert two > 2.0 * one


@given(models, loads, loads)
def test_more_work_never_takes_less_time(model: Roofline, one: StepLoad, other: StepLoad) -> None:
    both = StepLoad(
        max(one.prefill_tokens, other.prefill_tokens),
        max(one.prefill_pairs, other.prefill_pairs),
        max(one.decodes, other.decodes),
        max(one.decode_context, other.decode_context),
    )
    assert model.step_ms(both) >= model.step_ms(one)


@given(models, loads, st.integers(1, 400))
def test_steps_together_take_what_they_take_one_by_one(model: Roofline, load: StepLoad, steps: int) -> None:
    one_by_one = math.fsum(model.step_ms(load.later(step)) for step in range(steps))
    assert math.isclose(run_ms(model, load, steps), one_by_one, rel_tol=1e-6)


@given(st.integers(1, 64), st.integers(1, 300))
def test_steps_of_a_curved_time_are_added_up(decodes: int, steps: int) -> None:
    load = StepLoad(decodes=decodes, decode_context=100.0)
    one_by_one = math.fsum(Curved().step_ms(load.later(step)) for step in range(steps))
    assert math.isclose(run_ms(Curved(), load, steps), one_by_one, rel_tol=1e-6)


@given(models, loads, st.integers(1, 200), st.floats(0, 2))
def test_as_many_steps_have_begun_as_fit_before(model: Roofline, load: StepLoad, most: int, part: float) -> None:
    ms = part * run_ms(model, load, most)
    begun, lasts_ms = steps_begun(model, load, ms, most, model.step_ms(load))
    assert lasts_ms == run_ms(model, load, begun)
    assert 1 <= begun <= most
    assert begun == 1 or run_ms(model, load, begun - 1) <= ms
    assert begun == most or run_ms(model, load, begun) > ms


@given(st.floats(1.0, 100.0), st.floats(1.0, 100.0))
def test_steps_and_what_is_outside_of_them_are_each_slower_by_their_own(times: float, outside: float) -> None:
    load = StepLoad(10, 50.0, 3, 70)
    slower = Slower(Curved(4.0), times, outside)
    assert (slower.step_ms(load), slower.request_ms) == (Curved().step_ms(load) * times, 4.0 * outside)
    assert Slower(Curved(4.0), times).request_ms == 4.0
