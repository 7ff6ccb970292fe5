"""What the host does for containers: what it is asked, what it grants, how it reads what Docker says."""

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Address, Endpoint, Endpoints
from harmonia_compiler.contract.decision import DECISION, KEPT, Decision, fingerprint
from harmonia_compiler.contract.launch import Probe
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.actuator import NOTHING_LEFT, NotStarted, Phase, Status, actuator_for
from harmonia_compiler.runtime.actuators.compose import keeper as keeping
from harmonia_compiler.runtime.actuators.compose import preparing
from harmonia_compiler.runtime.actuators.compose.asking import SOCKET, Answer, Listening, Wish, ask, refusal
from harmonia_compiler.runtime.actuators.compose.containers import Life, failed, life_of, phase_of, waits_for
from harmonia_compiler.runtime.actuators.compose.counts import WISH
from harmonia_compiler.runtime.actuators.compose.docker import Docker
from harmonia_compiler.runtime.actuators.compose.keeper import Keeper
from harmonia_compiler.runtime.actuators.compose.preflight import preflight
from harmonia_compiler.runtime.actuators.compose.reading import host_among, read_compose_bundle
from harmonia_compiler.runtime.actuators.compose.watched import Watched
from harmonia_compiler.runtime.actuators.supervision import pids, rundir
from harmonia_compiler.runtime.bundle import read_service
from tests.compose.test_files import on_gpus, site, written
from tests.emit.conftest import Planned

FAKE_DOCKER = """#!/bin/sh
case "$1" in
  compose|version) echo 1.0 ;;
  image) exit 1 ;;
esac
"""


def with_docker(folder: Path, script: str | None) -> dict[str, str]:
    folder.mkdir()
    if script is not None:
        (folder / "docker").write_text(script)
        (folder / "docker").chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin" if script is not None else str(folder)}


def found_by_preflight(bundle: Path, outer: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.setenv("PATH", outer["PATH"])
    return {finding.code for finding in preflight(bundle, None, outer)}


def test_preflight_says_that_docker_is_not_there(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(quickstart, tmp_path / "bundle")
    assert "E0922" in found_by_preflight(tmp_path / "bundle", with_docker(tmp_path / "bin", None), monkeypatch)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", {"docker compose -f compose.yaml build", "docker pull vllm/vllm-openai:v"}),
        (
            '[compose]\nworker_image = "ours:1"\nvllm_image = "its:2"\nmilvus_image = "milvus:3"\n',
            {"docker pull ours:1", "docker pull its:2", "docker pull milvus:3"},
        ),
    ],
)
def test_preflight_says_which_images_come_first_and_how_they_come_before(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, steps: set[str]
) -> None:
    written(on_gpus(quickstart, (0,)), tmp_path / "bundle", text)
    outer = with_docker(tmp_path / "bin", FAKE_DOCKER)
    monkeypatch.setenv("PATH", outer["PATH"])
    found = preflight(tmp_path / "bundle", None, outer)
    assert "E0922" not in {one.code for one in found}
    said = [one.help.split("`")[1] for one in found if one.code == "W0920"]
    assert {one.rstrip("0123456789.") if "vllm-openai" in one else one for one in said} == steps
    assert len(said) == len(steps)


