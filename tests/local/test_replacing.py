"""A service is replaced while it runs, by a bundle or back: nobody meets an error, and what is alike is not touched."""

import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harmonia_compiler.cli.main import run
from harmonia_compiler.contract.component import Component, Port
from harmonia_compiler.contract.launch import Fill, Launch, Probe
from harmonia_compiler.contract.program import Call, Parameter, Program, ProgramParameter
from harmonia_compiler.contract.types import Text
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.actuator import NotStarted, Status
from harmonia_compiler.runtime.actuators.local import ACTUATOR
from harmonia_compiler.runtime.actuators.supervision.keeper import keeper_of
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory

from .conftest import Hand, launch, until

TEXT = Text()
GATEWAY = Launch(
    (
        *(Fill("python"), "-m", "harmonia_compiler.runtime.gateway"),
        *("--service", "service.json", "--endpoints", "run/endpoints.json"),
        *("--host", Fill("host"), "--port", Fill("port")),
    ),
    Probe("http", "/healthz", timeout_s=60.0),
)


def calling(name: str) -> Component:
    return Component(name, "python", name, (Port("text", TEXT),), TEXT)


#: What `one` says, after `two` was asked.
SAY = Program(
    "say",
    (ProgramParameter("question", TEXT),),
    TEXT,
    (Parameter("question"), Call("two", ("text",), (0,)), Call("one", ("text",), (1,))),
    2,
    {"one": calling("one"), "two": calling("two")},
)


def write(hand: Hand, says: str, *more: str, **others: Any) -> Hand:
    hand.path.mkdir(exist_ok=True)
    one = launch("--result", says, "--pause-s", "0.2", *more)
    return hand.write(programs=[SAY], gateway=GATEWAY, one=one, two=launch("--result", "and"), **others)


def ask(hand: Hand, pipeline: str = "say") -> str:
    url = f"{hand.status().url}/v1/pipelines/{pipeline}"
    with urllib.request.urlopen(url, b'{"inputs": {"question": "who?"}}', timeout=20) as answer:
        return str(json.load(answer)["value"])


@contextmanager
def loaded(hand: Hand, clients: int = 8) -> Iterator[list[str]]:
    """Clients that ask one question after the other; what each was answered, or what went wrong."""
    url, ended, said = f"{hand.status().url}/v1/pipelines/say", threading.Event(), list[str]()

    def client() -> None:
        while not ended.is_set():
            try:
                body = b'{"inputs": {"question": "who?"}}'
                with urllib.request.urlopen(url, body, timeout=20) as answer:
                    said.append(json.load(answer)["value"])
            except urllib.error.HTTPError as problem:
                with problem:
                    said.append(problem.read().decode())
            except OSError as problem:
                said.append(repr(problem))

    people = [threading.Thread(target=client) for _ in range(clients)]
    for one in people:
        one.start()
    try:
        until(lambda: len(said) > clients)
        yield said
    finally:
        ended.set()
        for one in people:
            one.join()


def replace(hand: Hand, new: Hand, share: float = 1.0, *, make_room: bool = False, timeout_s: float = 60.0) -> Status:
    status = ACTUATOR.replace(
        hand.path, new.path, share=share, make_room=make_room, timeout_s=timeout_s, watch=hand.seen.append
    )
    assert status is not None
    return status


def settled(hand: Hand) -> None:
    until(lambda: len(hand.status().generations) == 1)
    until(lambda: not hand.status().beside)


@pytest.fixture
def new(tmp_path: Path) -> Hand:
    return write(Hand(tmp_path.resolve() / "new"), "new")


@pytest.fixture
def running(hand: Hand) -> Hand:
    write(hand, "old").up(timeout_s=60)
    return hand


