"""What the host does for containers: what it is asked, what it grants, how it reads what Docker says."""

import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoints
from harmonia_compiler.contract.decision import DECISION, KEPT, Decision, fingerprint
from harmonia_compiler.contract.launch import Probe
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.actuator import NotStarted, Status, actuator_for
from harmonia_compiler.runtime.actuators.compose import preparing
from harmonia_compiler.runtime.actuators.compose.asking import SOCKET, Answer, Listening, Wish, ask, refusal
from harmonia_compiler.runtime.actuators.compose.containers import Life, failed, life_of, phase_of, waits_for
from harmonia_compiler.runtime.actuators.compose.docker import Docker, DockerFailed
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


@pytest.mark.parametrize("name", ["HARMONIA_ALLOWED_HOSTS", "ANSWERS_KEY"])
def test_preflight_refuses_a_variable_that_no_document_could_hold(
    late: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    written(late, tmp_path / "bundle")
    outer = {**with_docker(tmp_path / "bin", FAKE_DOCKER), "ANSWERS_URL": "http://127.0.0.1:1", "ANSWERS_KEY": "a"}
    monkeypatch.setenv("PATH", outer["PATH"])
    found = preflight(tmp_path / "bundle", None, {**outer, name: os.fsdecode(b"a\xff")})
    said = [one.message for one in found if one.is_error]
    assert said[0] == f"the environment variable `{name}` is not UTF-8"
    assert all(f"`{name}`" in one for one in said)
    assert not [one for one in preflight(tmp_path / "bundle", None, outer) if one.is_error]


def test_preflight_refuses_a_variable_that_the_gateway_could_not_start_with(
    late: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(late, tmp_path / "bundle")
    outer = {**with_docker(tmp_path / "bin", FAKE_DOCKER), "ANSWERS_URL": "http://127.0.0.1:1", "ANSWERS_KEY": "a\nb"}
    monkeypatch.setenv("PATH", outer["PATH"])
    (wrong,) = [one for one in preflight(tmp_path / "bundle", None, outer) if one.is_error]
    assert (wrong.code, "`ANSWERS_KEY` cannot be the `key`" in wrong.message) == ("E0916", True)


def test_what_is_removed_between_two_questions_is_not_there_and_no_failure(tmp_path: Path) -> None:
    script = """#!/bin/sh
own="$(dirname "$0")"
case "$1" in
  ps) echo a; [ -e "$own/asked" ] || echo b ;;
  inspect) touch "$own/asked"; echo '[{"Config": {"Labels": {"com.docker.compose.service": "one"}}}]'
    case "$*" in *b) echo "no such object: b" >&2; exit 1 ;; esac ;;
esac
"""
    docker = Docker(tmp_path, with_docker(tmp_path / "bin", script))
    assert [*docker.containers()] == ["one"]
    # What is still there and cannot be asked about is one.
    (tmp_path / "bin/docker").write_text(script.replace("*b)", "*)"))
    with pytest.raises(DockerFailed, match="no such object"):
        docker.containers()


def test_what_docker_says_of_itself_need_be_no_text(tmp_path: Path) -> None:
    docker = Docker(tmp_path, with_docker(tmp_path / "bin", "#!/bin/sh\nprintf '\\377'\n"))
    assert docker.engine() == docker.version() == "\ufffd"


def test_a_command_of_dockers_that_does_not_end_is_told_of_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harmonia_compiler.runtime.actuators.compose.docker.QUESTION_S", 0.1)
    docker = Docker(tmp_path, with_docker(tmp_path / "bin", "#!/bin/sh\nexec sleep 600\n"))
    with pytest.raises(DockerFailed, match=r"^`docker ps` does not end within 0\.1 s$"):
        docker.containers()


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


def test_preflight_says_who_may_have_a_port_that_is_taken(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(quickstart, tmp_path / "bundle")
    monkeypatch.setattr("harmonia_compiler.runtime.actuators.compose.preflight.is_free", lambda port: port != 18_101)
    outer = with_docker(tmp_path / "bin", FAKE_DOCKER)
    monkeypatch.setenv("PATH", outer["PATH"])
    (found,) = (one for one in preflight(tmp_path / "bundle", None, outer) if one.code == "E0908")
    assert found.message == "port 18101 is in use"
    assert "`docker ps --filter label=com.docker.compose.project`" in found.help


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
        keeper._places.write(keeper._watched)
        served = msgspec.json.decode((run.path / "service/endpoints.json").read_bytes(), type=Endpoints).replicas
        assert [one.replica for one in served] == [one for other in mine if other != host for one in mine[other]]
        assert {one.host for one in served} <= {f"replica-{number}" for number in range(1, 9)}
        assert (bundle / "data/milvus").is_dir() == any(
            made.plan.engines[one.engine].kind == "milvus" for one in made.plan.replicas if one.host == host
        )
        files = ["--file", f"compose.{host}.yaml", "--file", "compose.overlay.yaml"]
        assert keeper._docker._compose()[-4:] == files


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
    paused = life_of(inspected("paused", "healthy"))
    assert phase_of(paused, was_ready=True, prepared=True) == "restarting"
    assert waits_for(paused, probe, 80, preparing="") == "whoever paused it to go on with it: `docker unpause c1`"
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
