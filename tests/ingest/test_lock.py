"""One ingestion at a time, and no lock outlives its process."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.ingest.lock import locked
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory

#: What opens everything, whatever its mode says, first gives that up.
UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
NOBODY = 65534

HOLD = """
import sys, time
from pathlib import Path
from harmonia_compiler.ingest.lock import locked
with locked(Path(sys.argv[1]), "handbook"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Rejected, match=rf"E1010: .*process {holder.pid}"), locked(tmp_path, "handbook"):
            pass
        with locked(tmp_path, "other"):
            pass
        holder.kill()
        holder.wait()
        with locked(tmp_path, "handbook"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_is_stopped_keeps_the_lock_of_a_running_ingestion(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.prepare()
    with locked(run.path, "handbook"):
        run.clear()
        with pytest.raises(Rejected, match="E1010"), locked(run.path, "handbook"):
            pass
    (run.path / "ingest-handbook.lock").write_text("1")
    run.clear()
    assert [left.name for left in run.path.iterdir()] == ["logs"]


def test_the_lock_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    with ExitStack() as successor:
        with locked(tmp_path, "handbook"):
            (tmp_path / "ingest-handbook.lock").unlink()
            successor.enter_context(locked(tmp_path, "handbook"))
        with pytest.raises(Rejected, match="E1010"), locked(tmp_path, "handbook"):
            pass
    assert list(tmp_path.iterdir()) == []


TRY = """
import sys
from pathlib import Path
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.ingest.lock import locked
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory
run = RunDirectory(Path(sys.argv[1]))
run.prepare()
try:
    with locked(run.path, "handbook"):
        pass
except Rejected as rejected:
    print(*(f"{one.code} {one.message}: {one.help}" for one in rejected.found))
run.clear()
"""


@pytest.mark.skipif(bool(UNPRIVILEGED) and shutil.which("setpriv") is None, reason="root opens everything")
def test_the_lock_that_another_user_left_is_said_with_its_cure_and_keeps_nobody_from_stopping(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.prepare()
    left = run.path / "ingest-handbook.lock"
    left.touch(0o600 if UNPRIVILEGED else 0)
    if UNPRIVILEGED:
        os.chown(left, NOBODY, NOBODY)
    command = [*UNPRIVILEGED, sys.executable, "-c", TRY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"E1010 `{left}` is of the user ")
    assert f"`rm -f {left}`" in done.stdout
    assert left.exists()


@pytest.mark.skipif(not UNPRIVILEGED, reason="only root gives files away")
def test_what_root_locks_in_a_folder_of_a_user_s_is_the_user_s(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    with locked(tmp_path, "handbook"):
        assert (tmp_path / "ingest-handbook.lock").stat().st_uid == NOBODY


@pytest.mark.parametrize("what", ["a link", "a link to nothing", "another name", "a pipe", "a folder"])
def test_what_stands_there_and_is_no_lock_is_left_as_it_is(tmp_path: Path, what: str) -> None:
    """A user in whose folder root ingests may have put it there."""
    folder, other = tmp_path / "run", tmp_path / "other"
    folder.mkdir()
    if what != "a link to nothing":
        other.write_text("secret")
    path = folder / "ingest-handbook.lock"
    make: dict[str, Callable[[], None]] = {
        "another name": lambda: path.hardlink_to(other),
        "a pipe": lambda: os.mkfifo(path),
        "a folder": path.mkdir,
    }
    make.get(what, lambda: path.symlink_to(other))()
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(Rejected) as rejected, locked(folder, "handbook"):
        pass
    [found] = rejected.value.found
    assert found.code == "E1010"
    assert found.message == f"`{path}` stands where ingestions into `handbook` have their lock, and is none"
    assert found.help == f"remove it: `rm -rf {path}`"
    if what == "a link to nothing":
        assert not other.exists()
    else:
        assert (other.read_text(), other.stat().st_uid) == ("secret", os.geteuid())
