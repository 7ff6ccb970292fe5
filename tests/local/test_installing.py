"""A supervisor that is killed while it replaces the files of its bundle leaves nothing that could not be started."""

from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.cli.main import run
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.actuator import Status
from harmonia_compiler.runtime.actuators.local import ACTUATOR
from harmonia_compiler.runtime.actuators.supervision.installing import INSTALLING, complete, install
from harmonia_compiler.runtime.actuators.supervision.pids import Ident
from harmonia_compiler.runtime.actuators.supervision.rundir import STATE, RunDirectory, State
from harmonia_compiler.runtime.actuators.supervision.snapshot import files_of, keep
from harmonia_compiler.runtime.actuators.supervisor import begun

from .conftest import Hand, launch


class Killed(BaseException):
    """What nobody catches."""


@pytest.fixture(params=[1, 2, 3])
def torn(hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Hand:
    """A service whose supervisor was killed once so many files of the generation after it had their places."""
    hand.write(one=launch())
    new = Hand(tmp_path / "new")
    new.path.mkdir()
    new.write(one=launch(), two=launch())
    at = RunDirectory(hand.path)
    at.prepare()
    numbers = tuple(keep(at.path, files_of(folder)) for folder in (hand.path, new.path))
    state = State(Ident(1, 0.0), Status("running", history=numbers), folder=at.identity)
    (at.path / STATE).write_bytes(msgspec.json.encode(state))
    put, moves = Path.replace, iter(range(10))

    def replace(source: Path, target: Path) -> Path:
        if target.is_relative_to(hand.path) and not target.is_relative_to(at.path) and next(moves) == request.param:
            raise Killed
        return put(source, target)

    with monkeypatch.context() as dying:
        dying.setattr(Path, "replace", replace)
        with pytest.raises(Killed):
            install(hand.path, at.path, numbers[-1], files_of(new.path))
    assert (at.path / INSTALLING).is_file()
    return hand


def replicas(hand: Hand) -> int:
    return files_of(hand.path)["local/processes.json"].count(b'"replica"')


def test_the_next_start_completes_what_was_begun(torn: Hand) -> None:
    assert ACTUATOR.preflight(torn.path, port=None) == []
    assert replicas(torn) == 2
    assert not (torn.path / "run" / INSTALLING).exists()
    assert begun(torn.path, RunDirectory(torn.path)) == [1, 2], "it is the service that it was, and can be rolled back"


def test_so_does_the_next_down(torn: Hand) -> None:
    assert run(["down", str(torn.path)]) == 0
    torn.assert_nothing_left()
    assert replicas(torn) == 2
    assert ACTUATOR.preflight(torn.path, port=None) == []


def test_what_somebody_compiled_into_the_folder_since_stays(torn: Hand) -> None:
    torn.write(one=launch("--result", "mine"), two=launch(), three=launch())
    assert ACTUATOR.preflight(torn.path, port=None) == []
    assert replicas(torn) == 3
    assert not (torn.path / "run" / INSTALLING).exists()


def test_a_folder_that_cannot_be_written_now_can_be_completed_later(
    torn: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Rejected([])

    where = "harmonia_compiler.runtime.actuators.supervision.installing.write_files"
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(where, full)
        with pytest.raises(Rejected):
            complete(torn.path, torn.path / "run")
    complete(torn.path, torn.path / "run")
    assert replicas(torn) == 2
