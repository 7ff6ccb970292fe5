"""One ingestion at a time, and no lock outlives its process."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.ingest.lock import locked
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory

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