def test_a_running_service_is_replaced_and_taken_back_without_an_error(running: Hand, new: Hand) -> None:
    pids = {name: running.process(name).pid for name in ("one", "two", "gateway")}
    files = {name: (new.path / name).read_bytes() for name in ("service.json", "local/processes.json")}
    old = {name: (running.path / name).read_bytes() for name in files}
    with loaded(running) as said:
        status = replace(running, new)
        assert status.history == (1, 2)
        at = len(said)
        settled(running)
        until(lambda: len(said) > at + 40)
        assert {*said[at + 8 :]} == {"new"}
        assert {name: (running.path / name).read_bytes() for name in files} == files
        status = ACTUATOR.roll_back(running.path, timeout_s=60, watch=running.seen.append)
        assert status.history == (1,)
        settled(running)
        at = len(said)
        until(lambda: len(said) > at + 40)
        assert {*said[-8:]} == {"old"}
    assert {*said} == {"old", "new"}, Counter(said)
    assert {name: (running.path / name).read_bytes() for name in old} == old
    assert running.process("two").pid == pids["two"], "what is alike is not touched"
    assert running.process("gateway").pid == pids["gateway"]
    assert running.process("one").pid != pids["one"]
    assert running.status().ready
    with pytest.raises(Rejected) as rejected:
        ACTUATOR.roll_back(running.path, timeout_s=5, watch=running.seen.append)
    (found,) = rejected.value.found
    # It had another one, which it went back from.
    assert (found.code, "has no generation before the one that serves" in found.message) == ("E0926", True)
    assert running.down() is True
    running.assert_nothing_left()


def test_the_new_one_serves_with_as_many_replicas_as_the_old_one_had(running: Hand, new: Hand) -> None:
    room = ACTUATOR.room(running.path)["one"]
    wanted = {"one", *room[:4]}
    ACTUATOR.scale(running.path, {"one": 5})
    until(lambda: {*running.endpoints()} == {*wanted, "two"})
    pids = {one.pid for one in running.status().processes if one.engine == "one"}
    with loaded(running) as said:
        replace(running, new, 0.5)
        canary = json.loads((running.path / "run" / "generations" / "2" / "endpoints.json").read_text())
        assert [one["replica"] for one in canary["replicas"] if one["engine"] == "one"] == ["one", *room[:2]]
        status = ACTUATOR.promote(running.path, timeout_s=60, watch=running.seen.append)
        serving = [one for one in status.processes if one.engine == "one"]
        assert len(serving) == 5
        assert {one.phase for one in serving} == {"ready"}
        assert not pids & {one.pid for one in serving}
        settled(running)
        assert {*running.endpoints()} == {*wanted, "two"}
        status = ACTUATOR.roll_back(running.path, timeout_s=60, watch=running.seen.append)
        assert len([one for one in status.processes if one.engine == "one"]) == 5
    assert {*said} == {"old", "new"}, Counter(said)


@pytest.mark.slow
def test_a_canary_gets_its_part_until_it_is_promoted_or_sent_away(
    running: Hand, new: Hand, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = str(running.path)
    assert run(["up", str(new.path), "--over", folder, "--canary", "25%"]) == 0
    said = capfd.readouterr().out
    assert "generation 2 serves 25 % of new requests after" in said
    assert f"`harmoniac up {folder} --promote` gives it all, `harmoniac rollback {folder}` none" in said
    assert Counter(ask(running) for _ in range(16)) == {"old": 12, "new": 4}
    until(lambda: [one.answered for one in running.status().generations] == [12, 4])
    assert run(["status", folder]) == 0
    assert "generation 2 serves 25 % of new requests; 4 of its 4 requests were answered; " in capfd.readouterr().out
    assert [process.name for process in running.status().beside] == ["one.2"]
    assert run(["rollback", folder]) == 0
    assert "generation 1 serves all new requests after" in capfd.readouterr().out
    settled(running)
    assert {ask(running) for _ in range(8)} == {"old"}
    assert run(["up", folder, "--promote"]) == 1
    assert "error[E0926]: no other generation" in capfd.readouterr().err
    with loaded(running) as answers:
        assert run(["up", str(new.path), "--over", folder, "--canary", "50%"]) == 0
        assert run(["up", folder, "--promote"]) == 0
        settled(running)
        until(lambda: answers[-8:] == ["new"] * 8)
    assert {*answers} == {"old", "new"}
    capfd.readouterr()
    assert run(["up", str(new.path), "--over", folder]) == 0
    assert capfd.readouterr().out == f"{folder} runs that bundle already: nothing is replaced\n"


@pytest.mark.slow
def test_one_that_does_not_come_up_leaves_the_service_as_it_was(
    running: Hand, new: Hand, capfd: pytest.CaptureFixture[str]
) -> None:
    write(new, "new", "--exits", "3", "--says", "no such model")
    with loaded(running) as said:
        assert run(["up", str(new.path), "--over", str(running.path)]) == 1
    assert {*said} == {"old"}
    shown = capfd.readouterr().err
    assert "  | no such model\n" in shown
    assert "error[E0909]: `one.2` did not become ready: it ended with exit code 3" in shown
    settled(running)
    assert run(["status", str(running.path)]) == 0
    assert "generation 2 was given up, and the service is as it was: `one.2`: " in capfd.readouterr().out
    write(new, "new", "--slow-s", "60")
    with pytest.raises(NotStarted, match=r"after 1 s in all it still waits for GET"):
        replace(running, new, timeout_s=1.0)
    settled(running)
    assert {ask(running) for _ in range(4)} == {"old"}
    write(new, "new")
    replace(running, new)
    assert ask(running) == "new"


@pytest.mark.slow
def test_a_killed_supervisor_is_followed_by_one_that_takes_the_canary_up_again(running: Hand, new: Hand) -> None:
    replace(running, new, 0.5)
    keeper = keeper_of(running.path, RunDirectory(running.path))
    assert keeper is not None
    os.kill(keeper.pid, signal.SIGKILL)
    until(lambda: running.status().phase == "down")
    assert running.up(timeout_s=60) is True
    until(lambda: [one.share for one in running.status().generations] == [0.5, 0.5])
    until(lambda: running.status().rollout is not None and running.status().rollout.phase == "done")  # type: ignore[union-attr]
    assert Counter(ask(running) for _ in range(8)) == {"old": 4, "new": 4}
    status = ACTUATOR.promote(running.path, timeout_s=60, watch=running.seen.append)
    assert status.history == (1, 2)
    settled(running)
    assert ask(running) == "new"


@pytest.mark.slow
def test_a_killed_gateway_goes_on_with_both_generations(running: Hand, new: Hand) -> None:
    replace(running, new, 0.5)
    pid = running.process("gateway").pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: running.process("gateway").restarts == 1 and running.status().ready)
    assert Counter(ask(running) for _ in range(8)) == {"old": 4, "new": 4}