def test_preflight_asks_for_no_image_that_only_another_host_needs(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway's, where nothing else of this host runs in it."""
    replicas = tuple(
        msgspec.structs.replace(one, host="b" if quickstart.plan.engines[one.engine].kind == "milvus" else "a")
        for one in quickstart.plan.replicas
    )
    made = Planned(quickstart.application, msgspec.structs.replace(quickstart.plan, replicas=replicas), quickstart.root)
    written(made, tmp_path / "bundle", '[compose]\nworker_image = "ours:1"\nmilvus_image = "milvus:3"\n')
    outer = with_docker(tmp_path / "bin", FAKE_DOCKER)
    monkeypatch.setenv("PATH", outer["PATH"])
    found = {host: preflight(tmp_path / "bundle", None, {**outer, "HARMONIA_HOST": host}) for host in ("a", "b")}
    images = {host: [one.message.split("`")[1] for one in said if one.code == "W0920"] for host, said in found.items()}
    assert images == {"a": ["ours:1"], "b": ["milvus:3"]}


@pytest.mark.parametrize(("number", "replica"), [(1, "minilm-0"), (5, "minilm-more-0"), (0, "")])
def test_preflight_gives_the_gateway_no_port_of_a_replica(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, replica: str
) -> None:
    first = 20_000
    written(quickstart, tmp_path / "bundle", f"[compose]\nscale_out = 1\nfirst_port = {first}\n")
    monkeypatch.setattr("harmonia_compiler.runtime.actuators.compose.preflight.is_free", lambda _: True)
    outer = with_docker(tmp_path / "bin", FAKE_DOCKER)
    monkeypatch.setenv("PATH", outer["PATH"])
    found = [one.message for one in preflight(tmp_path / "bundle", first + number, outer) if one.code == "E0908"]
    assert found == ([f"port {first + number} is that of `{replica}`"] if replica else [])


@pytest.mark.parametrize("network", ["bridge", "host"])
@pytest.mark.parametrize("own", ["24200", "24201"])
@pytest.mark.parametrize("state", ["running", "exited", ""])
def test_a_gateway_that_is_taken_over_may_keep_its_own_port_and_have_no_other_that_is_in_use(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, own: str, state: str
) -> None:
    written(quickstart, tmp_path / "bundle", f'[compose]\nfirst_port = 24100\nnetwork = "{network}"\n')
    monkeypatch.setattr("harmonia_compiler.runtime.actuators.compose.preflight.is_free", lambda port: port == 24202)
    outer = with_docker(tmp_path / "bin", HOLDING)
    monkeypatch.setenv("PATH", f"{outer['PATH']}:{os.environ['PATH']}")
    bound = {"24100/tcp": [{"HostIp": "127.0.0.1", "HostPort": own}], "1/tcp": None}
    said: dict[str, Any] = {"Config": {"Cmd": ["serve", "--port", own if network == "host" else "24100"]}}
    said |= {"HostConfig": {"PortBindings": bound if network == "bridge" else {}}}
    there = {"minilm-0": inspected("running", "healthy")}
    if state:
        there["gateway"] = {**inspected(state), **said}
    say_lives(tmp_path / "bin", there)
    found = {
        port: [one.message for one in preflight(tmp_path / "bundle", port, outer) if one.code == "E0908"]
        for port in (None, 24100, 24101, 24200, 24202)
    }
    is_own = own == "24200" and state == "running"
    assert found.pop(24200) == ([] if is_own else ["port 24200 is in use"])
    taken, of_a_replica = ["port 24100 is in use"], ["port 24101 is that of `minilm-0`"]
    assert found == {None: [], 24100: taken, 24101: of_a_replica, 24202: []}


def test_preflight_asks_which_of_the_plans_hosts_this_is(quickstart: Planned, tmp_path: Path) -> None:
    written(quickstart.on_hosts("a", "b"), tmp_path / "bundle")
    for outer in ({}, {"HARMONIA_HOST": "c"}, {"HARMONIA_HOST": ""}):
        (found,) = preflight(tmp_path / "bundle", None, outer)
        assert found.code == "E0921"
        assert "HARMONIA_HOST=a harmoniac up" in found.help


@pytest.mark.parametrize(
    ("hosts", "said", "named", "found"),
    [
        (["a"], {}, "elsewhere", "a"),
        (["a"], {"HARMONIA_HOST": "b"}, "elsewhere", "a"),
        (["a", "b"], {}, "b.example.org", "b"),
        (["a", "b.example.org"], {}, "b.example.org", "b.example.org"),
        (["a", "b"], {"HARMONIA_HOST": "a"}, "b", "a"),
        (["a", "b"], {"HARMONIA_HOST": "c"}, "b", ""),
        (["a", "b"], {}, "c", ""),
    ],
)
def test_a_machine_is_the_host_that_it_is_said_to_be_or_that_bears_its_name(
    monkeypatch: pytest.MonkeyPatch, hosts: list[str], said: dict[str, str], named: str, found: str
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: named)
    assert host_among(hosts, said) == found


def part(bundle: Path, host: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Keeper, rundir.RunDirectory]:
    """The keeper of one host, which has not started anything yet."""
    monkeypatch.setenv("HARMONIA_HOST", host)
    run, me = rundir.RunDirectory(bundle), pids.identify(os.getpid())
    run.prepare()
    assert me is not None
    return Keeper(bundle, run, rundir.Asked(), me), run


def test_each_host_has_a_keeper_of_its_part_and_the_first_knows_where_the_others_are(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = quickstart.on_hosts("a", "b")
    mine = {host: [one.id for one in made.plan.replicas if one.host == host] for host in ("a", "b")}
    for host, own in mine.items():
        bundle = tmp_path / host
        written(made, bundle, "[compose]\nscale_out = 1\n")
        keeper, run = part(bundle, host, monkeypatch)
        there = [one.name for one in keeper._status().processes]
        assert there == [*own, *(["gateway"] if host == "a" else [])]
        preparing.prepare_folders(bundle, keeper._documents)
        keeper._write_places()
        served = msgspec.json.decode((run.path / "service/endpoints.json").read_bytes(), type=Endpoints).replicas
        assert [one.replica for one in served] == [one for other in mine if other != host for one in mine[other]]
        assert {one.host for one in served} <= {f"replica-{number}" for number in range(1, 9)}
        assert (bundle / "data/milvus").is_dir() == any(
            made.plan.engines[one.engine].kind == "milvus" for one in made.plan.replicas if one.host == host
        )
        files = ["--file", str(bundle / f"compose.{host}.yaml"), "--file", str(bundle / "compose.overlay.yaml")]
        assert keeper._docker._compose()[-4:] == files


#: Docker whose containers are in the file beside it. It notes what it is to start, and the endpoints that there are
#: whenever it is asked about containers, and opens the collections of a store once it may.
HOLDING = """#!/bin/sh
own="$(dirname "$0")"
case "$1" in
  ps) [ -e "$own/away" ] && exit 1; rm "$own/no_ps" 2>/dev/null && exit 1; echo any ;;
  inspect) cat run/service/endpoints.json >> "$own/seen"; echo >> "$own/seen"; cat "$own/containers" ;;
  compose)
    case "$*" in *" up "*)
      rm "$own/no_up" 2>/dev/null && exit 1
      echo "$*" >> "$own/started" ;;
    *" down "*) [ ! -e "$own/no_down" ] || exit 1 ;;
    esac ;;
  exec)
    case "$*" in *opening*)
      echo "$3" >> "$own/opened"
      while [ ! -e "$own/go" ]; do sleep 0.02; done ;;
    esac
    echo "{}" ;;
esac
"""


def say_lives(bin_: Path, lives: Mapping[str, Mapping[str, Any]]) -> None:
    """Have that Docker say of each service's container what it says of one."""
    found = [
        {**life, "Id": name, "Config": {**life.get("Config", {}), "Labels": {"com.docker.compose.service": name}}}
        for name, life in lives.items()
    ]
    (bin_ / "new").write_text(json.dumps(found))
    (bin_ / "new").rename(bin_ / "containers")


class Taken:
    """A service whose keeper was killed, which another one takes over until it is told to end."""

    def __init__(self, bundle: Path, host: str, bin_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(keeping, "_LOOK_EVERY_S", 0.02)
        monkeypatch.setenv("PATH", f"{with_docker(bin_, HOLDING)['PATH']}:{os.environ['PATH']}")
        self.keeper, self.run = part(bundle, host, monkeypatch)
        (bin_ / "seen").touch()
        self.bin, self.names = bin_, [one.replica for one in self.keeper._documents.here]
        self.lives = {name: inspected("running", "healthy") for name in [*self.names, *self.keeper._front]}
        (self.run.path / "service").mkdir()
        there = [*self.keeper._documents.here, *self.keeper._documents.elsewhere]
        endpoints = Endpoints(tuple(Endpoint(one.replica, one.engine, one.address, one.port) for one in there), 3)
        (self.run.path / "service/endpoints.json").write_bytes(msgspec.json.encode(endpoints))

    def say_last(self, phase: Phase, asked: rundir.Asked, *, was_up: bool = False) -> None:
        """What the keeper that was killed said last."""
        state = rundir.State(pids.Ident(1, 1), Status(phase), asked, self.run.identity, was_up)
        self.run.write(rundir.STATE, msgspec.json.encode(state))

    def say_lives(self) -> None:
        say_lives(self.bin, self.lives)

    def opened(self) -> list[str]:
        """The containers in which collections were opened."""
        said = self.bin / "opened"
        return said.read_text().split() if said.exists() else []

    def started(self, name: str) -> bool:
        """Whether it was told to start one service."""
        said = self.bin / "started"
        return said.exists() and any(line.split()[-1] == name for line in said.read_text().splitlines())

    def said(self) -> list[dict[str, Any]]:
        """What the gateway was told of who is called, from look to look."""
        seen = (self.bin / "seen").read_text().splitlines()
        return [json.loads(line) for line in seen if line.endswith("}")]

    def called(self) -> list[set[str]]:
        """Who was called, from look to look."""
        return [{one["replica"] for one in said["replicas"]} for said in self.said()]

    @contextmanager
    def kept(self) -> Iterator[None]:
        self.say_lives()
        told = threading.Event()
        thread = threading.Thread(target=self.keeper.serve, args=(told,))
        thread.start()
        try:
            yield
        finally:
            (self.bin / "go").touch()
            told.set()
            thread.join()

    def until(self, seen: Callable[[], bool]) -> None:
        ends = time.monotonic() + 30.0
        while not seen():
            assert time.monotonic() < ends, self.keeper._status()
            assert self.keeper._failure is None
            time.sleep(0.02)


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
        ("failed", True, False),
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
            taken.until(lambda: sum("docker does not answer" in said for said in caplog.messages) > 1)
            assert thread.is_alive()
            told.set()
        thread.join(30.0)
        assert not thread.is_alive()
    finally:
        told.set()
        (taken.bin / "away").unlink()
        thread.join()
    assert taken.keeper._failure is not None


def test_containers_that_docker_does_not_remove_are_known_to_whoever_asks_until_it_does(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    written(quickstart, bundle)
    taken, actuator = Taken(bundle, "", tmp_path / "bin", monkeypatch), actuator_for("compose")
    assert actuator is not None
    taken.say_lives()
    for name in ("go", "no_down"):
        (taken.bin / name).touch()
    assert actuator.start(bundle, port=None, reembed=False, timeout_s=60.0, watch=lambda _: None)
    for _ in range(2):
        with pytest.raises(Rejected, match="E0922"):
            actuator.stop(bundle)
        status = actuator.status(bundle)
        assert (status.phase, len(status.notes)) == ("down", 1)
    (taken.bin / "no_down").unlink()
    assert actuator.stop(bundle)
    assert actuator.status(bundle) == NOTHING_LEFT
    assert not actuator.stop(bundle)


def test_a_gateway_that_is_given_a_free_port_has_none_of_a_replica(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(quickstart, tmp_path / "bundle", "[compose]\nscale_out = 1\nfirst_port = 24100\n")
    monkeypatch.setattr(
        keeping, "free_port", lambda taken: next(port for port in range(24101, 25000) if port not in taken)
    )
    keeper, run = part(tmp_path / "bundle", "", monkeypatch)
    keeper._prepare({})
    assert keeper._address.port == 24101 + len(keeper._documents.here) > 24105
    assert f"HARMONIA_PORT='{keeper._address.port}'" in (run.path / "compose.env").read_text()


@pytest.mark.parametrize("state", ["running", "exited", ""])
@pytest.mark.parametrize("is_taken", [False, True])
def test_a_gateway_keeps_its_port_where_it_is_taken_over_unless_it_is_gone_and_another_has_it(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, state: str, is_taken: bool
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.run.write(rundir.ADDRESS, msgspec.json.encode(Address("127.0.0.1", 24300)))
    monkeypatch.setattr(keeping, "is_free", lambda _: not is_taken)
    monkeypatch.setattr(keeping, "free_port", lambda _: 24400)
    del taken.lives["gateway"]
    taken.lives |= {"gateway": inspected(state)} if state else {}
    taken.keeper._prepare({name: life_of(life) for name, life in taken.lives.items()})
    assert taken.keeper._address.port == (24400 if state != "running" and is_taken else 24300)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_replica_that_the_controller_added_is_started_once_the_service_is_taken_over(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    written(quickstart, tmp_path / "bundle", "[compose]\nscale_out = 1\n")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.say_last("running", rundir.Asked())
    wish = Wish(fingerprint(read_service(tmp_path / "bundle")), 1, {"minilm": 2})
    # Its container is gone, or was never there.
    del taken.lives["minilm-more-0"]
    if when == "before":
        taken.run.write(WISH, msgspec.json.encode(wish))
    taken.keeper = Keeper(tmp_path / "bundle", taken.run, rundir.Asked(), taken.keeper._me)
    with taken.kept():
        taken.until(lambda: taken.opened() == ["search-0"])
        if when == "meanwhile":
            assert ask(taken.run.path / preparing.CONTROL, wish).accepted
        (taken.bin / "go").touch()
        taken.until(lambda: taken.keeper._status().ready and taken.started("minilm-more-0"))


def test_the_controller_may_change_the_number_of_what_is_on_its_own_host_alone(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = quickstart.on_hosts("a", "b")
    bundle = tmp_path / "bundle"
    written(made, bundle, "[compose]\nscale_out = 1\n")
    actuator = actuator_for("compose")
    assert actuator is not None
    room = {*actuator.room(bundle)}
    own = {one.engine for one in made.plan.replicas if one.host == "a"}
    assert room == {engine for engine in own if made.plan.engines[engine].kind != "milvus"}
    for host in ("a", "b"):
        keeper, _ = part(bundle, host, monkeypatch)
        for engine in {one.engine for one in made.plan.replicas}:
            wish = Wish(fingerprint(read_service(bundle)), 1, {engine: 2})
            assert keeper._counts.answer(wish).accepted == (host == "a" and engine in room)


def test_a_bundle_that_differs_from_its_plan_is_refused(quickstart: Planned, tmp_path: Path) -> None:
    written(quickstart, tmp_path / "bundle")
    read_compose_bundle(tmp_path / "bundle")
    path = tmp_path / "bundle/compose/services.json"
    document = json.loads(path.read_text())
    document["services"].pop()
    path.write_text(json.dumps(document))
    with pytest.raises(Rejected):
        read_compose_bundle(tmp_path / "bundle")


def test_room_is_what_the_site_allows(quickstart: Planned, tmp_path: Path) -> None:
    written(quickstart, tmp_path / "bundle", "[compose]\nscale_out = 1\n")
    actuator = actuator_for("compose")
    assert actuator is not None
    assert actuator.room(tmp_path / "bundle") == {
        "minilm": ["minilm-more-0"],
        "rerank": ["rerank-more-0"],
        "small": ["small-more-0"],
    }
    assert site("").table("compose") == {}


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish("plan", 3, {"small": 2}), ""),
        (Wish("plan", 9, {"small": 1}), ""),
        (Wish("other", 3, {"small": 2}), "it is for another plan"),
        (Wish("plan", 2, {"small": 2}), "its epoch is 2, and 3 is followed already"),
        (Wish("plan", 3, {"small": 3}), "`small` has between 1 and 2 replicas, and not 3"),
        (Wish("plan", 3, {"search": 2}), "the number of replicas of `search` does not change"),
    ],
)
def test_a_wish_is_granted_within_the_plan_and_its_time(wish: Wish, said: str) -> None:
    bounds = {"small": 2}
    assert refusal(wish, "plan", 3, bounds) == said


def test_the_socket_is_its_owners_alone_and_takes_wishes_only(tmp_path: Path) -> None:
    heard: list[Wish] = []
    deep = tmp_path.joinpath(*["folder-with-a-long-name"] * 6)
    deep.mkdir(parents=True)

    def answer(wish: Wish) -> Answer:
        heard.append(wish)
        return Answer(accepted=True)

    listening = Listening(deep, os.getuid(), answer)
    try:
        assert stat.S_IMODE((deep / SOCKET).stat().st_mode) == 0o600
        assert ask(deep, Wish("plan", 1, {"small": 2})) == Answer(accepted=True)
        assert heard == [Wish("plan", 1, {"small": 2})]
    finally:
        listening.close()
    with pytest.raises(OSError, match=r"refused|No such file"):
        ask(deep, Wish("plan", 1, {}))


def test_who_says_nothing_keeps_no_other_asker_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listening = Listening(tmp_path, os.getuid(), lambda _: Answer(accepted=True))
    silent = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    try:
        for one in silent:
            one.connect(SOCKET)
        assert ask(tmp_path, Wish("plan", 1, {})) == Answer(accepted=True)
    finally:
        for one in silent:
            one.close()
        listening.close()


def test_a_start_that_docker_refuses_is_given_up_and_leaves_the_log_alone(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    written(quickstart, bundle)
    # It refuses once the start has been seen, which a fast refusal would leave to chance.
    watched = tmp_path / "watched"
    waits = f'while [ ! -e "{watched}" ]; do sleep 0.02; done'
    script = f'#!/bin/sh\ncase " $* " in *" up "*) {waits}; echo "no space left"; exit 3 ;; esac\n'
    monkeypatch.setenv("PATH", f"{with_docker(tmp_path / 'bin', script)['PATH']}:{os.environ['PATH']}")
    actuator = actuator_for("compose")
    assert actuator is not None
    seen: list[Status] = []

    def watch(status: Status) -> None:
        seen.append(status)
        watched.touch()

    with pytest.raises(NotStarted) as raised:
        actuator.start(bundle, port=None, reembed=False, timeout_s=240.0, watch=watch)
    (found,) = raised.value.found
    assert (found.code, raised.value.process) == ("E0909", "supervisor")
    assert "`docker compose up` exits 3" in found.message
    assert "no space left" in raised.value.said
    assert any(status.phase == "starting" for status in seen)
    assert actuator.status(bundle).phase == "down"
    assert {path.name for path in (bundle / "run").iterdir()} <= {"logs", KEPT}
    assert not actuator.stop(bundle)


def test_a_replica_that_is_added_is_no_part_of_the_service_before_it_has_served(
    quickstart: Planned, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    written(quickstart, bundle, "[compose]\nscale_out = 1\n")
    run, me = rundir.RunDirectory(bundle), pids.identify(os.getpid())
    run.prepare()
    assert me is not None
    keeper = Keeper(bundle, run, rundir.Asked(), me)
    assert keeper._counts.answer(Wish(fingerprint(read_service(bundle)), 1, {"minilm": 2})).accepted
    more = keeper._watched["minilm-more-0"]
    more.status = msgspec.structs.replace(more.status, phase="starting")
    status = keeper._status()
    assert more.name not in [one.name for one in status.processes]
    assert more.name in [one.name for one in status.beside]
    more.was_ready = True
    assert more.name in [one.name for one in keeper._status().processes]


@pytest.mark.parametrize(
    ("socket", "service"),
    [
        # As the host sees a running service, and as its controller's container does.
        ("run/control", "run/service"),
        ("control", "run"),
    ],
)
def test_a_wish_bears_the_epoch_of_the_last_decision(
    quickstart: Planned, tmp_path: Path, socket: str, service: str
) -> None:
    bundle, heard = tmp_path / "bundle", list[Wish]()
    written(quickstart, bundle, "[compose]\nscale_out = 1\n")
    for folder in (bundle / socket, bundle / service):
        folder.mkdir(parents=True, exist_ok=True)
    (bundle / service / DECISION).write_bytes(msgspec.json.encode(Decision(7, "plan")))

    def answer(wish: Wish) -> Answer:
        heard.append(wish)
        return Answer(accepted=wish.epoch >= 7, why="" if wish.epoch >= 7 else "it is stale")

    actuator = actuator_for("compose")
    assert actuator is not None
    listening = Listening(bundle / socket, os.getuid(), answer)
    try:
        actuator.scale(bundle, {"minilm": 2})
    finally:
        listening.close()
    assert [(wish.epoch, wish.replicas) for wish in heard] == [(7, {"minilm": 2})]


def test_what_was_wished_of_a_service_whose_keeper_was_killed_ends_with_it(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    written(quickstart, bundle, "[compose]\nscale_out = 1\n")
    taken = Taken(bundle, "", tmp_path / "bin", monkeypatch)
    taken.say_last("running", rundir.Asked())
    taken.say_lives()
    wish = Wish(fingerprint(read_service(bundle)), 37, {"minilm": 2})
    assert taken.keeper._counts.answer(wish).accepted
    assert "minilm-more-0" in Keeper(bundle, taken.run, rundir.Asked(), taken.keeper._me)._counts.wanted()
    actuator = actuator_for("compose")
    assert actuator is not None
    assert actuator.stop(bundle)
    next_one, _ = part(bundle, "", monkeypatch)
    assert "minilm-more-0" not in next_one._counts.wanted()
    assert next_one._counts.answer(msgspec.structs.replace(wish, epoch=1)).accepted


def inspected(status: str, health: str = "", **more: Any) -> dict[str, Any]:
    log = [{"ExitCode": 1, "Output": "Traceback\nConnectionRefusedError: refused\n"}]
    state = {"Status": status, "StartedAt": "2026-01-01T00:00:00.5Z", "Pid": 7, **more}
    return {
        "Id": "c1",
        "RestartCount": 0,
        "State": {**state, **({"Health": {"Status": health, "Log": log}} if health else {})},
    }


def test_what_docker_says_becomes_a_status() -> None:
    probe = Probe("http", "/health")
    starting, well = life_of(inspected("running", "starting")), life_of(inspected("running", "healthy"))
    gone = life_of(inspected("exited", ExitCode=137, OOMKilled=True))
    assert phase_of(None, was_ready=False, prepared=False) == "waiting"
    assert phase_of(starting, was_ready=False, prepared=False) == "starting"
    assert phase_of(well, was_ready=False, prepared=False) == "starting"
    assert phase_of(well, was_ready=False, prepared=True) == "ready"
    assert phase_of(gone, was_ready=True, prepared=True) == "restarting"
    assert waits_for(starting, probe, 80, preparing="") == "GET /health on port 80: ConnectionRefusedError: refused"
    assert failed(starting, probe, 80) is None
    assert failed(gone, probe, 80) == "it ended with exit code 137 (SIGKILL), out of its memory before it was ready"
    unhealthy = failed(life_of(inspected("running", "unhealthy")), probe, 80)
    assert unhealthy == "its check still fails after 120 s: GET /health on port 80: ConnectionRefusedError: refused"
    assert life_of({}).state == ""


#: Docker as it tells of what happened: where the file beside it exists, that a container ended by SIGKILL.
TELLING = """#!/bin/sh
case "$1" in events)
  echo "$@" >> "$(dirname "$0")/asked"
  cat "$(dirname "$0")/events" 2>/dev/null ;;
esac
"""
DIED = {"status": "die", "id": "c1", "Type": "container", "Action": "die", "Actor": {"Attributes": {"exitCode": "137"}}}


def test_how_a_container_ended_that_runs_again_is_what_docker_tells_of_its_end(tmp_path: Path) -> None:
    """While it runs, Docker says of every container that its exit code is 0."""
    outer = with_docker(tmp_path / "bin", TELLING)
    run = rundir.RunDirectory(tmp_path)
    run.prepare()
    docker = Docker(tmp_path, outer)

    def again(restarts: int) -> Life:
        return life_of({**inspected("running", "starting", ExitCode=0, FinishedAt="2026-01-01T00:00:01.5Z"),
                        "RestartCount": restarts})  # fmt: skip

    one = Watched("one", "e", Probe("http", "/health"), 80, (), docker, run)
    one.look(again(0))
    assert one.status.last_exit == ""
    assert not (tmp_path / "bin/asked").exists()
    (tmp_path / "bin/events").write_text(json.dumps(DIED) + "\n")
    for _ in range(3):
        one.look(again(1))
        assert one.status.last_exit == "exit code 137 (SIGKILL)"
    (asked,) = (tmp_path / "bin/asked").read_text().splitlines()
    assert "--since 2026-01-01T00:00:01.5Z --until " in asked
    assert "container=c1" in asked
    # What was seen between two lives needs no question, and what nobody knows is not said to be 0.
    one.look(life_of({**inspected("restarting", ExitCode=3), "RestartCount": 2}))
    one.look(again(2))
    assert one.status.last_exit == "exit code 3"
    for nothing in ("", "{}\n", '{"Actor": {"Attributes": {"exitCode": "many"}}}\n'):
        (tmp_path / "bin/events").write_text(nothing)
        other = Watched("two", "e", Probe("http", "/health"), 80, (), docker, run)
        other.look(again(1))
        assert other.status.last_exit == "an exit code that Docker does not tell any more"
        other.close()
    one.close()
