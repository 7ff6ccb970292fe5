"""Who takes over the containers of a keeper that was killed: what it keeps, starts, opens again and gives up."""

import os
import stat
import threading
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.actuator import NOTHING_LEFT, NotStarted, Phase, Status, actuator_for
from harmonia_compiler.runtime.actuators.compose import keeper as keeping
from harmonia_compiler.runtime.actuators.compose import preparing
from harmonia_compiler.runtime.actuators.compose.keeper import Keeper
from harmonia_compiler.runtime.actuators.supervision import pids, rundir
from harmonia_compiler.runtime.actuators.supervision.refusing import given_up
from tests.compose.taken import Taken, kill_keeper, with_actuator
from tests.compose.test_files import written
from tests.compose.test_keeping import inspected, part
from tests.emit.conftest import Planned


@pytest.mark.parametrize(
    ("hosts", "host", "stores"), [("a", "a", ["search-0"]), ("ab", "a", []), ("ab", "b", ["search-0"])]
)
def test_a_store_that_may_have_started_again_unseen_is_opened_and_all_are_called_meanwhile(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts: str, host: str, stores: list[str]
) -> None:
    written(quickstart.on_hosts(*hosts), tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", host, tmp_path / "bin", monkeypatch)
    with taken.kept():
        taken.until(lambda: taken.opened() == stores and len(taken.called()) > 3)
        looks = len(taken.called())
        taken.until(lambda: len(taken.called()) > looks + 3)
        assert taken.keeper._status().ready == (not stores)
        (taken.bin / "go").touch()
        taken.until(lambda: taken.keeper._status().ready)
    assert all(called >= {*taken.names} for called in taken.called())
    # What does not change is not said anew.
    assert {said["epoch"] for said in taken.said()} == {3}
    assert taken.opened() == stores


@pytest.mark.parametrize(
    ("phase", "was_up", "is_up"),
    [
        ("starting", False, False),
        ("starting", True, True),
        ("running", False, True),
        ("stopping", False, False),
        ("stopping", True, False),
        ("failed", False, False),
        ("failed", True, True),
    ],
)
@pytest.mark.parametrize("reembeds", [False, True])
def test_a_service_that_was_up_is_taken_over_as_it_was_started_and_no_other(
    quickstart: Planned,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    phase: Phase,
    was_up: bool,
    is_up: bool,
    reembeds: bool,
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last(phase, rundir.Asked(reembed=reembeds), was_up=was_up)
    for asks in (False, True):
        keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(reembed=asks), taken.keeper._me)
        differ = {one.may_differ for one in keeper._watched["search-0"].expected}
        assert differ == {asks or (is_up and reembeds)}


def test_a_service_that_was_up_is_so_too_for_whoever_takes_it_over_from_one_that_was_killed_meanwhile(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last("running", rundir.Asked(reembed=True))
    for _ in range(3):
        taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
        taken.keeper._write()
    state = taken.run.read_state()
    assert state is not None
    assert (state.status.phase, state.asked.reembed) == ("starting", True)
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    for name in ("no_up", "go"):
        (taken.bin / name).touch()
    with taken.kept():
        taken.until(lambda: taken.keeper._status().ready)
    assert not (taken.bin / "no_up").exists()


def test_what_the_gateway_was_told_by_a_variable_stays_so_until_another_shell_says_otherwise(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, name = tmp_path / "bundle", "HARMONIA_ALLOWED_HOSTS"
    written(quickstart, bundle)
    monkeypatch.setenv("HARMONIA_GATEWAY_PROCESSES", "2")
    for said, told in (
        ("rag.example", "rag.example"),
        (None, "rag.example"),
        (None, "rag.example"),
        ("", ""),
        (None, ""),
    ):
        if said is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, said)
        keeper, run = part(bundle, "", monkeypatch)
        assert {**keeper._docker._environment}.items() >= {name: told, "HARMONIA_GATEWAY_PROCESSES": "2"}.items()
        keeper._phase = "running"
        keeper._write()
        monkeypatch.delenv("HARMONIA_GATEWAY_PROCESSES", raising=False)
    # Of a service that was stopped nothing is kept.
    run.clear()
    keeper, _ = part(bundle, "", monkeypatch)
    assert name not in keeper._docker._environment


@pytest.mark.parametrize(
    ("phase", "was_up", "leaves_some", "is_left"),
    [
        ("starting", False, False, True),
        ("stopping", False, False, True),
        ("failed", False, False, False),
        ("failed", True, False, True),
        ("failed", False, True, True),
    ],
)
def test_what_the_gateway_was_told_holds_for_all_that_a_keeper_may_have_left(
    quickstart: Planned,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    phase: Phase,
    was_up: bool,
    leaves_some: bool,
    is_left: bool,
) -> None:
    bundle, name = tmp_path / "bundle", "HARMONIA_ALLOWED_HOSTS"
    written(quickstart, bundle)
    keeper, run = part(bundle, "", monkeypatch)
    given, here = {name: "rag.example"}, run.identity
    state = rundir.State(keeper._me, Status(phase), folder=here, was_up=was_up, given=given, leaves_some=leaves_some)
    run.write(rundir.STATE, msgspec.json.encode(state))
    monkeypatch.delenv(name, raising=False)
    keeper, _ = part(bundle, "", monkeypatch)
    assert keeper._docker._environment.get(name) == ("rag.example" if is_left else None)


def test_a_service_is_not_given_up_for_what_starts_again_while_it_is_taken_over(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last("running", rundir.Asked(reembed=True))
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    assert all(one.may_differ for one in taken.keeper._watched["search-0"].expected)
    taken.lives["search-0"] = {**inspected("running", "starting"), "RestartCount": 1}
    (taken.bin / "go").touch()
    with taken.kept():
        taken.until(lambda: taken.keeper._watched["minilm-0"].is_ready)
        assert not taken.keeper._watched["search-0"].is_called
        taken.lives["search-0"] = {**inspected("running", "healthy"), "RestartCount": 1}
        taken.say_lives()
        taken.until(lambda: taken.keeper._status().ready)
    assert taken.opened() == ["search-0"]


@pytest.mark.parametrize("fails", ["no_ps", "no_up"])
def test_a_service_is_not_given_up_where_docker_fails_once_while_it_is_taken_over(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last("running", rundir.Asked())
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    for name in (fails, "go"):
        (taken.bin / name).touch()
    with taken.kept():
        taken.until(lambda: taken.keeper._status().ready)
    assert not (taken.bin / fails).exists()


def test_docker_is_told_ever_less_often_to_start_what_it_does_not(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last("running", rundir.Asked())
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    monkeypatch.setattr(keeping, "delay_s", lambda failures: 0.0 if failures < 3 else 3600.0)
    tried = taken.bin / "tried"
    for name in ("never_up", "go"):
        (taken.bin / name).touch()
    with taken.kept():
        taken.until(lambda: tried.exists() and len(tried.read_text()) == 3)
        looks = len(taken.called())
        taken.until(lambda: len(taken.called()) > looks + 5)
    assert len(tried.read_text()) == 3


@pytest.mark.parametrize("state", ["exited", ""])
def test_what_is_stopped_or_removed_while_a_service_is_taken_over_is_started_again(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last("running", rundir.Asked())
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    with taken.kept():
        # All was there, and one is still readied.
        taken.until(lambda: taken.opened() == ["search-0"] and taken.keeper._has_started)
        looks = len(taken.called())
        taken.until(lambda: len(taken.called()) > looks + 5)
        assert not any(taken.started(name) for name in taken.lives)
        before = taken.lives.pop("minilm-0")
        taken.lives |= {"minilm-0": inspected(state)} if state else {}
        taken.say_lives()
        taken.until(lambda: taken.started("minilm-0"))
        assert taken.keeper._phase == "starting"
        taken.lives["minilm-0"] = before
        taken.say_lives()
        (taken.bin / "go").touch()
        taken.until(lambda: taken.keeper._status().ready)


def test_what_somebody_pauses_is_left_so(quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    monkeypatch.setattr(keeping, "delay_s", lambda _: 0.0)
    (taken.bin / "go").touch()
    with taken.kept():
        taken.until(lambda: taken.keeper._status().ready)
        taken.lives["minilm-0"] = inspected("paused", "healthy")
        taken.say_lives()
        taken.until(lambda: "paused" in taken.keeper._watched["minilm-0"].status.waiting_for)
        looks = len(taken.said())
        taken.until(lambda: len(taken.said()) > looks + 10)
        assert not taken.started("minilm-0")


@pytest.mark.parametrize("phase", ["running", "starting"])
def test_docker_is_waited_for_by_whoever_takes_over_what_was_up_until_that_is_told_to_end(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, phase: Phase
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last(phase, rundir.Asked())
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    (taken.bin / "away").touch()
    told = threading.Event()
    thread = threading.Thread(target=taken.keeper.serve, args=(told,))
    thread.start()
    try:
        if phase == "running":
            # Twice, so that it has not given up after the first.
            taken.until(lambda: (taken.bin / "sought").exists() and len((taken.bin / "sought").read_text()) > 1)
            assert thread.is_alive()
            told.set()
        thread.join(30.0)
        assert not thread.is_alive()
    finally:
        told.set()
        (taken.bin / "away").unlink()
        thread.join()
    # What goes on is said once.
    assert sum("Docker does not answer" in said for said in caplog.messages) == (phase == "running")
    # To be told to end is no failure.
    assert (taken.keeper._failure is None) == (phase == "running")


@pytest.mark.parametrize("how", ["late", "interrupted", "refused"])
def test_a_takeover_that_comes_to_nothing_leaves_the_service_as_it_was(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.say_lives()
    go, secrets = taken.bin / "go", taken.run.path / preparing.SECRETS
    go.touch()
    assert actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=lambda _: None)
    served = (taken.run.path / "service/endpoints.json").read_bytes()
    kill_keeper(taken.run)
    go.unlink()
    if how == "refused":
        secrets.rmdir()
        secrets.touch()

    def watch(status: Status) -> None:
        if how == "interrupted" and any(one.name == "search-0" for one in status.processes):
            raise KeyboardInterrupt

    with pytest.raises(NotStarted if how != "interrupted" else KeyboardInterrupt) as raised:
        actuator.start(bundle, port=None, reembed=False, timeout_s=2.0 if how == "late" else 60.0, watch=watch)
    status = actuator.status(bundle)
    if how == "refused":
        assert (status.phase, len(status.notes)) == ("down", 2)
        assert status.notes[1].endswith(f"`harmoniac up {bundle}` takes them over")
        secrets.unlink()
    else:
        assert (status.phase, status.notes) == ("starting", ("it goes on as it was while it is taken over",))
    if isinstance(raised.value, NotStarted):
        (found,) = raised.value.found
        after = f"nobody looks after it: `harmoniac up {bundle}`" if how == "refused" else "so does its takeover"
        assert f"the service goes on as it was, and {after}" in found.help
    # Whoever comes next takes it over, or waits for who is about to.
    go.touch()
    assert not actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=lambda _: None)
    assert actuator.status(bundle).phase == "running"
    assert (taken.run.path / "service/endpoints.json").read_bytes() == served
    assert not (taken.bin / "ended").exists()
    assert actuator.stop(bundle)
    assert " down " in (taken.bin / "ended").read_text()
    assert actuator.status(bundle) == NOTHING_LEFT


@pytest.mark.parametrize(("phase", "goes_on"), [("running", True), ("stopping", False)])
def test_a_service_that_was_up_is_said_to_go_on_before_who_takes_it_over_has_said_anything(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: Phase, *, goes_on: bool
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken, actuator = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch), actuator_for("compose")
    assert actuator is not None
    taken.say_last(phase, rundir.Asked())
    lock, me = taken.run.lock(), pids.identify(os.getpid())
    assert lock is not None
    assert me is not None
    try:
        # Who holds it without a name cleans up.
        assert actuator.status(tmp_path / "bundle") == Status("starting")
        taken.run.sign(lock, me)
        notes = ("it goes on as it was while it is taken over",) if goes_on else ()
        assert actuator.status(tmp_path / "bundle") == Status("starting", notes=notes)
    finally:
        os.close(lock)


def test_a_service_is_not_given_up_for_what_was_gone_when_it_was_taken_over_and_ends_again(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last("running", rundir.Asked())
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    del taken.lives["minilm-0"]
    (taken.bin / "go").touch()
    with taken.kept():
        taken.until(lambda: taken.keeper._watched["search-0"].is_ready)
        taken.lives["minilm-0"] = {**inspected("restarting"), "RestartCount": 1}
        taken.say_lives()
        taken.until(lambda: "its next start, after" in taken.keeper._watched["minilm-0"].status.waiting_for)
        looks = len(taken.called())
        taken.until(lambda: len(taken.called()) > looks + 3)
        taken.lives["minilm-0"] = inspected("running", "healthy")
        taken.say_lives()
        taken.until(lambda: taken.keeper._status().ready)


def test_what_nothing_is_there_of_is_started_and_not_taken_over(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last("running", rundir.Asked())
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    (taken.bin / "containers").write_text("[]")
    (taken.bin / "no_up").touch()
    told = threading.Event()
    thread = threading.Thread(target=taken.keeper.serve, args=(told,))
    thread.start()
    try:
        thread.join(30.0)
        assert not thread.is_alive()
    finally:
        told.set()
        thread.join()
    assert taken.keeper._failure is not None
    assert " down " in (taken.bin / "ended").read_text()


def test_a_takeover_that_waits_for_docker_and_is_told_to_end_has_not_failed(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.say_last("running", rundir.Asked())
    taken.say_lives()
    for name in ("away", "no_down"):
        (taken.bin / name).touch()

    def watch(_: Status) -> None:
        # Who has said anything hears signals.
        raise given_up("search-0", "it is late", "", [])

    with pytest.raises(NotStarted):
        actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=watch)
    assert actuator.status(bundle).phase == "starting"
    with pytest.raises(Rejected, match="E0922"):
        actuator.stop(bundle)
    status = actuator.status(bundle)
    assert (status.phase, status.failure, len(status.notes)) == ("down", None, 1)
    assert status.notes[0].endswith(f"`harmoniac up {bundle}` takes them over")
    for name in ("away", "no_down"):
        (taken.bin / name).unlink()
    assert actuator.stop(bundle)
    assert actuator.status(bundle) == NOTHING_LEFT


@pytest.mark.parametrize("network", ["host", "bridge"])
def test_the_gateway_is_shown_at_the_port_where_it_answers_on_this_host(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    bundle = tmp_path / "bundle"
    written(quickstart, bundle, f'[compose]\nnetwork = "{network}"\nfirst_port = 20000\n')
    taken = Taken(bundle, "", tmp_path / "bin", monkeypatch)
    with taken.kept():
        taken.until(lambda: taken.keeper._watched["gateway"].status.port is not None)
        status = taken.keeper._status()
        (shown,) = (one.port for one in status.processes if one.name == "gateway")
        assert status.url.endswith(f":{shown}")
        inside = taken.keeper._watched["gateway"].port
        assert inside == (shown if network == "host" else 20_000)


def test_what_a_keeper_writes_is_its_owners_alone(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.start(actuator, bundle)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in taken.run.logs.glob("supervisor.log")}
    assert actuator.stop(bundle)
    assert modes == {0o600}