@pytest.mark.slow
def test_where_both_do_not_fit_that_is_said_and_room_is_made_if_one_wants(
    hand: Hand, new: Hand, capfd: pytest.CaptureFixture[str]
) -> None:
    cores = float(len(os.sched_getaffinity(0)))
    write(hand, "old", cores=cores / 2).up(timeout_s=60)
    write(new, "new", cores=cores / 2)
    assert run(["up", str(new.path), "--over", str(hand.path)]) == 1
    said = capfd.readouterr().err
    assert f"error[E0919]: both do not fit on this machine at once: the new replicas lack {cores / 2:g} core" in said
    assert "--make-room` ends replicas that run first" in said
    assert ask(hand) == "old"
    assert run(["up", str(new.path), "--over", str(hand.path), "--make-room"]) == 0
    assert ask(hand) == "new"
    settled(hand)
    assert hand.status().ready


def test_what_speaks_against_replacing_is_said_before_anything_is_started(
    running: Hand, new: Hand, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATER", "x")
    one, two = launch("--result", "new", late={"KEY": "LATER"}), launch("--result", "and")
    new.write(programs=[SAY], gateway=GATEWAY, one=one, two=two)
    assert run(["up", str(new.path), "--over", str(running.path)]) == 1
    said = capfd.readouterr().err
    assert f"error[E0918]: `{running.path}` cannot be replaced while it runs: " in said
    assert "reads the environment variable `LATER`, which the service was started without" in said
    assert run(["up", str(tmp_path), "--over", str(running.path)]) == 1
    assert "error[E0905]" in capfd.readouterr().err
    assert len(running.status().generations) == 1
    assert run(["up", str(new.path), "--over", str(new.path)]) == 1
    assert "error[E0926]" in capfd.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--canary", "5%"],
        ["--make-room"],
        ["--over", "x", "--canary", "0%"],
        ["--over", "x", "--canary", "all"],
        ["--over", "x", "--port", "4000"],
        ["--promote", "--over", "x"],
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(new: Hand, words: list[str]) -> None:
    assert run(["up", str(new.path), *words]) == 2


def test_the_last_wish_counts(running: Hand, new: Hand) -> None:
    write(new, "new", "--slow-s", "30")
    asking = threading.Thread(target=lambda: pytest.raises(NotStarted, replace, running, new))  # noqa: RUF061
    asking.start()
    until(lambda: any(one.name == "one.2" for one in running.status().beside))
    time.sleep(0.5)
    ACTUATOR.roll_back(running.path, timeout_s=30, watch=running.seen.append)
    asking.join()
    settled(running)
    assert ask(running) == "old"
