"""How each system is set up: what its program is told, without starting it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.peers import front, systems
from bench.peers.ablation import ABLATIONS
from bench.peers.allocation import apart, gpus, together, uniform
from bench.peers.search import Found
from bench.peers.systems import RAY_TIMES_S, Systems
from bench.pipelines import planned
from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.component import Insert
from harmonia_compiler.emulate.rehearsal.front import Behind
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.policy.parts import PARTS
from tests.peers.each import EACH

FACTOR = 4.0


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`peer.json` of a system by its name, as its program would be started with it."""

    def found(given: Scenario, _kept: Path, *, whole: bool = False) -> Found:
        return Found(together(given, {"large": 0.5, "small": 0.25}) if whole else uniform(given), 30.0, 7)

    @contextmanager
    def command(*_: object) -> Iterator[None]:
        yield None

    monkeypatch.setattr(systems, "best", found)
    monkeypatch.setattr(front, "command", command)
    monkeypatch.setattr(front, "wait_for", lambda *_: None)

    def tell(scenario: Scenario, name: str) -> dict[str, Any]:
        (system,) = Systems(
            scenario, Path("python"), Path("haystack"), tmp_path, partial(planned, "crag", "eight")
        ).named([name])
        made = system.made(FACTOR)
        assert made.front is not None
        given = apart(scenario) if name in {"ray-auto", "ray-best", "ray-tuned"} else scenario
        replicas = tuple(Endpoint(one.id, one.engine, "127.0.0.1", 1000 + at) for at, one in enumerate(made.replicas))
        with made.front(Behind(tmp_path, replicas, given.service, FACTOR, 1.0)):
            return dict(json.loads((tmp_path / "peer.json").read_text()))

    return tell


def test_systems_are_found_by_their_names(crag: Scenario, tmp_path: Path) -> None:
    every = Systems(crag, Path("python"), Path("haystack"), tmp_path, partial(planned, "crag", "eight"))
    found = every.named(["harmonia", "langgraph-[eo]*"])
    assert [one.name for one in found] == ["harmonia", "langgraph-even", "langgraph-ours"]


def test_each_part_of_our_scheduling_can_be_left_out(
    crag: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systems, "best", lambda given, _kept: Found(uniform(given), 30.0, 7))
    every = Systems(crag, Path("python"), Path("haystack"), tmp_path, partial(planned, "crag", "eight"))
    found = {one.name: one.made(1.0).parts.off for one in every.named(["harmonia*"])}
    assert found["harmonia"] == ()
    assert found["harmonia-without-slack"] == ("slack",)
    assert set(found["harmonia-without-all-scheduling"]) == set(PARTS)
    assert found.keys() == {"harmonia", *(f"harmonia-without-{what}" for what in ABLATIONS)}


def test_ray_as_documented_begins_with_one_replica_and_may_have_every_gpu(crag: Scenario, told: Any) -> None:
    document = told(crag, "ray-auto")
    for name in ("answer", "grade", "rewrite"):
        one = document["deployments"][name]
        scaling = one["autoscaling_config"]
        assert (scaling["min_replicas"], scaling["max_replicas"]) == (1, 8)
        assert "initial_replicas" not in scaling
        assert (scaling["target_ongoing_requests"], one["max_ongoing_requests"]) == (2.0, 5)
        assert one["ray_actor_options"] == {"num_cpus": 1, "num_gpus": 1}
        assert {name: scaling[name] for name in RAY_TIMES_S} == {
            name: seconds * FACTOR for name, seconds in RAY_TIMES_S.items()
        }
        # Ray says on which GPU it put a replica: each must be there for every model.
        assert sorted(engine["device"] for engine in document["engines"][name]) == [*range(8)]
    assert document["gpus"] == len(gpus(crag))
    # Its autoscaler must have had the time to act before requests count.
    (system,) = Systems(crag, Path("python"), Path("haystack"), Path(), planned).named(["ray-auto"])
    assert system.warmup_s >= 2 * RAY_TIMES_S["upscale_delay_s"]


def test_what_was_searched_for_is_what_runs(crag: Scenario, told: Any) -> None:
    document = told(crag, "ray-best")
    assert {name: document["deployments"][name]["num_replicas"] for name in ("answer", "grade", "rewrite")} == {
        "answer": 3,
        "grade": 3,
        "rewrite": 2,
    }
    assert {name: len(document["engines"][name]) for name in ("answer", "grade", "rewrite")} == {
        "answer": 3,
        "grade": 3,
        "rewrite": 2,
    }
    assert document["components"]["grade"]["engine"] == "grade"


def test_a_monolith_has_all_models_on_every_gpu(crag: Scenario, told: Any) -> None:
    document = told(crag, "monolith-best")
    # What a replica calls has its number: the engines of one GPU.
    numbered = [[one["device"] for one in document["engines"][name]] for name in ("large", "small")]
    assert numbered[0] == numbered[1]
    assert document["deployment"]["num_replicas"] == 8
    assert "num_gpus" not in document["deployment"]["ray_actor_options"]
    for name in ("large", "small"):
        assert sorted(engine["device"] for engine in document["engines"][name]) == [*range(8)]


def test_with_our_replicas_a_peer_has_just_the_plans(crag: Scenario, told: Any) -> None:
    for name in ("ray-ours", "langgraph-ours"):
        engines = told(crag, name)["engines"]
        ids = {one["id"] for replicas in engines.values() for one in replicas} - {"web"}
        assert ids == {one.id for one in crag.plan.replicas}


@pytest.mark.parametrize("name", EACH)
def test_a_peer_is_told_the_prompts_and_bounds_of_the_source(
    name: str, told: Any, plans: Callable[[str], Scenario]
) -> None:
    document = told(plans(name), "langgraph-even")
    assert document["pipeline"] == name
    assert document["components"]["answer"]["most"] == 256
    assert document["components"]["answer"]["prompt"].format(passages="P", question="Q").count("P\nQuestion: Q") == 1
    assert document["embedder"] == "minilm"
    assert (document["found"], document["found_in_web"]) == (5, 3 if name == "crag" else None)
    assert document["components"]["minilm"]["most"] is None


def test_braces_of_a_prompt_stay_braces() -> None:
    assert front.template(("As {json}: ", Insert("x"))).format(x="1") == "As {json}: 1"


@pytest.mark.slow
@pytest.mark.parametrize("inventory", ["a100", "paper"])
def test_the_other_inventories_can_be_planned_and_divided(inventory: str) -> None:
    given = planned("crag", inventory)
    assert sum(uniform(given).total(name) for name in ("large", "small")) == len(gpus(given))
