"""More and fewer replicas of a service that runs: started beside it, drained before they go, never below one."""

import time
import urllib.request

import msgspec
import pytest

from harmonia_compiler.contract.readings import Readings, ReplicaRead
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.runtime.actuators.local import ACTUATOR
from harmonia_compiler.runtime.actuators.supervision.room import MOST_FURTHER, further
from harmonia_compiler.runtime.bundle import LocalBundle, read_local_bundle

from .conftest import Hand, launch, until


def names(hand: Hand) -> set[str]:
    return {*hand.endpoints()}


def test_more_replicas_join_and_fewer_leave(hand: Hand) -> None:
    hand.write(one=launch(), two=launch())
    hand.up()
    (first, *_) = ACTUATOR.room(hand.path)["one"]
    ACTUATOR.scale(hand.path, {"one": 2})
    until(lambda: names(hand) == {"one", "two", first})
    # One that joins stands beside the others until it has served.
    until(lambda: hand.status().ready and first in {one.name for one in hand.status().processes})
    pid = hand.process("one").pid
    hand.seen.append(hand.status())
    ACTUATOR.scale(hand.path, {"one": 1})
    until(lambda: names(hand) == {"one", "two"})
    until(lambda: first not in {one.name for one in (*hand.status().processes, *hand.status().beside)})
    assert hand.status().ready
    assert hand.process("one").pid == pid
    assert hand.down() is True
    hand.assert_nothing_left()


@pytest.mark.slow
def test_there_is_always_one_and_never_more_than_there_is_room_for(hand: Hand) -> None:
    hand.write(one=launch())
    hand.up()
    room = ACTUATOR.room(hand.path)["one"]
    ACTUATOR.scale(hand.path, {"one": 1000, "unknown": 3})
    until(lambda: names(hand) == {"one", *room})
    (hand.path / "run" / "wanted.json").write_text('{"replicas": {"one": 0}, "format_version": 1}')
    time.sleep(2.5)
    assert names(hand) == {"one", *room}, "what makes no sense is not heeded"
    ACTUATOR.scale(hand.path, {"one": 1})
    until(lambda: names(hand) == {"one"})
    hand.down()
    hand.assert_nothing_left()


def test_one_that_does_not_come_up_takes_nothing_down(hand: Hand) -> None:
    marker = hand.path / "started"
    script = f"import pathlib, sys; p = pathlib.Path({str(marker)!r}); sys.exit(3) if p.exists() else p.touch()"
    made = launch()
    runs = msgspec.structs.replace(
        made,
        command=(
            made.command[0],
            "-c",
            f"{script}; sys.argv.pop(0); exec(open(sys.argv[0]).read())",
            *made.command[1:],
        ),
    )
    hand.write(one=runs)
    hand.up()
    ACTUATOR.scale(hand.path, {"one": 2})
    until(lambda: any(one.phase == "failed" for one in hand.status().beside))
    assert hand.status().ready
    assert names(hand) == {"one"}
    hand.down()
    hand.assert_nothing_left()


@pytest.mark.slow
def test_one_that_still_works_is_waited_for(hand: Hand) -> None:
    hand.write(one=launch(), gateway=launch())
    hand.up()
    (first, *_) = ACTUATOR.room(hand.path)["one"]
    ACTUATOR.scale(hand.path, {"one": 2})
    until(lambda: names(hand) == {"one", first})
    gateway = f"http://127.0.0.1:{hand.process('gateway').port}/readings"

    def works(count: int) -> None:
        read = Readings("g", 1.0, 0, replicas=(ReplicaRead(first, "one", count, routed=False),))
        request = urllib.request.Request(gateway, msgspec.json.encode(read), method="PUT")
        urllib.request.urlopen(request, timeout=5).close()

    works(1)
    ACTUATOR.scale(hand.path, {"one": 1})
    until(lambda: names(hand) == {"one"})
    time.sleep(4.0)
    (leaving,) = [one for one in hand.status().beside if one.name == first]
    assert (leaving.phase, leaving.waiting_for) == ("stopping", "the calls that it works on")
    assert hand.status().ready
    works(0)
    until(lambda: hand.status().beside == ())
    hand.down()
    hand.assert_nothing_left()


def bundle_of(hand: Hand, cores: float) -> LocalBundle:
    hand.write(cores=cores, one=launch(), two=launch())
    return read_local_bundle(hand.path)


def test_further_replicas_fit_beside_those_of_the_plan(hand: Hand) -> None:
    found = further(bundle_of(hand, 1.0), kinds(), 5.0, 64.0)
    assert [[one.replica for one in found[name]] for name in ("one", "two")] == [
        ["one-more-0", "one-more-1"],
        ["two-more-0"],
    ]
    assert further(bundle_of(hand, 1.0), kinds(), 2.0, 64.0) == {"one": (), "two": ()}
    assert all(len(these) == MOST_FURTHER for these in further(bundle_of(hand, 0.0), kinds(), 2.0, 64.0).values())


def test_what_is_stateful_or_unknown_or_on_a_gpu_is_never_copied(hand: Hand) -> None:
    bundle = bundle_of(hand, 0.0)
    one, two = bundle.processes.replicas
    gpu = msgspec.structs.replace(two, devices=(0,))
    held = LocalBundle(bundle.plan, bundle.service, msgspec.structs.replace(bundle.processes, replicas=(one, gpu)))
    assert further(held, kinds(), 8.0, 64.0)["two"] == ()
    engine = msgspec.structs.replace(bundle.plan.engines["one"], kind="milvus")
    plan = msgspec.structs.replace(bundle.plan, engines={**bundle.plan.engines, "one": engine})
    assert "one" not in further(LocalBundle(plan, bundle.service, bundle.processes), kinds(), 8.0, 64.0)
    engine = msgspec.structs.replace(engine, kind="somebody_elses")
    plan = msgspec.structs.replace(bundle.plan, engines={**bundle.plan.engines, "one": engine})
    assert "one" not in further(LocalBundle(plan, bundle.service, bundle.processes), kinds(), 8.0, 64.0)
    engine = msgspec.structs.replace(engine, kind="python", settings={"max_replicas": 2})
    plan = msgspec.structs.replace(bundle.plan, engines={**bundle.plan.engines, "one": engine})
    assert len(further(LocalBundle(plan, bundle.service, bundle.processes), kinds(), 8.0, 64.0)["one"]) == 1
