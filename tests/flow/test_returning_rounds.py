"""Rounds that may return: what is planned is what came where a random program was run over all its worlds.

`test_worlds` draws each round anew, and no round of it returns. Here a request may leave a round, by itself or with an
`until` that knows what was answered before: so each round is reached by other worlds than the one before it, and shares
follow only from running the whole.
"""

from itertools import islice
from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow import expand
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.passes.registry import optimise
from tests.flow.random_rounds import STYLES, Program, Style, Unsuited

#: A branch that always or never is taken, as the checker knows of labels; and a name that not all ways bring.
SURE = {"E0402", "E0308"}


@pytest.fixture(autouse=True)
def _every_round_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds are told apart that next to no request reaches, which else stand for each other."""
    monkeypatch.setattr(expand, "NEGLIGIBLE", 1e-12)


def agrees(seed: int, style: Style, folder: Path) -> bool:
    """Of a random program, each call is planned as often as it is made. False where the program is unsuited."""
    try:
        program = Program(seed, style)
        if not program.has_returning_rounds:
            return False
        text = program.text
    except Unsuited:
        return False
    path = folder / "p.rag"
    path.write_text(text)
    checked = check_files([path])
    if {one.code for one in checked.found} & SURE:
        return False
    assert checked.application is not None, f"seed {seed}: {checked.found}\n{text}"
    assert not [one for one in checked.found if one.code in ("W0501", "W0504")], f"seed {seed}\n{text}"
    application = optimise(checked.application)
    found = demand(application, next(flow for flow in application.flows if flow.load is not None))
    visits = {name: found.visits.get(name, 0.0) for name in program.visits}
    assert not found.missed, f"seed {seed}\n{text}"
    assert found.exact, f"seed {seed}\n{text}"
    assert visits == pytest.approx(program.visits, abs=1e-6), f"seed {seed}\n{text}"
    return True


@pytest.mark.parametrize("style", STYLES)
def test_rounds_that_return_are_planned_as_they_come(style: str, tmp_path: Path) -> None:
    suited = (seed for seed in range(10_000) if agrees(seed, STYLES[style], tmp_path))
    assert len(list(islice(suited, 20))) == 20


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_many_more_are(style: str, tmp_path: Path) -> None:
    suited = [agrees(seed, STYLES[style], tmp_path) for seed in range(1_000, 11_000)]
    assert sum(suited) >= 200
