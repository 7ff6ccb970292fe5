"""Shares of the cost, by the hardware that calls keep busy."""

from dataclasses import replace

import pytest

from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.plan.place import place
from harmonia_compiler.plan.predict import predict
from harmonia_compiler.plan.problem import Need, Problem
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import LEVELS
from tests.plan.problems import chain, machine


def shared(cores: float, light_ms: float, heavy_ms: float) -> Option:
    """A configuration on cores of an engine with two components."""
    busy = {"light": light_ms, "heavy": heavy_ms}
    latency = {name: (ms,) * len(LEVELS) for name, ms in busy.items()}
    return Option(Configuration(cores, 0.0), busy, latency, latency, "stated")


def test_the_cost_is_shared_out_by_every_option_in_use() -> None:
    """On one core the calls of both pipelines take as long; on three, those of `q` take three times as long.

    So of the four cores, a half of one and three quarters of three work for `q`: 2.75 of 4.
    """
    pipelines = (replace(chain("light")), replace(chain("heavy"), name="q"))
    both = Need("both", ("light", "heavy"), (shared(1.0, 10.0, 10.0), shared(3.0, 10.0, 30.0)))
    problem = Problem((both,), pipelines, (machine("box", 4, price=4.0),))
    predicted = predict(problem, place(problem, {(0, 0, 0): 1, (0, 1, 0): 1}))
    assert predicted["q"].cost_per_hour == pytest.approx(2.75)
    assert predicted["p"].cost_per_hour == pytest.approx(1.25)
