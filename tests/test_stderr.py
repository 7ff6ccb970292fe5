"""Logs on a disk that is full."""

import subprocess
import sys
from pathlib import Path

import pytest

_LOGS = {
    "gateway": "from harmonia_compiler.runtime.gateway.logs import log, start_logging; start_logging(); log('begun')",
    "supervision": (
        "import logging; from harmonia_compiler.runtime.stderr import unbuffered; "
        "logging.raiseExceptions = False; logging.basicConfig(stream=unbuffered()); logging.warning('begun')"
    ),
}


@pytest.mark.parametrize("code", _LOGS.values(), ids=_LOGS)
def test_a_log_that_cannot_be_written_does_not_change_how_its_process_ends(code: str) -> None:
    for log in ("/dev/full", "/dev/null"):
        with Path(log).open("w") as full:
            # Not as here, where somebody may have said that nothing is to be buffered.
            done = subprocess.run([sys.executable, "-c", code], stderr=full, env={}, check=False)
        assert done.returncode == 0, log
