"""What becomes of containers whose bundle is moved or removed, and of those whose name is not known any more."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.decision import fingerprint
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.actuator import NOTHING_LEFT, NotStarted, Phase, Status
from harmonia_compiler.runtime.actuators.compose import keeper as keeping
from harmonia_compiler.runtime.actuators.compose.asking import Wish
from harmonia_compiler.runtime.actuators.compose.counts import Counts
from harmonia_compiler.runtime.actuators.compose.docker import project_of
from harmonia_compiler.runtime.actuators.compose.keeper import Keeper
from harmonia_compiler.runtime.actuators.compose.preflight import preflight
from harmonia_compiler.runtime.actuators.supervision import kept, pids, rundir
from tests.compose.taken import Taken, kill_keeper, with_actuator
from tests.compose.test_files import written
from tests.compose.test_keeping import inspected
from tests.emit.conftest import Planned


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_service_whose_folder_is_moved_is_seen_taken_over_and_ended_there(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_killed: bool
) -> None:
    before, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.start(actuator, before)
    project = project_of(before)
    if is_killed:
        kill_keeper(taken.run)
    bundle = before.rename(tmp_path / "moved")
    # Another in its place has nothing to do with it.
    written(quickstart, before)
    rundir.RunDirectory(before).prepare()
    assert project_of(before) != project
    assert actuator.status(before) == NOTHING_LEFT
    assert not actuator.stop(before)
    run = rundir.RunDirectory(bundle)
    status = actuator.status(bundle)
    assert status.phase in (("down",) if is_killed else ("running", "starting"))
    # Whoever looks after it goes on where it is, and so does who takes it over.
    assert actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=lambda _: None) is False
    (run.path / rundir.STATE).unlink()
    until(lambda: run.read_state() is not None)
    assert project_of(bundle) == project
    assert actuator.stop(bundle)
    ended = (taken.bin / "ended").read_text().splitlines()
    assert all(f"--project-name {project}" in one for one in ended)
    assert " down " in ended[-1]
    assert actuator.status(bundle) == NOTHING_LEFT


@pytest.mark.parametrize("project", [None, "somebodys-project", "--help", "harmonia-0123456789\n", "a\0b", "harmonia-"])
@pytest.mark.parametrize("is_moved", [False, True])
def test_containers_whose_name_cannot_be_read_are_not_said_to_be_gone_and_are_not_somebody_elses(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, project: str | None, is_moved: bool
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    own = project_of(bundle)
    (taken.bin / "only").write_text(own)
    taken.say_lives()
    bundle = bundle.rename(tmp_path / "moved") if is_moved else bundle
    run = rundir.RunDirectory(bundle)
    state = rundir.State(pids.Ident(1, 1), Status("running"), folder=run.identity, project=project or own)
    text = msgspec.json.encode(state)
    run.write(rundir.STATE, text[: len(text) - (project is None)])
    (note,) = actuator.status(bundle).notes
    assert "cannot be read" in note
    if is_moved:
        with pytest.raises(Rejected) as refused:
            actuator.stop(bundle)
        for found in (refused.value.found, preflight(bundle, None, dict(os.environ))):
            (one,) = (one for one in found if one.code == "E0922")
            assert "cannot be read" in one.message
            assert one.help is not None
            assert "docker compose ls" in one.help
        assert not (taken.bin / "ended").exists()
        # Whoever has seen to them says so.
        (run.path / rundir.STATE).unlink()
    actuator.stop(bundle)
    assert actuator.status(bundle) == NOTHING_LEFT
    if not is_moved:
        assert f"--project-name {own} " in (taken.bin / "ended").read_text()


@pytest.mark.parametrize("is_killed", [False, True])
def test_containers_of_a_folder_that_is_moved_are_made_anew_and_it_is_said(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_killed: bool
) -> None:
    before, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    assert isinstance(actuator, kept.Kept)
    taken.start(actuator, before)
    if is_killed:
        kill_keeper(taken.run)
    # Docker takes its time, until the folder is moved again: what it was told of the second place is withdrawn.
    (taken.bin / "long_up").touch()
    second, third = tmp_path / "second", tmp_path / "third"
    started, upping, run = taken.bin / "started", taken.bin / "upping", rundir.RunDirectory(third)
    before.rename(second)
    if is_killed:
        actuator._spawn(second, rundir.RunDirectory(second), rundir.Asked())
    said = f"the folder was moved from `{before}`: its containers are made anew"
    until(lambda: upping.exists() and actuator.status(second).notes == (said,))
    second.rename(third)
    until(lambda: len(started.read_text().splitlines()) == 2 and place_in(run) == str(third))
    until(lambda: actuator.status(third).ready and actuator.status(third).phase == "running")
    assert actuator.status(third).notes == ()
    assert f"was moved from {second} to {third}" in run.log_of("supervisor").read_text()
    is_withdrawn = pids.identify(int(upping.read_text())) is None
    assert actuator.stop(third)
    assert is_withdrawn
    # All that runs, with what it waits for.
    assert {*started.read_text().splitlines()[-1].split()} >= {*taken.lives, "--remove-orphans"}


def until(seen: Callable[[], bool]) -> None:
    ends = time.monotonic() + 45.0
    while not seen():
        assert time.monotonic() < ends
        time.sleep(0.02)


def remove(bundle: Path) -> None:
    """Remove a folder in which its keeper goes on writing until it sees that."""
    while bundle.exists():
        shutil.rmtree(bundle, ignore_errors=True)


def place_in(run: rundir.RunDirectory) -> str:
    state = run.read_state()
    return "" if state is None else state.place


def test_what_the_controller_added_is_made_anew_as_well_and_again_where_docker_fails(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, before = tmp_path / "bundle", tmp_path / "before"
    written(quickstart, bundle, "[compose]\nscale_out = 1\n")
    monkeypatch.setattr(keeping, "delay_s", lambda _: 0.0)
    taken = Taken(bundle, "", tmp_path / "bin", monkeypatch)
    documents, here = taken.keeper._documents, taken.run.identity
    taken.lives = {name: life for name, life in taken.lives.items() if name not in taken.keeper._further}
    state = rundir.State(pids.Ident(1, 1), Status("running"), folder=here, place=str(before))
    taken.run.write(rundir.STATE, msgspec.json.encode(state))
    engine, these = next(iter(documents.scalable().items()))
    counts = Counts(documents, taken.run, taken.keeper._docker)
    assert counts.answer(Wish(fingerprint(documents.service), 1, {engine: len(these)})).accepted
    taken.lives |= {one.replica: inspected("running", "healthy") for one in these}
    taken.keeper = Keeper(bundle, taken.run, rundir.Asked(), taken.keeper._me)
    for name in ("go", "no_up"):
        (taken.bin / name).touch()
    # What is made anew is gone for a while: nobody else starts it meanwhile.
    gone = {one.replica: taken.lives.pop(one.replica) for one in these}
    assert taken.keeper._status().notes == (f"the folder was moved from `{before}`: its containers are made anew",)
    with taken.kept():
        taken.until((taken.bin / "started").exists)
        taken.lives |= gone
        taken.say_lives()
        taken.until(lambda: taken.keeper._status().ready and taken.keeper._status().notes == ())
    assert not (taken.bin / "no_up").exists()
    assert {*(taken.bin / "started").read_text().splitlines()[0].split()} >= {*gone}


def test_whoever_asks_for_a_service_that_is_moved_waits_until_all_of_it_answers_again(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.start(actuator, before)
    gateway = taken.lives.pop("gateway")
    taken.say_lives()
    (taken.bin / "long_up").touch()
    bundle, seen = before.rename(tmp_path / "moved"), list[Status]()
    upping = taken.bin / "upping"
    until(upping.exists)

    def watch(status: Status) -> None:
        seen.append(status)
        if len(seen) == 1:
            order = pids.identify(int(upping.read_text()))
            assert order is not None
            pids.kill([order])
        elif not status.notes and "gateway" not in taken.lives:
            # Docker has told all to start, and one does not answer yet.
            assert status.phase == "starting"
            taken.lives["gateway"] = gateway
            taken.say_lives()

    try:
        assert not actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=watch)
        assert "gateway" in taken.lives
        assert actuator.status(bundle).ready
    finally:
        actuator.stop(bundle)


@pytest.mark.parametrize(
    ("phase", "may_leave"), [("running", True), ("starting", True), ("stopping", True), ("failed", False)]
)
def test_whatever_a_keeper_may_have_left_looks_for_its_folder_where_it_was(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: Phase, *, may_leave: bool
) -> None:
    bundle, before = tmp_path / "bundle", tmp_path / "before"
    written(quickstart, bundle)
    taken = Taken(bundle, "", tmp_path / "bin", monkeypatch)
    state = rundir.State(pids.Ident(1, 1), Status(phase), folder=taken.run.identity, place=str(before))
    taken.run.write(rundir.STATE, msgspec.json.encode(state))
    keeper = Keeper(bundle, taken.run, rundir.Asked(), taken.keeper._me)
    assert keeper._made_at == (before if may_leave else bundle)
    # Once it is stopped nothing is made anew.
    keeper._phase = "stopping"
    assert keeper._status().notes == ()


def test_what_nothing_is_there_of_is_not_made_anew(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, before = tmp_path / "bundle", tmp_path / "before"
    written(quickstart, bundle)
    taken = Taken(bundle, "", tmp_path / "bin", monkeypatch)
    state = rundir.State(pids.Ident(1, 1), Status("running"), folder=taken.run.identity, place=str(before))
    taken.run.write(rundir.STATE, msgspec.json.encode(state))
    taken.keeper = Keeper(bundle, taken.run, rundir.Asked(), taken.keeper._me)
    lives, taken.lives = taken.lives, {}
    (taken.bin / "go").touch()
    with taken.kept():
        taken.until((taken.bin / "started").exists)
        assert taken.keeper._status().notes == ()
        taken.lives = lives
        taken.say_lives()
        taken.until(lambda: taken.keeper._status().ready)
    # It is started as a first time, all of it.
    assert (taken.bin / "started").read_text().splitlines()[0].endswith("--remove-orphans")


def with_keeper_in_its_folder(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Taken, Path]:
    """A bundle whose keeper finds it where this process is, as one does, and which is not up; and where it may go."""
    bundle = tmp_path / "bundle"
    written(quickstart, bundle)
    monkeypatch.setattr(keeping, "delay_s", lambda _: 0.0)
    taken = Taken(bundle, "", tmp_path / "bin", monkeypatch)
    monkeypatch.chdir(bundle)
    taken.keeper = Keeper(Path(), rundir.RunDirectory(Path()), rundir.Asked(), taken.keeper._me)
    return bundle, taken, tmp_path / "moved"


def test_a_first_start_is_not_given_up_for_what_ends_to_be_made_anew(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, moved = with_keeper_in_its_folder(quickstart, tmp_path, monkeypatch)
    taken.lives["search-0"] = inspected("running", "starting")
    with taken.kept():
        taken.until((taken.bin / "started").exists)
        (taken.bin / "long_up").touch()
        bundle.rename(moved)
        taken.until((taken.bin / "upping").exists)
        taken.lives["search-0"] = inspected("exited", ExitCode=143)
        taken.say_lives()
        looks = len(taken.said())
        taken.until(lambda: len(taken.said()) > looks + 5)


def test_a_service_that_is_up_goes_on_where_docker_does_not_make_it_anew_at_once(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, moved = with_keeper_in_its_folder(quickstart, tmp_path, monkeypatch)
    (taken.bin / "go").touch()
    started = taken.bin / "started"
    with taken.kept():
        taken.until(lambda: taken.keeper._phase == "running")
        (taken.bin / "never_up").touch()
        bundle.rename(moved)
        tried = taken.bin / "tried"
        taken.until(lambda: tried.exists() and len(tried.read_text()) > 2)
        # What is not there meanwhile is started by nothing else.
        lives, taken.lives = taken.lives, {"search-0": taken.lives["search-0"]}
        taken.say_lives()
        (taken.bin / "long_up").touch()
        (taken.bin / "never_up").unlink()
        taken.until((taken.bin / "upping").exists)
        looks = len(taken.said())
        taken.until(lambda: len(taken.said()) > looks + 5)
        assert len(started.read_text().splitlines()) == 1
        taken.lives = lives
        taken.say_lives()
        pids.kill([one for one in [pids.identify(int((taken.bin / "upping").read_text()))] if one is not None])
        taken.until(lambda: taken.keeper._status().notes == () and taken.keeper._status().ready)
    assert len(started.read_text().splitlines()) == 2


def test_docker_that_failed_before_a_folder_was_moved_again_is_waited_for_no_longer_than_one_that_had_not(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, moved = with_keeper_in_its_folder(quickstart, tmp_path, monkeypatch)
    monkeypatch.setattr(keeping, "delay_s", lambda failures: 3600.0 if failures == 1 else 0.0)
    (taken.bin / "go").touch()
    tried = taken.bin / "tried"
    with taken.kept():
        taken.until(lambda: taken.keeper._phase == "running")
        (taken.bin / "never_up").touch()
        bundle.rename(moved)
        taken.until(lambda: taken.keeper._again_at is not None)
        assert len(tried.read_text()) == 1
        moved.rename(bundle)
        taken.until(lambda: len(tried.read_text()) > 2)
        (taken.bin / "never_up").unlink()
        taken.until(lambda: taken.keeper._status().ready)


def test_whoever_starts_a_service_whose_folder_is_removed_is_not_told_that_somebody_stopped_it(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.say_lives()

    def watch(_: Status) -> None:
        if taken.opened() and bundle.exists():
            remove(bundle)
            (taken.bin / "go").touch()

    with pytest.raises(NotStarted):
        actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=watch)
    assert (taken.bin / "removed").read_text().split() == ["any"]


def test_a_service_whose_folder_is_removed_ends_by_itself(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.start(actuator, bundle)
    # Also where it was taken over.
    kill_keeper(taken.run)
    assert not actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=lambda _: None)
    holder = taken.run.holder()
    assert holder is not None
    remove(bundle)
    until(lambda: not pids.is_alive(holder))
    for keeper in kept._spawned:
        keeper.poll()
    # By their numbers, since the files that they are of are gone.
    assert (taken.bin / "removed").read_text().split() == ["any"]


def test_a_service_whose_folder_is_removed_while_docker_does_not_answer_ends_as_soon_as_that_does(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.start(actuator, bundle)
    holder, ended, sought = taken.run.holder(), taken.bin / "ended", taken.bin / "sought"
    assert holder is not None
    (taken.bin / "away").touch()
    remove(bundle)
    try:
        until(lambda: ended.exists() and sought.exists())
        before = len(sought.read_text())
        until(lambda: len(sought.read_text()) > before + 1 or not pids.is_alive(holder))
        assert pids.is_alive(holder)
        (taken.bin / "away").unlink()
        until(lambda: not pids.is_alive(holder))
    finally:
        pids.kill([holder])
        for keeper in kept._spawned:
            keeper.wait(30.0)
    assert (taken.bin / "removed").read_text().split() == ["any"]


def test_a_service_whose_run_is_replaced_ends_by_itself_and_leaves_that_alone(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.start(actuator, bundle)
    taken.run.path.rename(tmp_path / "run")
    names = (rundir.STATE, "service", "logs")
    for name in names:
        (taken.run.path / name).mkdir(parents=True)
    (keeper,) = (one for one in kept._spawned if one.poll() is None)
    assert keeper.wait(30.0) == 0
    assert " down " in (taken.bin / "ended").read_text().splitlines()[-1]
    assert sorted(path.name for path in taken.run.path.iterdir()) == sorted(names)
