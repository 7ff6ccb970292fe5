"""How an end is told: by the signal's name, whoever it was that it hit."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from harmonia_compiler.runtime.actuators.supervision.ending import describe_exit
from harmonia_compiler.runtime.actuators.supervision.helpers import Helpers
from harmonia_compiler.runtime.actuators.supervision.pids import identify


@pytest.mark.parametrize(
    ("code", "after", "said"),
    [
        (0, "", "exit code 0"),
        (1, "", "exit code 1"),
        (-9, "", "SIGKILL"),
        (-9, "sleep", "SIGKILL"),
        (-15, "", "SIGTERM"),
        (-99, "", "signal 99"),
        (137, "", "exit code 137 (SIGKILL)"),
        (255, "", "exit code 255"),
        (128, "", "exit code 128"),
        (0, "sleep (SIGKILL)", "exit code 0, after its sleep (SIGKILL) had ended"),
    ],
)
def test_an_end_in_words(code: int, after: str, said: str) -> None:
    assert describe_exit(code, after) == said


#: Starts a process and never asks after it; ends where it is told to by its input.
LEADER = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, flush=True); sys.stdin.read()"


@pytest.fixture
def leader() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", LEADER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def helper_of(leader: subprocess.Popen[str]) -> int:
    assert leader.stdout is not None
    return int(leader.stdout.readline())


async def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells of the end of processes that are no children"
)


@linux
async def test_a_helper_that_was_killed_is_named_with_its_signal(leader: subprocess.Popen[str]) -> None:
    helper = helper_of(leader)
    with Helpers(identify(leader.pid)) as helpers:
        os.kill(helper, signal.SIGKILL)
        await until(lambda: helpers.first_ended)
    assert helpers.first_ended == "sleep (SIGKILL)"


@linux
async def test_it_is_named_also_where_the_end_of_its_leader_is_heard_of_first(leader: subprocess.Popen[str]) -> None:
    helper = helper_of(leader)
    with Helpers(identify(leader.pid)) as helpers:
        # Nothing of this is told to the loop before the block ends, as on a machine that is busy.
        os.kill(helper, signal.SIGKILL)
        while identify(helper) is not None:
            time.sleep(0.01)  # noqa: ASYNC251 - so that the loop does not turn
    assert helpers.first_ended == "sleep (SIGKILL)"


@linux
async def test_what_ends_with_its_leader_is_no_news(leader: subprocess.Popen[str]) -> None:
    helper = helper_of(leader)
    with Helpers(identify(leader.pid)) as helpers:
        leader.kill()
        while identify(leader.pid) is not None:
            time.sleep(0.01)  # noqa: ASYNC251 - so that the loop does not turn
        os.kill(helper, signal.SIGTERM)
        await until(lambda: identify(helper) is None)
        await asyncio.sleep(0.1)
    assert helpers.first_ended == ""
