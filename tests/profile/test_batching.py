"""What calls do to each other in a batch: beside the emulated engine, which decides on steps as vLLM's scheduler does.

Calls come as in a Poisson process, in virtual time, with answers whose lengths vary by half of their mean.
"""

import random
import statistics
from typing import NamedTuple

import pytest

from harmonia_compiler.emulate.llm.course import Course
from harmonia_compiler.emulate.llm.scheduler import Scheduler
from harmonia_compiler.emulate.llm.sequence import Sequence
from harmonia_compiler.profile.batching import Batching, Size
from harmonia_compiler.profile.device import CpuPart, GpuPart
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.queueing import LEVELS
from harmonia_compiler.profile.steps import Roofline, StepLoad, roofline
from harmonia_compiler.runtime.weights import wanted
from harmonia_compiler.workload.draws import length

LENGTH_CV = 0.5


class Engine(NamedTuple):
    """A replica: a model on some hardware, and how its steps are made up."""

    model: str
    part: GpuPart | CpuPart
    step_tokens: int

    @property
    def steps(self) -> Roofline:
        return roofline(wanted(self.model), "bf16", self.part)

    def limits(self, batch: int) -> Limits:
        on_gpu = isinstance(self.part, GpuPart)
        return Limits(10**7, self.step_tokens, batch, 100_000, ahead=on_gpu, by_priority=True)


L40S = Engine("Llama-3.1-8B-Instruct", GpuPart("l40s", 1.0), 2048)
H100 = Engine("Llama-3.1-8B-Instruct", GpuPart("h100_sxm", 1.0), 8192)
CPU = Engine("SmolLM2-135M-Instruct", CpuPart(8.0), 2048)


def answers(count: int, tokens: float) -> list[int]:
    rng = random.Random(7)
    return [length(rng.random(), tokens, LENGTH_CV, 10**6) if tokens > 1 else 1 for _ in range(count)]


class Calls:
    """Calls of two sizes by turns, or of one, and how the emulated engine gets on with them."""

    def __init__(self, engine: Engine, batch: int, *sizes: tuple[int, float], count: int = 1200) -> None:
        self.engine, self.batch, self.sizes = engine, batch, sizes
        drawn = [answers(count, tokens) for _, tokens in sizes]
        self.calls = [(number % len(sizes), drawn[number % len(sizes)][number]) for number in range(count)]
        further = [
            statistics.fmean(answer - 1 for of, answer in self.calls if of == which) for which in range(len(sizes))
        ]
        self.further = further
        named = {str(at): Size(float(prompt), further[at]) for at, (prompt, _) in enumerate(sizes)}
        steps = sum(further)
        looked = sum(more * (prompt + more / 2) for (prompt, _), more in zip(sizes, further, strict=True))
        self.model = Batching(
            engine.steps, engine.limits(batch), named, dict.fromkeys(named, 1.0), looked / steps if steps else 1.0
        )

    def rate(self) -> float:
        """Calls a ms where there are always more than the batch holds."""
        ends = sorted(ended for _, _, ended in self._heard(None))
        first, last = len(ends) // 5, len(ends) * 4 // 5
        return (last - first) / (ends[last] - ends[first])

    def times(self, rate: float) -> list[tuple[float, float]]:
        """For each size the mean time to the first token, and that to the last, in ms; the first calls left out."""
        found: dict[int, list[tuple[float, float]]] = {}
        for (which, _), (came, began, ended) in list(zip(self.calls, self._heard(rate), strict=True))[
            len(self.calls) // 10 :
        ]:
            found.setdefault(which, []).append((began - came, ended - came))
        return [
            (statistics.fmean(first for first, _ in found[at]), statistics.fmean(whole for _, whole in found[at]))
            for at in range(len(self.sizes))
        ]

    def _heard(self, rate: float | None) -> list[tuple[float, float, float]]:
        """When each call came, was given its first token and its last one."""
        rng, now = random.Random(1), 0.0
        course = Course(Scheduler(self.engine.limits(self.batch)), self.engine.steps, leaps=True)
        began: dict[Sequence, float] = {}
        ended: dict[Sequence, float] = {}
        sent: list[tuple[Sequence, float]] = []

        def until(at_ms: float) -> None:
            for step in course.advance(at_ms):
                # Of several equal steps the first one gives nobody a first token.
                began.update(dict.fromkeys(step.batch.begun, step.ended_ms))
                ended.update(dict.fromkeys(step.finished, step.ended_ms))

        for which, answer in self.calls:
            now += 0.0 if rate is None else rng.expovariate(rate)
            until(now)
            sequence = Sequence(self.sizes[which][0], answer)
            course.submit(sequence, now)
            sent.append((sequence, now))
        while (due := course.next_ms) is not None:
            until(due)
        return [(came, began[sequence], ended[sequence]) for sequence, came in sent]


