"""The controller beside a service of target `local`: kept up, shown, and missed by nobody."""

import json
import os
import signal
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from harmonia_compiler.cli.main import harmoniac
from harmonia_compiler.contract.bundle import ExpectedCalls, Service
from harmonia_compiler.contract.plan import Plan, ProfileUse, encode_plan
from harmonia_compiler.runtime.actuators.actuator import ProcessStatus

from .conftest import Hand, launch, until


def expecting(hand: Hand) -> Hand:
    """The bundle with a plan that says what its engine carries, which a controller can go by."""
    hand.write(one=launch())
    path = hand.path / "plan.json"
    plan = msgspec.json.decode(path.read_bytes(), type=Plan)
    use = ProfileUse("one", plan.replicas[0].config.describe(), "a test", 10.0, 100.0)
    path.write_bytes(encode_plan(msgspec.structs.replace(plan, profiles=(use,))))
    path = hand.path / "service.json"
    service = msgspec.json.decode(path.read_bytes(), type=Service)
    expected = {"asked": {"say": ExpectedCalls(1.0, 100.0)}}
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(service, expected=expected)))
    return hand


def controller(hand: Hand) -> ProcessStatus:
    (found,) = hand.status().beside
    return found


def logged(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def test_a_service_whose_plan_says_what_to_expect_has_a_controller(hand: Hand) -> None:
    expecting(hand).up()
    until(lambda: controller(hand).phase == "ready")
    assert [one.name for one in hand.status().processes] == ["one", "gateway"]
    assert controller(hand).port is None
    until(lambda: hand.status().said is not None)
    shown = CliRunner().invoke(harmoniac, ["status", str(hand.path)])
    assert shown.exit_code == 0
    assert "The controller, " in shown.output
    # What stands in for the gateway says `ok` to everything.
    assert "the gateway's readings cannot be read" in shown.output
    document = json.loads(CliRunner().invoke(harmoniac, ["status", str(hand.path), "--format", "json"]).output)
    assert document["said"]["reasons"]
    assert document["beside"][0]["name"] == "controller"
    hand.seen.append(msgspec.structs.replace(hand.status(), processes=hand.status().beside))
    assert hand.down() is True
    hand.assert_nothing_left()
    assert (hand.path / "run" / "logs" / "controller.jsonl").is_file()


def test_a_killed_controller_is_started_again_and_the_service_stays_ready(hand: Hand) -> None:
    expecting(hand).up()
    until(lambda: controller(hand).phase == "ready")
    pid = controller(hand).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: controller(hand).phase == "restarting")
    assert hand.status().ready
    until(lambda: controller(hand).phase == "ready")
    assert controller(hand).pid != pid
    assert controller(hand).last_exit == "SIGKILL"


@pytest.mark.slow
def test_a_controller_that_hangs_is_ended_with_the_service(hand: Hand) -> None:
    expecting(hand).up()
    until(lambda: controller(hand).phase == "ready")
    hand.seen.append(msgspec.structs.replace(hand.status(), processes=hand.status().beside))
    pid = controller(hand).pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    assert hand.status().ready
    hand.down()
    hand.assert_nothing_left()


def test_what_a_controller_left_behind_is_cleared_away(hand: Hand) -> None:
    expecting(hand)
    run = hand.path / "run"
    run.mkdir()
    for name in ("decision.json", "controller.json", "controller-state.json"):
        (run / name).write_text("{")
    hand.up()
    assert "{" not in {logged(run / name) for name in ("decision.json", "controller.json", "controller-state.json")}


def test_without_figures_there_is_no_controller(hand: Hand) -> None:
    hand.write(one=launch())
    hand.up()
    assert hand.status().beside == ()
    assert hand.status().said is None
