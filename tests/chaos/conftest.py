"""The plan that all rows share, and how often each is run: five times by `make chaos`, once among the tests."""

import pytest

from harmonia_compiler.emulate.scenario import Scenario
from tests.chaos.service import planned

SEEDS = 5
#: The files of rows, which no other command collects.
ROWS = "rows_"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each row with every seed; all have to pass, so the worst is judged."""
    if "seed" in metafunc.fixturenames:
        whole = metafunc.module.__name__.rpartition(".")[2].startswith(ROWS)
        metafunc.parametrize("seed", range(SEEDS if whole else 1))


@pytest.fixture(scope="session")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    return planned(tmp_path_factory.mktemp("chaos"))
