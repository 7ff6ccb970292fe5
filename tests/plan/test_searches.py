"""When searches end: what is good enough is taken, and what can be made better is not left as it is."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from harmonia_compiler.plan import refine, search
from harmonia_compiler.plan.build import GIVE_UP
from harmonia_compiler.plan.model import build
from harmonia_compiler.plan.objectives import cost
from harmonia_compiler.plan.optimise import optimise
from harmonia_compiler.plan.pools import Division, divide
from harmonia_compiler.plan.problem import Problem
from harmonia_compiler.plan.refine import refined
from harmonia_compiler.plan.search import judged
from harmonia_compiler.plan.solve import Outcome, Program, Terms
from harmonia_compiler.plan.variables import Key, Model
from tests.plan.problems import chain, machine, need, on_cores, on_gpu, replicas_of

#: Two cores a replica, on hosts of three: of two engines they hold a replica each, and as one pool one more.
PAIRS = Problem(
    (need("read", on_cores("read", 100.0, cores=2.0)), need("write", on_cores("write", 100.0, cores=2.0))),
    (chain("read", "write", visits={"read": 2.0}),),
    (machine("a", 3), machine("b", 3)),
)


class Searching:
    """Searches for the highest rate, over each division that it is asked for."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.divisions: list[Division] = []

    def __call__(self, division: Division) -> tuple[Model, Sequence[Outcome]]:
        self.divisions.append(division)
        model = build(self.problem, division, None)
        assert model.rate is not None
        return model, [model.program.solve({model.rate: 1.0}, maximise=True)]


def short(by: float) -> Any:
    """Takes what stands on the hosts, and says that it is so far from the bound; where all stands, by nothing."""

    def mend(model: Model, best: Outcome, counts: dict[Key, int]) -> tuple[dict[Key, int], Outcome]:
        far = by * (sum(counts.values()) < round(sum(best.values[column] for column in model.n.values())))
        return counts, judged(best, best.objective * (1 + far), 0.0)

    return mend


def test_what_cannot_be_looked_at_more_finely_is_taken_as_it_is() -> None:
    """One host is its own pool, so that no other search would find more."""
    searching = Searching(Problem(PAIRS.needs, PAIRS.pipelines, (machine("a", 5),)))

    def mend(model: Model, best: Outcome, counts: dict[Key, int]) -> tuple[dict[Key, int], Outcome]:
        return counts, judged(best, best.objective * 1.1, 0.0)

    answer = refined(searching, divide(searching.problem), mend)
    assert answer.counts == {(0, 0, 0): 1, (1, 0, 0): 1}
    assert answer.outcomes[0].gap == pytest.approx(0.1)
    assert not answer.proven
    assert len(searching.divisions) == 1


def test_what_was_mended_is_not_taken_where_a_finer_look_may_find_better() -> None:
    searching = Searching(PAIRS)
    answer = refined(searching, divide(PAIRS), short(0.1))
    assert sorted(engine for engine, _, _ in answer.counts) == [0, 1]
    assert answer.proven
    assert len(searching.divisions) == 2


@pytest.mark.parametrize(("gap", "searched"), [(0.6, [20]), (0.4, [20, 40])], ids=["near enough", "not near enough"])
def test_of_a_large_model_no_more_is_searched_than_it_takes(
    monkeypatch: pytest.MonkeyPatch, gap: float, searched: list[int]
) -> None:
    nodes: list[int] = []
    solve = Program.solve

    def counted(program: Program, objective: Mapping[int, float], **given: Any) -> Outcome:
        nodes.append(given.get("nodes", 0))
        return solve(program, objective, **given)

    monkeypatch.setattr(search, "LARGE", 1)
    monkeypatch.setattr(Program, "solve", counted)
    problem = Problem(PAIRS.needs, PAIRS.pipelines, (machine("a", 5),), give_up=0.01)
    model = build(problem, divide(problem), None)
    assert model.rate is not None
    found = search.best(model, {model.rate: 1.0}, maximise=True, gap=gap)
    assert found.gap == pytest.approx(0.5)
    assert [count for count in nodes if count in {times[2] for times in search.NEIGHBOURHOODS}] == searched


