"""What processes write for the time of their lives lies in folders of their own, and goes with them."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory
from harmonia_compiler.runtime.actuators.supervision.scratch import made_for, remove_left

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


def test_what_a_killed_supervisor_left_is_removed_by_the_next(hand: Hand, temporary: Path) -> None:
    hand.write(one=launch())
    hand.up()
    left = Path(hand.environment("one")["environment"]["TMPDIR"])
    supervisor = RunDirectory(hand.path).holder()
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    until(lambda: hand.status().phase == "down")
    assert left.is_dir()
    hand.up()
    assert not left.exists()
    hand.down()
    assert [*temporary.iterdir()] == []


def test_a_folder_that_somebody_cleaned_away_is_made_anew(hand: Hand, temporary: Path) -> None:
    hand.write(one=launch())
    hand.up()
    folders = [*temporary.iterdir()]
    for folder in folders:
        folder.rmdir()
    until(lambda: sorted(temporary.iterdir()) == sorted(folders))
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}
    hand.down()
    assert [*temporary.iterdir()] == []


def test_a_relative_folder_is_that_of_who_starts_it(
    hand: Hand, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary / "here").mkdir()
    monkeypatch.chdir(temporary)
    monkeypatch.setenv("TMPDIR", "here")
    hand.write(one=launch())
    hand.up()
    assert Path(hand.environment("one")["environment"]["TMPDIR"]).parent == temporary / "here"
    hand.down()
    assert [*(temporary / "here").iterdir()] == []


def test_a_link_is_not_followed_and_stops_nothing(temporary: Path) -> None:
    bundle, outer = Path("/a/bundle"), {"TMPDIR": str(temporary)}
    first = made_for(bundle, outer)
    assert first is not None
    precious = temporary / "precious"
    (precious / "inside").mkdir(parents=True)
    first.with_name(f"{first.name[:-8]}00000000").symlink_to(precious)
    remove_left(bundle, outer)
    assert not first.exists()
    assert (precious / "inside").is_dir()


@pytest.mark.parametrize(("length", "is_made"), [(43, True), (44, False)])
def test_no_socket_has_a_longer_path_than_the_system_takes(temporary: Path, length: int, *, is_made: bool) -> None:
    """A socket's name is a UUID, behind a slash."""
    deep = temporary / ("x" * (length - len(f"{temporary}/")))
    deep.mkdir()
    made = made_for(Path("/a/bundle"), {"TMPDIR": str(deep)})
    assert [*deep.iterdir()] == ([] if made is None else [made])
    assert (made is not None) == is_made
    assert made is None or len(f"{made}/{'u' * 36}") == 107


def test_none_is_made_where_none_can_be(temporary: Path) -> None:
    assert made_for(Path("/a/bundle"), {"TMPDIR": str(temporary / "nowhere")}) is None
