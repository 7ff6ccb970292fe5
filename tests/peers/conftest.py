"""The pipelines' plans, each made once, and the programs that run beside Harmonia."""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from bench.pipelines import planned
from harmonia_compiler.emulate.scenario import Scenario


@pytest.fixture(scope="session")
def plans() -> Callable[[str], Scenario]:
    return cache(lambda name: planned(name, "eight"))


@pytest.fixture(scope="session")
def crag(plans: Callable[[str], Scenario]) -> Scenario:
    return plans("crag")


PROGRAMS = Path(__file__).parent.parent.parent / "bench" / "peers" / "programs"


@pytest.fixture(scope="session")
def flows() -> Iterator[ModuleType]:
    """A module of theirs, which stands in an environment of its own and imports its neighbours by their names."""
    sys.path.insert(0, str(PROGRAMS))
    yield import_module("flows")
    sys.path.remove(str(PROGRAMS))
