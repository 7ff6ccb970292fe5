"""What a simulation leaves in memory: nothing that would pile up where hundreds are run."""

import gc
from pathlib import Path

import pytest

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.emulate.simulate import run
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.emulate.simulate.service import Service
from harmonia_compiler.report.measures import Window
from harmonia_compiler.workload.arrivals import constant, until
from tests.emulate.planned import planned_for

SOURCE = """
component say(q: text) -> text ~ 4 tokens = python("code:say", takes: 1 ms)
pipeline ask(q: text ~ 4 tokens) -> text {
    load 10 rps
    return say(q)
}
"""


@pytest.mark.parametrize(("requests", "left"), [(19, 1), (21, 0)])
def test_what_many_requests_leave_is_freed_at_once(
    requests: int, left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "MANY_REQUESTS", 20)
    made = planned_for(tmp_path, SOURCE)
    gc.collect()
    gc.disable()
    try:
        window = Window(0.0, 100.0 * requests)
        simulate(made, until(constant(10.0), window.to_ms), window, load_cards(), {})
        assert sum(isinstance(one, Service) for one in gc.get_objects()) == left
    finally:
        gc.enable()
