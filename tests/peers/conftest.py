"""The pipelines' plans, each made once."""

from collections.abc import Callable
from functools import cache

import pytest

from bench.pipelines import planned
from harmonia_compiler.emulate.scenario import Scenario


@pytest.fixture(scope="session")
def plans() -> Callable[[str], Scenario]:
    return cache(lambda name: planned(name, "eight"))


@pytest.fixture(scope="session")
def crag(plans: Callable[[str], Scenario]) -> Scenario:
    return plans("crag")
