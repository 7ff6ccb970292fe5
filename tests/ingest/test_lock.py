"""One ingestion at a time, and no lock outlives its process."""

import subprocess
import sys
from pathlib import Path

import pytest

from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.ingest.lock import locked

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
