"""What a roofline and NVIDIA's tables say of the steps that were measured, beside what they took."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from harmonia_compiler.contract.card import Card, Cards
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.measured import MeasuredSteps, Observation, fitted, predicted_ms
from harmonia_compiler.profile.serving import Stepping, serving
from harmonia_compiler.profile.sources import Sources
from harmonia_compiler.profile.steps import StepModel
from harmonia_compiler.profile.tables import table_for


class Measured(msgspec.Struct):
    """What was observed of a model on one GPU of a type, or on so many cores where `gpu` is empty."""

    card: Card
    gpu: str
    cores: float
    limits: Limits
    observations: list[Observation]


def read(document: bytes) -> Measured:
    """What `msgspec.json.encode` made of it."""
    return msgspec.json.decode(document, type=Measured, dec_hook=_load)


def _load(kind: type, value: Any) -> Any:
    return kind(*value)


def lines(measured: Measured) -> Iterator[str]:
    """The table. What a call takes outside of its steps is the fit's in every column."""
    fit = fitted(measured.observations)
    models: dict[str, StepModel | None] = {
        "fitted": fit,
        "roofline": _roofline(measured),
        "tables": table_for(measured.card, measured.gpu, 1) if measured.gpu else None,
    }
    there = {name: model for name, model in models.items() if model is not None}
    yield f"{'step':28} {'measured':>9}" + "".join(f" {name:>9} {'off by':>7}" for name in there)
    for seen in measured.observations:
        said = {name: _said(model, fit, seen) for name, model in there.items()}
        columns = "".join(f" {ms:9.2f} {ms / seen.ms - 1:+7.0%}" for ms in said.values())
        yield f"{seen.what:28} {seen.ms:9.2f}{columns}"
    if models["tables"] is None:
        yield "no tables: aiconfigurator-core is not installed here, or has no figures for this"


def _said(model: StepModel, fit: MeasuredSteps, seen: Observation) -> float:
    if model is fit:
        return predicted_ms(fit, seen)
    return math.fsum(map(model.step_ms, seen.loads)) + fit.request_ms * seen.requests


def _roofline(measured: Measured) -> StepModel:
    engine = Engine("model", "llm", {"model": measured.card.name, "max_model_len": measured.limits.context})
    configuration = Configuration(measured.cores, 4.0, batch=measured.limits.sequences)
    if measured.gpu:
        memory = GPU_TYPES[measured.gpu].memory_gib
        configuration = Configuration(
            1.0, 4.0, gpu=measured.gpu, gpus=1.0, gpu_memory_gib=memory, batch=measured.limits.sequences
        )
    works = serving(engine, configuration, Cards([measured.card]), Sources())
    assert isinstance(works, Stepping)
    return works.steps


def coefficients(steps: MeasuredSteps) -> Sequence[str]:
    """A fitted model in words."""
    slopes = ", ".join(
        f"{slope * 1000:.2f} from {knot}" for knot, slope in zip(steps.knots, steps.slopes_ms, strict=True)
    )
    return (
        f"a step {steps.base_ms:.3f} ms, a call {steps.request_ms:.3f} ms besides",
        f"a token of a step, in µs: {slopes}",
        f"a decoding sequence {steps.decode_ms * 1000:.2f} µs, 1000 tokens before it {steps.context_ms * 1e6:.2f} µs",
        f"a million pairs of a prompt's attention {steps.pair_ms * 1e6:.3f} ms",
    )
