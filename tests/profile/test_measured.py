"""Fitting a step model to observations: what was the truth is found, and nothing negative ever."""

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.profile.fit import non_negative
from harmonia_compiler.profile.measured import MeasuredSteps, Observation, fitted, predicted_ms, residuals
from harmonia_compiler.profile.steps import StepLoad

TRUTH = MeasuredSteps(
    base_ms=12.0,
    knots=(1, 4, 16, 64, 256, 1024),
    slopes_ms=(0.1, 0.6, 0.9, 1.0, 1.0, 1.1),
    pair_ms=1e-4,
    decode_ms=0.5,
    context_ms=2e-3,
    request_ms=4.0,
    begin_ms=3.0,
)


def observed(model: MeasuredSteps, noise: float = 0.0) -> list[Observation]:
    """What a sweep over an engine would see that is exactly like a model, but for noise."""
    rng = random.Random(3)
    loads = [StepLoad(tokens, tokens**2 / 2, begun=1) for tokens in (2, 8, 32, 128, 400, 900, 2000)]
    loads += [StepLoad(0, 0, count, count * context) for count in (1, 2, 4, 8, 16, 32) for context in (50, 900)]
    loads += [StepLoad(tokens, tokens**2 / 2, 4, 800, begun=1) for tokens in (30, 300)]
    found = []
    for number, load in enumerate(loads):
        requests = int(load.decodes == 0)
        exact = model.step_ms(load) + requests * model.request_ms
        found.append(Observation(str(number), (load,), exact * (1 + noise * rng.uniform(-1, 1)), requests))
    return found


def test_the_truth_is_found() -> None:
    seen = observed(TRUTH)
    assert max(map(abs, residuals(fitted(seen), seen))) < 1e-4


def test_noise_is_evened_out() -> None:
    found = fitted(observed(TRUTH, noise=0.05))
    assert max(map(abs, residuals(found, observed(TRUTH)))) < 0.06


def test_several_steps_observed_together_count_together() -> None:
    chunks = (StepLoad(2048, 2048**2 / 2, begun=1), StepLoad(1000, 1000 * 2548.0))
    whole = Observation("two chunks", chunks, math.fsum(map(TRUTH.step_ms, chunks)) + 4.0, requests=1)
    assert predicted_ms(TRUTH, whole) == whole.ms
    assert abs(predicted_ms(fitted([*observed(TRUTH), whole]), whole) / whole.ms - 1) < 1e-3


def test_a_stretch_that_nobody_saw_goes_on_as_the_one_before() -> None:
    seen = [each for each in observed(TRUTH) if each.loads[0].prefill_tokens + each.loads[0].decodes <= 128]
    model = fitted(seen)
    assert model.knots == (1, 4, 16, 64)
    one, two, three = (model.step_ms(StepLoad(tokens)) for tokens in (100, 1100, 2100))
    assert math.isclose(three - two, two - one)


rows = st.lists(st.lists(st.floats(0, 10), min_size=3, max_size=3), min_size=1, max_size=12)


@given(rows, st.data())
def test_no_coefficient_is_negative_and_none_can_be_bettered(rows: list[list[float]], data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.floats(-10, 10), min_size=len(rows), max_size=len(rows)))

    def error(coefficients: list[float]) -> float:
        said = (math.fsum(map(float.__mul__, row, coefficients)) for row in rows)
        return math.fsum((one - other) ** 2 for one, other in zip(said, wanted, strict=True))

    found = non_negative(rows, wanted)
    assert min(found) >= 0.0
    for position in range(3):
        for change in (-0.01, 0.01):
            other = [*found]
            other[position] = max(0.0, other[position] + change)
            assert error(found) <= error(other) + 1e-6 * (1 + error(other))
