"""What is ended and removed of a service of containers, and what is said where Docker does not do so."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from harmonia_compiler.contract.decision import INSIDE
from harmonia_compiler.contract.readings import TOKEN
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.actuator import NOTHING_LEFT, NotStarted, Status
from harmonia_compiler.runtime.actuators.compose.docker import Docker
from harmonia_compiler.runtime.actuators.supervision import kept, pids, rundir
from harmonia_compiler.runtime.actuators.supervision.refusing import given_up
from tests.compose.taken import kill_keeper, with_actuator
from tests.compose.test_files import written
from tests.compose.test_keeping import with_docker
from tests.emit.conftest import Planned


def test_containers_that_docker_does_not_remove_are_known_to_whoever_asks_until_it_does(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.say_lives()
    for name in ("go", "no_down"):
        (taken.bin / name).touch()
    monkeypatch.setenv("HARMONIA_ALLOWED_HOSTS", "rag.example")
    assert actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=lambda _: None)
    inside = taken.run.path / INSIDE
    seen = inside.stat().st_ino, (inside / TOKEN).read_bytes()
    for _ in range(2):
        with pytest.raises(Rejected, match="E0922"):
            actuator.stop(bundle)
        status = actuator.status(bundle)
        assert (status.phase, len(status.notes)) == ("down", 1)
    # They are taken over with the folders that they see, which are not made anew beside them, and as they were started.
    monkeypatch.delenv("HARMONIA_ALLOWED_HOSTS")
    assert actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=lambda _: None)
    state = taken.run.read_state()
    assert state is not None
    assert state.given == {"HARMONIA_ALLOWED_HOSTS": "rag.example"}
    assert (inside.stat().st_ino, (inside / TOKEN).read_bytes()) == seen
    with pytest.raises(Rejected, match="E0922"):
        actuator.stop(bundle)
    (taken.bin / "no_down").unlink()
    assert actuator.stop(bundle)
    assert actuator.status(bundle) == NOTHING_LEFT
    assert not actuator.stop(bundle)


@pytest.mark.parametrize("how", ["late", "no_up"])
def test_a_start_that_fails_says_what_docker_does_not_remove_and_how_to_go_on(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.say_lives()
    for name in ("no_down", how):
        (taken.bin / name).touch()

    def watch(_: Status) -> None:
        if how == "late" and taken.opened():
            raise given_up("search-0", "it is late", "", [])

    with pytest.raises(NotStarted) as raised:
        actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=watch)
    (found,) = raised.value.found
    assert "not all that was started is stopped again" in found.help
    assert f"`harmoniac down {bundle}` tries again" in found.help
    status = actuator.status(bundle)
    assert (status.phase, status.failure is None) == ("down", how == "late")
    assert status.notes[-1].endswith(f"`harmoniac up {bundle}` takes them over")
    (taken.bin / "no_down").unlink()
    assert actuator.stop(bundle)
    assert actuator.status(bundle) == NOTHING_LEFT


def test_a_start_that_failed_and_was_stopped_is_in_no_engine_any_more(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, taken, _ = with_actuator(quickstart, tmp_path, monkeypatch)
    (taken.bin / "engine").write_text("one")
    taken.say_lives()
    for name in ("go", "no_up"):
        (taken.bin / name).touch()
    taken.keeper.serve(threading.Event())  # type: ignore[arg-type]
    state = taken.run.read_state()
    assert state is not None
    assert (state.status.phase, state.engine) == ("failed", "")


def test_docker_is_not_asked_again_by_whoever_tells_a_keeper_to_end_that_ends_well(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.start(actuator, bundle)
    # In a shell where no engine answers, as without its DOCKER_HOST.
    monkeypatch.setenv("PATH", with_docker(tmp_path / "none", "#!/bin/sh\nexit 1\n")["PATH"])
    assert actuator.stop(bundle)
    assert actuator.status(bundle) == NOTHING_LEFT


@pytest.mark.parametrize("who", ["the same up", "down", "up", "the keeper"])
def test_what_a_killed_keeper_told_docker_to_start_is_withdrawn_by_whoever_comes_next(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    assert isinstance(actuator, kept.Kept)
    taken.say_lives()
    for name in ("go", "long_up"):
        (taken.bin / name).touch()
    upping = taken.bin / "upping"

    def watch(_: Status) -> None:
        if who == "the same up" and upping.exists() and taken.run.is_held():
            kill_keeper(taken.run)

    def start() -> bool:
        return actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=watch)

    if who == "the same up":
        with pytest.raises(NotStarted):
            start()
    else:
        # Whoever told it to start is killed as well.
        actuator._spawn(bundle.resolve(), taken.run, rundir.Asked())
        ends = time.monotonic() + 30.0
        while not upping.exists():
            assert time.monotonic() < ends
            time.sleep(0.02)
        if who != "the keeper":
            kill_keeper(taken.run)
            (note,) = actuator.status(bundle).notes
            assert note.endswith(f"`harmoniac up {bundle}` takes them over")
        assert start() if who == "up" else actuator.stop(bundle)
    order = pids.identify(int(upping.read_text()))
    if order is not None:
        pids.kill([order])
    assert order is None
    assert (" down " in (taken.bin / "ended").read_text()) if who != "up" else actuator.stop(bundle)
    assert actuator.status(bundle) == NOTHING_LEFT


def test_only_what_is_told_to_start_or_to_end_containers_bears_their_mark(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, bin_ = tmp_path / "bundle", tmp_path / "bin"
    written(quickstart, bundle)
    noting = '#!/bin/sh\necho "$HARMONIA_ORDERS $*" >> "$(dirname "$0")/noted"\n'
    monkeypatch.setenv("PATH", f"{with_docker(bin_, noting)['PATH']}:{os.environ['PATH']}")
    docker = Docker(bundle, os.environ)
    docker.engine()
    docker.containers()
    assert all(line.startswith(" ") for line in (bin_ / "noted").read_text().splitlines())
    (bin_ / "noted").unlink()
    with (tmp_path / "log").open("wb") as log:
        docker.up((), log).wait()
    docker.stop("gateway", 1.0)
    docker.down(1.0)
    noted = (bin_ / "noted").read_text().splitlines()
    asked = [line for line in noted if line.startswith((" ps ", " network ls "))]
    assert (len(noted) - len(asked), len(asked)) == (4, 2)
    assert all(line.startswith(f"{docker.project} ") for line in noted if line not in asked)


@pytest.mark.parametrize("has_files", [True, False])
@pytest.mark.parametrize("has_containers", [True, False])
def test_what_bears_the_name_of_a_service_is_removed_also_where_no_file_says_so_and_no_container_is_there(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_files: bool, has_containers: bool
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    taken.start(actuator, bundle)
    kill_keeper(taken.run)
    (taken.bin / "networks").write_text("its-network\n")
    if not has_containers:
        (taken.bin / "only").write_text("nobody's")
    if not has_files:
        (bundle / "compose.yaml").unlink()
    assert actuator.stop(bundle)
    assert (taken.bin / "removed").read_text().splitlines() == [*(["any"] if has_containers else []), "its-network"]
    assert (taken.bin / "ended").exists() == has_files
    assert actuator.status(bundle) == NOTHING_LEFT


@pytest.mark.parametrize("there", [(), ("compose.a.yaml",), ("compose.overlay.yaml",)])
def test_containers_of_several_hosts_are_ended_also_where_not_all_their_files_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...]
) -> None:
    noting = '#!/bin/sh\necho "$*" >> "$(dirname "$0")/noted"\n[ "$1" != ps ] || echo any\n'
    monkeypatch.setenv("PATH", f"{with_docker(tmp_path / 'bin', noting)['PATH']}:{os.environ['PATH']}")
    for name in there:
        (tmp_path / name).touch()
    Docker(tmp_path, os.environ, ("compose.a.yaml", "compose.overlay.yaml")).down(1.0)
    said = (tmp_path / "bin/noted").read_text()
    assert " down " not in said
    assert "stop --time 1 any\nrm --force any\n" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_start_that_is_interrupted_as_its_keeper_begins_is_stopped_again(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    assert isinstance(actuator, kept.Kept)
    taken.say_lives()
    (taken.bin / "go").touch()
    spawn, told = actuator._spawn, []

    def interrupted(bundle: Path, run: rundir.RunDirectory, asked: rundir.Asked) -> Any:
        told.append(spawn(bundle, run, asked))
        signal.raise_signal(number)
        return told[0]

    monkeypatch.setattr(actuator, "_spawn", interrupted)
    # It bears no mark yet, and has signed nothing.
    monkeypatch.setattr(kept, "keepers_of", lambda *_: [])
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=lambda _: None)
        # It is told as before from then on.
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
        still = told[0].poll() is None
        monkeypatch.undo()
        actuator.stop(bundle)
    assert not still
    assert actuator.status(bundle) == NOTHING_LEFT


def test_a_service_that_somebody_looks_after_or_stops_is_not_left(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, taken, actuator = with_actuator(quickstart, tmp_path, monkeypatch)
    assert isinstance(actuator, kept.Kept)
    assert not actuator._may_be_left(bundle)
    taken.say_last("starting", rundir.Asked())
    assert actuator._may_be_left(bundle)
    lock = taken.run.lock()
    assert lock is not None
    try:
        assert not actuator._may_be_left(bundle)
    finally:
        os.close(lock)
