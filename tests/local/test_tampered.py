"""Bundles that were edited, cut short or put together from two: one finding before anything is started."""

import json
import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest

from harmonia_compiler.cli.main import run
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.local import ACTUATOR
from harmonia_compiler.runtime.bundle import read_contents

from .conftest import Hand, launch

DOCUMENTS = ["plan.json", "service.json", "local/processes.json"]


@pytest.fixture
def sound(hand: Hand) -> Hand:
    hand.write(one=launch(), two=launch())
    assert ACTUATOR.preflight(hand.path, port=None) == []
    return hand


def refused(hand: Hand) -> str:
    """What `up` says of the bundle before it starts anything."""
    with pytest.raises(Rejected) as caught:
        ACTUATOR.preflight(hand.path, port=None)
    [found] = caught.value.found
    assert found.code == "E0905"
    assert found.help == "compile the bundle again; `run/` and `data/` in it are kept"
    assert not (hand.path / "run").exists()
    return found.message


def edit(hand: Hand, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((hand.path / name).read_text())
    change(document)
    (hand.path / name).write_text(json.dumps(document))


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", b'{"format_version": 1, "x": ' + b"[" * 100_000])
def test_a_damaged_document_is_named(sound: Hand, name: str, content: bytes) -> None:
    (sound.path / name).write_bytes(content)
    assert refused(sound).startswith(f"`{sound.path / name}` cannot be used: ")


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize(("version", "than"), [(99, "newer"), (0, "older"), (-5, "older")])
def test_a_document_of_another_format_is_named(sound: Hand, name: str, version: int, than: str) -> None:
    edit(sound, name, lambda document: document.update(format_version=version))
    assert refused(sound).endswith(f"its format {version} is {than} than this release of harmoniac reads")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_that_is_a_pipe_is_not_waited_for(sound: Hand, name: str) -> None:
    (sound.path / name).unlink()
    os.mkfifo(sound.path / name)
    assert refused(sound).endswith("it is not a regular file")


@pytest.mark.parametrize("version", [-5, 0, 99])
def test_a_listing_of_another_format_or_a_pipe_is_no_bundle(sound: Hand, version: int) -> None:
    edit(sound, "bundle.json", lambda document: document.update(format_version=version))
    with pytest.raises(Rejected, match="than this release of harmoniac reads"):
        read_contents(sound.path)
    (sound.path / "bundle.json").unlink()
    os.mkfifo(sound.path / "bundle.json")
    with pytest.raises(Rejected, match="it is not a regular file") as rejected:
        read_contents(sound.path)
    assert "into a new folder" in rejected.value.found[0].help


def _first(document: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = document["replicas"][0]
    return first


def _launched(**changes: object) -> Callable[[dict[str, Any]], None]:
    return lambda document: _first(document)["launch"].update(changes)


def _replica(**changes: object) -> Callable[[dict[str, Any]], None]:
    return lambda document: _first(document).update(changes)


PROCESSES: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (_replica(replica="../../../evil"), "`$.replicas[0].replica`"),
    (_replica(replica="a\0b"), "`$.replicas[0].replica`"),
    (_replica(replica="two"), "it starts other replicas than plan.json has"),
    (_replica(engine="zzz"), "it starts other replicas than plan.json has"),
    (_replica(host="elsewhere"), "it starts other replicas than plan.json has"),
    (_replica(cores=-1e308), "`$.replicas[0].cores`"),
    (_replica(cores=2.0), "it starts other replicas than plan.json has"),
    (_replica(devices=[-5]), "`$.replicas[0].devices[0]`"),
    (lambda document: document["replicas"].reverse(), "it starts other replicas than plan.json has"),
    (lambda document: document["replicas"].clear(), "it starts other replicas than plan.json has"),
    (_launched(command=[]), "`$.replicas[0].launch.command`"),
    (_launched(command=["a\0b"]), "`$.replicas[0].launch.command[0]`"),
    (_launched(late={"A=B": "PATH"}), "`key` in `$.replicas[0].launch.late`"),
    (_launched(environment={"A": "\0"}), "`$.replicas[0].launch.environment[...]`"),
    (_launched(module="no.such"), "`$.replicas[0].launch.module`"),
    (_launched(module=""), "`$.replicas[0].launch.module`"),
    (_launched(probe={"transport": "http", "timeout_s": -1}), "`$.replicas[0].launch.probe.timeout_s`"),
    (_launched(probe={"transport": "http", "path": "/a b"}), "`$.replicas[0].launch.probe.path`"),
]


@pytest.mark.parametrize("case", range(len(PROCESSES)))
def test_processes_that_the_plan_does_not_have_are_not_started(sound: Hand, case: int) -> None:
    change, why = PROCESSES[case]
    edit(sound, "local/processes.json", change)
    message = refused(sound)
    assert message.startswith(f"`{sound.path}/local/processes.json` cannot be used: ")
    assert message.endswith(why)


def _called(name: str) -> Callable[[dict[str, Any]], object]:
    """The first replica and its engine bear this name."""

    def change(document: dict[str, Any]) -> None:
        replica = document["replicas"][0]
        document["engines"][name] = document["engines"][replica["engine"]]
        replica.update(id=name, engine=name)

    return change


PLANS: list[tuple[Callable[[dict[str, Any]], object], str, str]] = [
    (lambda document: document["replicas"].clear(), "service.json", "it gives shares to other replicas than plan.json"),
    (_replica(cores=1e308), "plan.json", "`$.replicas[0].cores`"),
    (_replica(memory_gib=1e308), "plan.json", "`$.replicas[0].memory_gib`"),
    (_replica(id="two"), "plan.json", "a replica has the id `two`, where one is expected like `one-0`"),
    (_called("gateway"), "plan.json", "`gateway` is no id for a replica"),
    (_replica(engine="zzz"), "plan.json", "a replica is of the engine `zzz`, which is none of the plan's"),
    (
        lambda document: document["engines"]["one"].update(settings={"key": {"late": "guess", "name": "K"}}),
        "plan.json",
        "Invalid value 'guess'",
    ),
]


@pytest.mark.parametrize("case", range(len(PLANS)))
def test_a_plan_that_is_none_is_not_started(sound: Hand, case: int) -> None:
    change, name, why = PLANS[case]
    edit(sound, "plan.json", change)
    message = refused(sound)
    assert f"`{sound.path / name}` cannot be used: " in message
    assert why in message


SERVICES: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda document: document.update(shares={}), "it gives shares to other replicas than plan.json has"),
    (lambda document: document["shares"]["one"].update(batch=0), "`$.shares[...].batch`"),
    (lambda document: document["shares"]["one"].update(weight=-1), "`$.shares[...].weight`"),
    (lambda document: document["engines"].pop("one"), "the engine `one` of plan.json is not there"),
    (lambda document: document["engines"]["one"].update(kind="../up"), "`$.engines[...].kind`"),
    (lambda document: document["engines"]["one"].update(kind="llm"), "the engine `one` of plan.json is not there"),
]


