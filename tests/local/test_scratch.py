"""What processes write for the time of their lives lies in folders of their own, and goes with them."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory
from harmonia_compiler.runtime.actuators.supervision.scratch import made_for

from .conftest import Hand, launch, until


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """TMPDIR, with a path as short as such have: pytest's are long."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        monkeypatch.setenv("TMPDIR", made)
        yield Path(made)


def test_what_a_process_leaves_goes_with_it(hand: Hand, temporary: Path) -> None:
    hand.write(one=launch(), two=launch())
    hand.up()
    folders = [Path(hand.environment(name)["environment"]["TMPDIR"]) for name in ("one", "two")]
    assert len({*folders}) == 2
    assert {folder.parent for folder in folders} == {temporary}
    for folder in folders:
        (folder / "socket").touch()
    pid = hand.process("one").pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: hand.process("one").restarts == 1 and hand.status().ready)
    assert not folders[0].exists()
    assert folders[1].exists()
    hand.down()
    assert [*temporary.iterdir()] == []


def test_what_a_killed_supervisor_left_is_removed_by_down(hand: Hand, temporary: Path) -> None:
    hand.write(one=launch())
    hand.up()
    kept = temporary / "harmonia-of-another"
    kept.mkdir()
    supervisor = RunDirectory(hand.path).holder()
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    until(lambda: hand.status().phase == "down")
    hand.down()
    assert [*temporary.iterdir()] == [kept]


def test_no_socket_has_a_longer_path_than_the_system_takes(temporary: Path) -> None:
    bundle = Path("/a/bundle")
    made = made_for(bundle, {"TMPDIR": str(temporary)})
    assert made is not None
    assert len(f"{made}/{'u' * 36}") <= 107
    deep = temporary / ("x" * 60)
    deep.mkdir()
    assert made_for(bundle, {"TMPDIR": str(deep)}) is None
    assert [*deep.iterdir()] == []
    assert made_for(bundle, {"TMPDIR": str(temporary / "nowhere")}) is None
