"""What steps count for a quantile, beside drawn requests, and beside chains that are listed one by one."""

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.plan.predict import quantile_ms
from harmonia_compiler.plan.problem import Path, Pipeline, Problem, Step
from harmonia_compiler.plan.queueing import LATENCY_CV
from harmonia_compiler.plan.reckoned import reckoned
from harmonia_compiler.plan.weights import weights
from tests.examples import examples
from tests.plan.problems import quantile_of
from tests.plan.random_problems import pipelines

#: How far the quantile is from that of drawn requests at most where steps take what is usual.
NEAR = 0.2

#: How far above it is where one step takes three times what is usual beside the others, or a third of it.
FAR = 0.4

#: How far it is below that at most where about as many requests take a long branch as may be late: it jumps there.
EDGE = 0.3

#: Paths of three steps in a row, as how likely they are.
BRANCHES: dict[str, tuple[list[float], dict[tuple[int, ...], float]]] = {
    "a long step in 8 of 100": ([1.0, 0.5, 5.0], {(0, 1): 0.92, (0, 1, 2): 0.08}),
    "a long step in 10 of 100": ([1.0, 0.5, 5.0], {(0, 1): 0.9, (0, 1, 2): 0.1}),
    "a third, then a fifth": ([1.0, 1.0, 1.0], {(0,): 0.56, (0, 1): 0.24, (0, 2): 0.14, (0, 1, 2): 0.06}),
    "three rounds": ([1.0, 1.0, 1.0], {(0,): 0.7, (0, 1): 0.21, (0, 1, 2): 0.09}),
    "arms": ([1.0, 3.0, 8.0], {(0,): 0.25, (1,): 0.55, (2,): 0.2}),
}


def in_a_row(times: Sequence[float], paths: dict[tuple[int, ...], float]) -> Pipeline:
    """Steps one after the other that usually take so long."""
    steps = tuple(Step(f"c{at}", (at - 1,) if at else (), usual_ms=ms) for at, ms in enumerate(times))
    return Pipeline("p", 1.0, {}, steps, (), (), tuple(Path(part, frozenset(on)) for on, part in paths.items()))


def elsewhere(pipeline: Pipeline, times: Sequence[float]) -> Problem:
    """A problem whose steps take so long."""
    external = {step.component: ms for step, ms in zip(pipeline.steps, times, strict=True)}
    return Problem((), (pipeline,), (), external_ms=external)


def p95(pipeline: Pipeline, times: Sequence[float]) -> float:
    return quantile_ms(elsewhere(pipeline, times), {}, pipeline, "latency", 0.95, 1.0)


def drawn_p95(pipeline: Pipeline, times: Sequence[float]) -> float:
    """The p95 of requests whose steps take log-normal times, of twenty thousand."""
    chance = Random(1)
    sigma = math.sqrt(math.log1p(LATENCY_CV**2))
    found = sorted(
        sum(times[s] * math.exp(chance.gauss(-(sigma**2) / 2, sigma)) for s in sorted(path.steps))
        for path in chance.choices(pipeline.paths, [path.likely for path in pipeline.paths], k=20_000)
    )
    return found[19_000]


@pytest.mark.parametrize("name", BRANCHES)
def test_the_quantile_is_that_of_requests_that_take_one_path_each(name: str) -> None:
    times, paths = BRANCHES[name]
    pipeline = in_a_row(times, paths)
    assert p95(pipeline, times) == pytest.approx(drawn_p95(pipeline, times), rel=NEAR)
    # In another unit it is the same.
    assert p95(pipeline, [3.0 * ms for ms in times]) == pytest.approx(3.0 * p95(pipeline, times))


@pytest.mark.parametrize("name", BRANCHES)
@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("factor", [3.0, 1.0 / 3.0])
def test_in_other_proportions_it_is_rather_too_long(name: str, at: int, factor: float) -> None:
    usual, paths = BRANCHES[name]
    pipeline = in_a_row(usual, paths)
    times = [ms * factor if s == at else ms for s, ms in enumerate(usual)]
    drawn = drawn_p95(pipeline, times)
    assert drawn * (1 - NEAR) <= p95(pipeline, times) <= drawn * (1 + FAR)


@pytest.mark.parametrize("part", [0.03, 0.045, 0.05, 0.055, 0.06, 0.07])
@pytest.mark.parametrize("long", [5.0, 15.0])
def test_where_a_long_branch_begins_to_count_the_quantile_is_nearly_that_of_drawn_requests(
    part: float, long: float
) -> None:
    times = [1.0, 0.5, long]
    pipeline = in_a_row(times, {(0, 1): 1.0 - part, (0, 1, 2): part})
    drawn = drawn_p95(pipeline, times)
    assert drawn * (1 - EDGE) <= p95(pipeline, times) <= drawn * (1 + NEAR)


def test_a_branch_counts_by_how_many_take_it() -> None:
    """Not at all where that is far fewer than may be late, and ever more the more they are."""
    rare, seldom, often, always = (
        p95(in_a_row([1.0, 5.0], {(0,): 1.0 - part, (0, 1): part}), [1.0, 5.0]) for part in (0.01, 0.08, 0.3, 1.0)
    )
    assert rare == pytest.approx(1.82, rel=0.1)
    assert rare < seldom < often < always


def test_of_steps_in_a_row_not_all_are_late_together() -> None:
    one, four = (p95(in_a_row([1.0] * steps, {}), [1.0] * steps) for steps in (1, 4))
    assert one == pytest.approx(1 + 1.6449 * LATENCY_CV, rel=1e-3)
    assert four == pytest.approx(4 + 1.6449 * LATENCY_CV * 2, rel=1e-3)


def test_a_path_that_another_outlasts_has_no_rows_of_its_own() -> None:
    pipeline = in_a_row([1.0, 1.0], {(0,): 0.5, (0, 1): 0.5})
    assert len(weights(pipeline, "latency", 0.95)) == 2
    same = replace(pipeline, paths=(*pipeline.paths[:1], Path(0.5, frozenset({0}))))
    assert len(weights(same, "latency", 0.95)) == 1


def test_who_gets_no_first_piece_waits_for_the_end() -> None:
    """Of a pipeline that streams one of two answers, and else says something that is fixed."""
    steps = (Step("a", (), usual_ms=4.0), Step("b", (0,), usual_ms=9.0, usual_first_ms=1.0))
    pipeline = Pipeline("p", 1.0, {}, steps, (1,), (), (Path(0.5, frozenset({0, 1})), Path(0.5, frozenset({0}))))
    streaming, silent = weights(pipeline, "ttft", 0.95)
    assert list(streaming.first) == [1]
    assert not silent.first
    assert silent.whole[0] > 1.0


@examples(150)
@given(pipelines("a", "b", "c"), st.sampled_from(["latency", "ttft"]), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_it_is_that_of_all_chains_and_reckoned_the_same(pipeline: Pipeline, metric: str, quantile: float) -> None:
    external = {"a": 30.0, "b": 7.0, "c": 110.0}
    problem = Problem((), (pipeline,), (), external_ms=external)

    def took(s: int, first: bool) -> tuple[float, float]:  # noqa: FBT001
        step = pipeline.steps[s]
        ms = external[step.component] * (1.0 if first else step.rounds)
        return ms, ms

    found = quantile_ms(problem, {}, pipeline, metric, quantile, 1.0)
    assert found == pytest.approx(quantile_of(pipeline, quantile, took, first=metric == "ttft"), rel=1e-5)
    assert found == pytest.approx(reckoned(problem, pipeline, {}, 1.0, metric, quantile), rel=1e-5)