@pytest.mark.parametrize("case", range(len(SERVICES)))
def test_a_service_that_is_not_the_plans_is_not_started(sound: Hand, case: int) -> None:
    change, why = SERVICES[case]
    edit(sound, "service.json", change)
    message = refused(sound)
    assert message.startswith(f"`{sound.path}/service.json` cannot be used: ")
    assert message.endswith(why)


def test_what_runs_is_looked_at_and_stopped_whatever_became_of_the_bundle(
    sound: Hand, capfd: pytest.CaptureFixture[str]
) -> None:
    sound.up()
    for name in DOCUMENTS:
        (sound.path / name).write_text("[]")
    assert run(["status", str(sound.path)]) == 0
    assert run(["down", str(sound.path)]) == 0
    assert run(["up", str(sound.path)]) == 1
    assert "error[E0905]" in capfd.readouterr().err
    sound.assert_nothing_left()


def test_a_state_that_is_a_pipe_is_said_and_not_waited_for(sound: Hand) -> None:
    (sound.path / "run").mkdir()
    os.mkfifo(sound.path / "run" / "state.json")
    assert "it is not a regular file" in "".join(sound.status().notes)
    assert sound.down() is True
    sound.assert_nothing_left()


SEARCH = {
    "name": "search",
    "kind": "milvus",
    "engine": "store",
    "ports": [],
    "result": {"type": "list", "item": {"type": "passage"}},
    "settings": {"collection": "docs", "embedder": "minilm"},
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "nosuch"}, "`search` is made from `nosuch`, and its engine from `milvus`"),
        ({"settings": {"collection": "docs"}}, "`search` has no embedder"),
        ({"settings": {"collection": "docs", "embedder": "other"}}, "`search` has no embedder"),
        ({"settings": {"collection": "docs", "embedder": []}}, "`search` has no embedder"),
        ({"settings": {"embedder": "search"}}, "`search` searches no collection"),
    ],
)
def test_a_component_that_nothing_could_call_is_named(sound: Hand, changes: dict[str, Any], said: str) -> None:
    def change(document: dict[str, Any]) -> None:
        document["engines"]["store"] = {"id": "store", "kind": "milvus", "settings": {}}
        document["programs"]["p"] = {
            "pipeline": "p",
            "parameters": [],
            "result_type": {"type": "text"},
            "operations": [{"type": "constant", "value": "x"}],
            "result": 0,
            "components": {"search": {**SEARCH, **changes}},
        }

    edit(sound, "service.json", change)
    assert refused(sound).endswith(said)


def test_what_the_functions_require_and_this_interpreter_lacks_is_said_before_anything_starts(sound: Hand) -> None:
    lock = sound.path / "code" / "requires.txt"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text(f"msgspec=={version('msgspec')}\n")
    assert ACTUATOR.preflight(sound.path, port=None) == []
    lock.write_text("msgspec==0.0.1\n")
    (found,) = ACTUATOR.preflight(sound.path, port=None)
    assert found.code == "E0924"
    assert f"msgspec is {version('msgspec')} here and 0.0.1 there" in found.message
    assert f"pip install -r {lock}" in found.help
    lock.write_text("-r elsewhere\n")
    (found,) = ACTUATOR.preflight(sound.path, port=None)
    assert (found.code, "is no pin" in found.message) == ("E0905", True)
