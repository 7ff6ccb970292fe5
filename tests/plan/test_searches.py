"""When searches end: what is good enough is taken, and what can be made better is not left as it is."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from harmonia_compiler.plan import search
from harmonia_compiler.plan.model import build
from harmonia_compiler.plan.pools import Division, divide
from harmonia_compiler.plan.problem import Problem
from harmonia_compiler.plan.refine import refined
from harmonia_compiler.plan.search import judged
from harmonia_compiler.plan.solve import Outcome, Program
from harmonia_compiler.plan.variables import Key, Model
from tests.plan.problems import chain, machine, need, on_cores

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