def test_what_pools_with_less_have_room_for_is_judged_by_the_bound_of_all_that_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No rows and no smaller pools are left to try: with 2 % less than six cores a pool has room for two replicas."""
    monkeypatch.setattr(refine, "MOST_ROUNDS", 0)
    monkeypatch.setattr(refine, "MOST_APART", 0)
    searching = Searching(PAIRS)
    answer = refined(searching, divide(PAIRS))
    assert replicas_of(PAIRS, answer.counts) == {"read": 1, "write": 1}
    assert [len(division.pools) for division in searching.divisions] == [1, 1]
    assert (answer.relaxed[0].objective, answer.outcomes[0].objective) == pytest.approx((1.0, 0.5))
    assert answer.outcomes[0].gap == pytest.approx(1.0)
    assert not answer.proven


def test_hosts_of_which_relaxation_and_hint_say_as_many_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cheap host is full in the relaxation, and of the dear one it takes a part."""
    hosts = (machine("cheap", 2, price=1.0), machine("dear", 2, price=3.0))
    problem = Problem((need("write", on_cores("write", 100.0)),), (chain("write"),), hosts, "cost", give_up=GIVE_UP)
    model = build(problem, divide(problem), 24.0, paying=True)
    cheap, dear = (model.paid[g, 0] for g in (0, 1))
    hint = [0.0] * len(model.program.lower)
    for column, count in ((cheap, 1.0), (dear, 1.0), (model.n[0, 0, 0], 2.0), (model.n[0, 0, 1], 1.0)):
        hint[column] = count
    searched: list[Mapping[int, tuple[float, float]]] = []
    solve = Program.solve

    def told(program: Program, objective: Terms, **given: Any) -> Outcome:
        if given.get("nodes") in {nodes for _, _, nodes in search.NEIGHBOURHOODS}:
            searched.append(given["within"])
        return solve(program, objective, **given)

    monkeypatch.setattr(search, "LARGE", 1)
    monkeypatch.setattr(Program, "solve", told)
    assert search.best(model, cost(model), hint=hint, gap=GIVE_UP).found
    assert [(within[cheap], within[dear]) for within in searched] == [((1.0, 1.0), (0.0, 1.0))] * len(searched)
    assert searched


def least_obliging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches for the least of something end with the most of it that is within the gap that was asked for."""
    solve = Program.solve

    def worst(program: Program, objective: Terms, *, maximise: bool = False, gap: float = 0.0, **given: Any) -> Outcome:
        best = solve(program, objective, maximise=maximise, **given)
        if maximise or not best.found or not objective:
            return best
        program.row(objective, high=best.objective * (1 + gap) + 1e-9)
        found = solve(program, objective, maximise=True)
        return replace(found, gap=gap, bound=best.objective)

    monkeypatch.setattr(Program, "solve", worst)


def test_the_last_objective_is_searched_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equally many replicas those on earlier hosts, which is less than any gap: else equals would be chance."""
    least_obliging(monkeypatch)
    hosts = (machine("one", 2), machine("other", 3))
    problem = Problem((need("write", on_cores("write", 100.0)),), (chain("write"),), hosts, "cost", give_up=GIVE_UP)
    found = optimise(problem)
    assert found is not None
    assert found.counts == {(0, 0, 0): 1}


@pytest.mark.parametrize("aim", ["throughput", "cost"])
def test_what_a_solver_says_too_much_by_its_tolerance_is_given_up(monkeypatch: pytest.MonkeyPatch, aim: Any) -> None:
    """Nothing is quite as good as was said, and yet each objective is held to what those before it came to."""
    solve = Program.solve

    def flattered(program: Program, objective: Terms, *, maximise: bool = False, **given: Any) -> Outcome:
        found = solve(program, objective, maximise=maximise, **given)
        return replace(found, objective=found.objective * (1 + 5e-9 if maximise else 1 - 5e-9))

    monkeypatch.setattr(Program, "solve", flattered)
    hosts = (machine("one", 2, price=1.0), machine("other", 3, price=2.0))
    found = optimise(Problem((need("write", on_cores("write", 100.0)),), (chain("write"),), hosts, aim))
    assert found is not None
    assert found.proven
    assert found.counts == ({(0, 0, 0): 2, (0, 0, 1): 3} if aim == "throughput" else {(0, 0, 0): 1})


def test_a_later_objective_gives_up_no_more_than_rounding_of_an_earlier() -> None:
    """A host that costs a hundred thousandth more is dearer, however much less of hardware there is in it."""
    write = need("write", on_gpu("write", 10.0), on_gpu("write", 10.0, gpu="t4"))
    hosts = (machine("cheap", 1, 1, price=1.0), machine("dear", 1, 1, price=1.00001, gpu="t4"))
    found = optimise(Problem((write,), (chain("write"),), hosts, "cost"))
    assert found is not None
    assert found.counts == {(0, 0, 0): 1}
    alike = optimise(Problem((write,), (chain("write"),), (hosts[0], machine("dear", 1, 1, 1.0, gpu="t4")), "cost"))
    assert alike is not None
    assert alike.counts == {(0, 1, 1): 1}
