"""Divisions of GPUs, and the search for the best of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.peers import search
from bench.peers.allocation import Division, allocated, apart, everywhere, gpus, models, together, types, uniform
from bench.peers.search import Figures, best, divisions, figures, first_of, highest, likeliest, over, shared, wholes
from bench.pipelines import planned
from harmonia_compiler.emulate.scenario import Scenario


def test_the_even_division_gives_each_model_gpus_of_each_type(crag: Scenario) -> None:
    assert uniform(crag).describe() == "large=2a100_sxm+2l40s small=2a100_sxm+2l40s batch=256"
    parted = uniform(apart(crag))
    assert [parted.total(name) for name in ("answer", "grade", "rewrite")] == [3, 3, 2]
    assert all(set(parted.of(name)) == {"a100_sxm", "l40s"} for name in ("answer", "grade", "rewrite"))


def test_components_apart_share_no_engine(crag: Scenario) -> None:
    assert models(crag) == ["large", "small"]
    assert models(apart(crag)) == ["answer", "grade", "rewrite"]


@pytest.mark.parametrize("parted", [False, True])
def test_every_division_gives_all_gpus_away_and_can_be_allocated(crag: Scenario, *, parted: bool) -> None:
    given = apart(crag) if parted else crag
    found = [*divisions(given)]
    assert len({one.describe() for one in found}) == len(found) == (153 if parted else 23)
    for one in found:
        replicas = [replica for replica in allocated(given, one) if replica.devices]
        assert sorted((replica.host, *replica.devices) for replica in replicas) == sorted(
            (gpu.host, gpu.index) for gpu in gpus(given)
        )
        assert {replica.engine for replica in replicas} == {*models(given)}


def test_a_division_that_wants_too_much_is_refused(crag: Scenario) -> None:
    with pytest.raises(ValueError, match="more GPUs"):
        allocated(crag, Division((("large", (("l40s", 3),)), ("small", (("l40s", 2),)))))


def test_models_that_share_gpus_have_parts_of_them_and_no_more_than_all(crag: Scenario) -> None:
    found = [*shared(crag)]
    assert all(sum(dict(one.parts).values()) <= 1.0 for one in found)
    replicas = [one for one in allocated(crag, found[0]) if one.devices]
    assert len(replicas) == 2 * len(gpus(crag))
    assert {one.config.gpus for one in replicas if one.engine == "large"} == {dict(found[0].parts)["large"]}


def test_a_whole_pipeline_has_a_gpu_for_each_model_or_one_for_all(crag: Scenario) -> None:
    found = [*wholes(crag)]
    apart_, together_ = ([one for one in found if bool(one.parts) is parts] for parts in (False, True))
    assert [one.total("large") for one in apart_] == [one.total("small") for one in apart_] == [4] * len(apart_)
    assert "large=4a100_sxm small=4l40s batch=256" in [one.describe() for one in apart_]
    assert together_ == [*shared(crag)]
    # One model alone has nothing to share.
    assert all(not one.parts for one in apart_)


def test_each_gpu_has_every_model_where_an_autoscaler_chooses(crag: Scenario) -> None:
    replicas = [one for one in everywhere(crag, 5) if one.devices]
    assert len(replicas) == len(models(crag)) * sum(types(crag).values())
    assert {one.config.batch for one in replicas} == {5}


def test_replicas_are_given_as_many_calls_as_their_engines_take(crag: Scenario) -> None:
    given = over(crag, allocated(crag, Division(uniform(crag).counts, batch=16)))
    assert {given.service.shares[one.id].batch for one in given.plan.replicas if one.devices} == {16}


def test_what_a_division_carries_is_what_its_first_full_model_does() -> None:
    known = Figures(
        {("a", "fast", 1.0): 10.0, ("a", "slow", 1.0): 20.0, ("b", "fast", 1.0): 10.0, ("b", "slow", 1.0): 50.0},
        {"a": 1.0, "b": 2.0},
        {"A": ("a",), "B": ("b",)},
    )
    one = Division((("A", (("fast", 1), ("slow", 2))), ("B", (("fast", 2), ("slow", 0)))))
    other = Division((("A", (("fast", 2), ("slow", 2))), ("B", (("fast", 1), ("slow", 0)))))
    assert known.carries(one) == pytest.approx(100.0)
    assert known.carries(other) == pytest.approx(50.0)
    assert likeliest([other, one], known, 1) == [one]
    assert known.carries(Division(one.counts, parts=(("A", 0.5), ("B", 0.5)))) == 0.0


def test_parts_that_do_not_hold_a_model_are_not_tried(crag: Scenario) -> None:
    known = figures(crag)
    assert known.carries(together(crag, {"large": 0.125, "small": 0.5})) == 0.0
    assert 0.0 < known.carries(together(crag, {"large": 0.5, "small": 0.5})) < known.carries(uniform(crag))


@pytest.mark.parametrize("most", [0.4, 7.3, 99.0])
def test_the_highest_rate_is_found_to_a_part(most: float) -> None:
    found = highest(lambda rate: rate <= most, 8.0)
    assert most / 1.02 <= found <= most
    assert highest(lambda _: False, 8.0) == 0.0
    assert highest(lambda _: True, 0.0) == 0.0


def test_the_best_of_several_is_found_and_the_others_cost_one_try() -> None:
    carry = {"a": 10.0, "b": 8.0, "c": 30.0, "d": 29.0}
    tries: list[str] = []

    def keeps(name: str, rate: float) -> bool:
        tries.append(name)
        return rate <= carry[name]

    name, rate = first_of("bcd", keeps, "a", 10.0, 0.1)
    assert name == "c"
    assert rate == pytest.approx(30.0, rel=0.02)
    assert [tries.count("b"), tries.count("d")] == [1, 1]
    assert first_of("x", lambda _, rate: rate == 0.1, "a", 0.0, 0.1)[0] == "x"
    assert first_of("bd", keeps, "c", rate, 0.1) == ("c", rate)


@pytest.fixture
def in_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Scenario], float]], list[int]]:
    """Has simulations say that set-ups carry what a function says; how many there were."""

    def use(carries: Callable[[Scenario], float]) -> list[int]:
        count = [0]

        def told(given: Scenario, rate_rps: float, *_: object) -> float:
            count[0] += 1
            return 1.0 if rate_rps <= carries(given) else 0.5

        monkeypatch.setattr(search, "in_time", told)
        return count

    return use


@pytest.mark.slow
def test_the_search_is_for_placement_and_for_concurrency_and_is_kept(
    crag: Scenario, tmp_path: Path, in_time: Callable[[Callable[[Scenario], float]], list[int]]
) -> None:
    def carries(given: Scenario) -> float:
        on = [one for one in given.plan.replicas if one.engine == "small"]
        return (20.0 if {one.config.gpu for one in on} == {"l40s"} else 10.0) + (
            5.0 if on[0].config.batch == 32 else 0.0
        )

    count = in_time(carries)
    found = best(crag, tmp_path)
    assert set(dict(found.division.of("small"))) - {
        of for of, held in found.division.of("small").items() if not held
    } == {"l40s"}
    assert found.division.batch == 32
    assert found.rate_rps == pytest.approx(25.0, rel=0.02)
    assert found.tried == count[0]
    assert best(crag, tmp_path) == found
    assert found.tried == count[0]
    assert best(planned("crag", "eight", promise_s=9.0), tmp_path).tried > 0
    assert count[0] > found.tried