def agrees(calls: Calls, levels: tuple[int, ...], least: float = 0.85) -> None:
    """Capacity within about a tenth; first tokens and whole calls as near as plans need them, rather too long."""
    assert 0.85 < calls.model.capacity / calls.rate() < 1.1
    planned = calls.model.times()
    for level in levels:
        heard = calls.times(LEVELS[level] * calls.model.capacity)
        for at, (first, whole) in enumerate(heard):
            said = planned[level][str(at)]
            assert least - 0.1 < said.first / first < 1.7, (level, at)
            assert least < said.whole / whole < 1.5, (level, at)


@pytest.mark.parametrize(
    ("engine", "batch", "size"),
    [
        (L40S, 64, (50, 1)),
        (L40S, 8, (500, 20)),
        (H100, 64, (50, 8)),
        (H100, 8, (3000, 2)),
        (CPU, 1, (500, 20)),
        (CPU, 8, (50, 8)),
    ],
)
def test_it_goes_as_the_emulated_engine_does(engine: Engine, batch: int, size: tuple[int, float]) -> None:
    agrees(Calls(engine, batch, size, count=400), (0, 4))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(50, 1), (50, 8), (500, 100), (3000, 300), (3000, 2)])
@pytest.mark.parametrize("batch", [1, 8, 64, 256])
@pytest.mark.parametrize("engine", [L40S, H100, CPU], ids=["l40s", "h100", "cpu"])
def test_it_goes_as_the_emulated_engine_does_at_all_sizes(engine: Engine, batch: int, size: tuple[int, float]) -> None:
    agrees(Calls(engine, batch, size, count=2000), (0, 2, 4, 6, 7))


@pytest.mark.slow
@pytest.mark.parametrize("engine", [L40S, H100, CPU], ids=["l40s", "h100", "cpu"])
def test_short_and_long_calls_go_together_as_in_the_emulated_engine(engine: Engine) -> None:
    # What is left of a step by one prompt begins the next one here, which so takes two steps: longer than is reckoned.
    agrees(Calls(engine, 64, (1500, 2), (800, 150), count=2000), (0, 4, 7), least=0.7)


def test_short_prompts_share_a_step() -> None:
    """Sixteen prompts of fifty tokens take one step, which reads the weights once."""
    model = Calls(L40S, 16, (50, 1)).model
    step = L40S.steps.step_ms(StepLoad(16 * 50, 16 * 50 * 25, begun=16))
    assert 16 / model.capacity == pytest.approx(step, rel=0.01)


def test_alone_a_call_takes_its_own_steps() -> None:
    model = Calls(L40S, 1, (500, 20)).model
    (_, further) = next(iter(model.sizes.values()))
    prefill = L40S.steps.step_ms(StepLoad(500, 500 * 250, begun=1))
    step = L40S.steps.step_ms(StepLoad(decodes=1, decode_context=500 + further / 2))
    assert 1 / model.capacity == pytest.approx(prefill + further * step)
    assert model.busy_ms()["0"] == pytest.approx(prefill + further * step)


class Falling:
    """Steps that take less the more is in them, as measured ones may where nothing else is known."""

    request_ms = 0.0

    def step_ms(self, load: StepLoad, /) -> float:
        return 10.0 / (1.0 + 0.01 * load.decodes + 0.001 * load.prefill_tokens)


@pytest.mark.parametrize("batch", [1, 4, 64, 256])
@pytest.mark.parametrize("size", [Size(0.0, 0.0), Size(1.0, 0.0), Size(50.0, 0.5), Size(700.0, 90.0), Size(9e3, 5.0)])
def test_times_are_times_whatever_steps_take(batch: int, size: Size) -> None:
    for ahead in (False, True):
        limits = Limits(10**6, max(256, batch), batch, 10**5, ahead=ahead)
        model = Batching(Falling(), limits, {"a": size}, {"a": 0.0}, 100.0)
        times = [each["a"] for each in model.times()]
        assert model.capacity > 0.0
        assert model.busy_ms()["a"] > 0.0
        assert model.adds_ms()["a"] >= 0.0
        assert all(0.0 < first <= whole for first, whole in times)
        assert times == sorted(times)
