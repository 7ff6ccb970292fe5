"""The controller as a process beside a real gateway: followed while it is well, and of no harm when it is not."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil

from harmonia_compiler.contract.bundle import ReplicaShare
from harmonia_compiler.contract.decision import Decision
from harmonia_compiler.policy.control.state import State
from harmonia_compiler.runtime.gateway.polling import POLL_S
from tests.controller.conftest import SLOW_S, Running, write_plan
from tests.gateway.fakes import FakeEngine

Two = tuple[FakeEngine, FakeEngine]


async def test_a_slow_replica_gets_fewer_calls(running: Running, two: Two) -> None:
    two[1].pause_s = SLOW_S
    with running.controlled():
        await running.load_until(lambda: running.decision() is not None)
        decision = running.decision()
        assert decision is not None
        assert decision.epoch == 1
        assert decision.shares["llm-1"].weight < decision.shares["llm-0"].weight
        assert any(one.acted and "`llm-1`" in one.why for one in decision.reasons)
        # The journal is written after the decision.
        journal = running.run / "logs" / "controller.jsonl"
        await running.load_until(lambda: journal.is_file() and '"acted":true' in journal.read_text())
        two[0].pause_s = 0.4
        await running.load_until(lambda: running.said() is not None and "no sooner than" in str(running.said()))
    await running.reads(lambda found: found.epoch >= 1 and found.refused == "")


async def test_killed_it_leaves_the_last_decision_and_goes_on_from_it(running: Running, two: Two) -> None:
    two[1].pause_s = SLOW_S
    with running.controlled() as first:
        await running.load_until(lambda: running.decision() is not None)
        first.kill()
        first.wait()
        sent = len(running.statuses)
        await running.load_until(lambda: len(running.statuses) > sent + 20)
    known = running.decision()
    assert known is not None
    await running.reads(lambda found: found.epoch == known.epoch)
    remembered = msgspec.json.decode((running.run / "controller-state.json").read_bytes(), type=State)
    assert remembered.replicas["llm-1"].value > 1.2
    said = running.said()
    with running.controlled():
        await running.load_until(lambda: running.said() != said)
        assert running.decision() == known
        assert "first readings" not in str(running.said())


async def test_hung_it_holds_up_nobody(running: Running) -> None:
    with running.controlled() as controller:
        await running.load_until(lambda: running.said() is not None)
        controller.send_signal(signal.SIGSTOP)
        await running.load_until(lambda: psutil.Process(controller.pid).status() == psutil.STATUS_STOPPED)
        said, sent = running.said(), len(running.statuses)
        await running.load_until(lambda: len(running.statuses) > sent + 50)
        assert running.said() == said
        controller.send_signal(signal.SIGCONT)
        await running.load_until(lambda: running.said() != said)


GARBAGE = (
    b"",
    b"\x00" * 4096,
    b'{"epoch":1e999}',
    msgspec.json.encode(Decision(9, "another plan", {"llm-0": ReplicaShare(1, 1.0)})),
)


async def test_nonsense_is_refused_and_requests_go_on(running: Running) -> None:
    path, draft = running.run / "decision.json", running.run / "draft"
    for garbage in GARBAGE:
        draft.write_bytes(garbage)
        draft.replace(path)
        sent, until = len(running.statuses), time.monotonic() + 2 * POLL_S
        await running.load_until(
            lambda sent=sent, until=until: time.monotonic() > until and len(running.statuses) > sent
        )
        await running.reads(lambda found: found.refused != "" and found.epoch == 0)
    await running.reads(lambda found: "another plan" in found.refused)
    with running.controlled():
        await running.load_until(lambda: "the gateway refused" in str(running.said()))


async def test_a_decision_that_somebody_damaged_is_written_again(running: Running, two: Two) -> None:
    two[1].pause_s = SLOW_S
    with running.controlled():
        await running.load_until(lambda: running.decision() is not None)
        known = running.decision()
        await running.load_until(lambda: "refused" not in str(running.said()))
        (running.run / "decision.json").write_bytes(b"{")
        await running.load_until(lambda: running.decision() is not None)
        again = running.decision()
    assert known is not None
    assert again is not None
    assert again.shares == known.shares


async def test_without_a_gateway_it_waits_and_says_so(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    (bundle / "run").mkdir(parents=True)
    write_plan(bundle)
    running = Running(bundle, "", None)  # type: ignore[arg-type]
    with running.controlled(0.1):
        while running.said() is None:
            await asyncio.sleep(0.02)
        assert "nobody says where the gateway listens" in str(running.said())
        (bundle / "run" / "gateway.json").write_text('{"host": "127.0.0.1", "port": 9}')
        while "does not answer" not in str(running.said()):
            await asyncio.sleep(0.02)
    assert running.decision() is None


#: A handler that comes while the thread holds what a wait holds: one that wants the same lock never ends.
WITHIN = """
import os, select, signal
from harmonia_compiler.runtime.told import Told
told, wait = Told(), select.select
def within(*arguments):
    signal.raise_signal(signal.SIGTERM)
    return wait(*arguments)
select.select = within
assert not told.is_set()
assert told.wait(600.0) and told.is_set() and told.wait(600.0)
"""


def test_a_signal_within_the_wait_ends_it() -> None:
    assert subprocess.run([sys.executable, "-c", WITHIN], check=False, timeout=60).returncode == 0


def test_a_bundle_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harmonia_compiler.runtime.controller", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 1
    assert done.stderr.startswith("controller: E0905: ")
    assert "Traceback" not in done.stderr
