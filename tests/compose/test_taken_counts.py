"""What a takeover keeps of ports, and of what the controller has wished."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Address
from harmonia_compiler.contract.decision import fingerprint
from harmonia_compiler.runtime.actuators.actuator import actuator_for
from harmonia_compiler.runtime.actuators.compose import counts, places, preparing
from harmonia_compiler.runtime.actuators.compose import keeper as keeping
from harmonia_compiler.runtime.actuators.compose.asking import Wish, ask
from harmonia_compiler.runtime.actuators.compose.containers import Life, life_of
from harmonia_compiler.runtime.actuators.compose.counts import WISH
from harmonia_compiler.runtime.actuators.compose.keeper import Keeper
from harmonia_compiler.runtime.actuators.compose.preflight import preflight
from harmonia_compiler.runtime.actuators.supervision import rundir
from harmonia_compiler.runtime.bundle import read_service
from tests.compose.taken import HOLDING, Taken, say_lives
from tests.compose.test_files import written
from tests.compose.test_keeping import inspected, part, with_docker
from tests.emit.conftest import Planned


def test_a_gateway_that_is_given_a_free_port_has_none_of_a_replica(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(quickstart, tmp_path / "bundle", "[compose]\nscale_out = 1\nfirst_port = 24100\n")
    monkeypatch.setattr(places, "is_free", lambda _: False)
    monkeypatch.setattr(
        places, "free_port", lambda taken: next(port for port in range(24101, 25000) if port not in taken)
    )
    keeper, run = part(tmp_path / "bundle", "", monkeypatch)
    keeper._prepare({})
    assert keeper._places.address.port == 24101 + len(keeper._documents.here) > 24105
    assert f"HARMONIA_PORT='{keeper._places.address.port}'" in (run.path / "compose.env").read_text()


@pytest.mark.parametrize("network", ["bridge", "host"])
@pytest.mark.parametrize("is_taken", [False, True])
def test_a_gateway_listens_on_the_sites_port_where_that_is_free(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, *, is_taken: bool
) -> None:
    written(quickstart, tmp_path / "bundle", f'[compose]\nfirst_port = 24100\nnetwork = "{network}"\n')
    monkeypatch.setattr(places, "is_free", lambda port: port == 24100 and not is_taken)
    monkeypatch.setattr(places, "free_port", lambda _: 24400)
    for asked, port in ((None, 24400 if is_taken else 24100), (24500, 24500)):
        keeper, run = part(tmp_path / "bundle", "", monkeypatch)
        keeper._asked = rundir.Asked(asked)
        keeper._prepare({})
        assert keeper._places.address.port == port
        assert f"HARMONIA_PORT='{port}'" in (run.path / "compose.env").read_text()


@pytest.mark.parametrize("state", ["running", "exited", ""])
@pytest.mark.parametrize("is_taken", [False, True])
def test_a_gateway_keeps_its_port_where_it_is_taken_over_unless_it_is_gone_and_another_has_it(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, state: str, is_taken: bool
) -> None:
    written(quickstart, tmp_path / "bundle")
    taken = Taken(tmp_path / "bundle", "", tmp_path / "bin", monkeypatch)
    taken.run.write(rundir.ADDRESS, msgspec.json.encode(Address("127.0.0.1", 24300)))
    monkeypatch.setattr(places, "is_free", lambda _: not is_taken)
    monkeypatch.setattr(places, "free_port", lambda _: 24400)
    del taken.lives["gateway"]
    taken.lives |= {"gateway": inspected(state)} if state else {}
    taken.keeper._prepare({name: life_of(life) for name, life in taken.lives.items()})
    assert taken.keeper._places.address.port == (24400 if state != "running" and is_taken else 24300)


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


def with_one_more(quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Taken, Wish]:
    """A service with a replica that the controller added, and what it wishes where it takes that back."""
    bundle = tmp_path / "bundle"
    written(quickstart, bundle, "[compose]\nscale_out = 1\n")
    monkeypatch.setattr(counts, "_UNROUTED_S", 0.0)
    taken = Taken(bundle, "", tmp_path / "bin", monkeypatch)
    for name in {*taken.keeper._further} - {"minilm-more-0"}:
        del taken.lives[name]
    wish = Wish(fingerprint(read_service(bundle)), 1, {"minilm": 2})
    assert taken.keeper._counts.answer(wish).accepted
    (taken.bin / "go").touch()
    return taken, msgspec.structs.replace(wish, replicas={"minilm": 1})


def test_a_replica_that_was_taken_back_is_not_shown_any_more(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, back = with_one_more(quickstart, tmp_path, monkeypatch)

    def shown() -> set[str]:
        status = taken.keeper._status()
        return {one.name for one in (*status.processes, *status.beside)}

    with taken.kept():
        taken.until(lambda: taken.keeper._status().ready and "minilm-more-0" in shown())
        assert ask(taken.run.path / preparing.CONTROL, back).accepted
        ended = taken.bin / "ended"
        taken.until(lambda: ended.exists() and " rm --force minilm-more-0" in ended.read_text())
        del taken.lives["minilm-more-0"]
        taken.say_lives()
        taken.until(lambda: "minilm-more-0" not in shown())
        assert taken.keeper._status().ready


def test_what_has_ended_while_docker_was_asked_is_not_ended_again(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, back = with_one_more(quickstart, tmp_path, monkeypatch)
    keeper, ended = taken.keeper, list[str]()
    more, life = keeper._watched["minilm-more-0"], life_of(taken.lives["minilm-more-0"])
    monkeypatch.setattr(keeper._counts, "let_go", lambda one: ended.append(one.name))
    assert keeper._counts.answer(back).accepted
    keeper._phase, more.leaving = "running", True
    seen = {name: life_of(one) for name, one in taken.lives.items()}

    def lives() -> dict[str, Life]:
        more.leaving = False
        return seen

    monkeypatch.setattr(keeper, "_lives", lives)
    keeper._look()
    assert ended == []
    # What is there without having been on its way out is ended.
    assert life == more.life
    keeper._look()
    assert ended == ["minilm-more-0"]
    for one in keeper._watched.values():
        one.close()


def test_a_replica_that_is_wanted_again_is_started_once_it_has_ended(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, _ = with_one_more(quickstart, tmp_path, monkeypatch)
    monkeypatch.setattr(keeping, "delay_s", lambda _: 0.0)
    del taken.lives["minilm-more-0"]
    more = taken.keeper._watched["minilm-more-0"]
    more.leaving = True
    with taken.kept():
        taken.until(lambda: taken.keeper._phase == "running")
        looks = len(taken.said())
        taken.until(lambda: len(taken.said()) > looks + 10)
        assert not taken.started("minilm-more-0")
        more.leaving = False
        taken.until(lambda: taken.started("minilm-more-0"))


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


def test_what_was_wished_of_another_plan_is_no_wish_of_this_one(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    written(quickstart, bundle, "[compose]\nscale_out = 1\n")
    _, run = part(bundle, "", monkeypatch)
    run.write(WISH, msgspec.json.encode(Wish("another", 37, {"minilm": 2})))
    own = part(bundle, "", monkeypatch)[0]._counts
    assert "minilm-more-0" not in own.wanted()
    assert own.answer(Wish(fingerprint(read_service(bundle)), 1, {"minilm": 2})).accepted
    assert "minilm-more-0" in own.wanted()
