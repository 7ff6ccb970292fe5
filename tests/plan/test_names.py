"""The names of replicas name processes and their logs, whatever the components are called."""

from harmonia_compiler.plan.place import place
from harmonia_compiler.plan.problem import Problem
from tests.plan.problems import chain, machine, need, on_cores

#: As long as a name may be, and the same but for their ends.
LONG, OTHER = f"{'l' * 62}_a", f"{'l' * 62}_b"
PROBLEM = Problem(
    tuple(need(name, on_cores(name, 100.0)) for name in (LONG, OTHER, "short")),
    (chain(LONG, OTHER, "short"),),
    (machine("h", 40),),
)


def test_names_are_short_and_no_two_are_the_same() -> None:
    replicas = place(PROBLEM, {(0, 0, 0): 12, (1, 0, 0): 3, (2, 0, 0): 2})
    names = [one.id for one in replicas]
    assert len(set(names)) == 17
    assert max(map(len, names)) <= 64
    assert names[-2:] == ["short-0", "short-1"]
    assert [one.engine for one in replicas] == [LONG] * 12 + [OTHER] * 3 + ["short"] * 2


def test_those_that_stay_keep_theirs() -> None:
    before = place(PROBLEM, {(0, 0, 0): 1, (1, 0, 0): 2, (2, 0, 0): 1})
    after = place(PROBLEM, {(0, 0, 0): 2, (1, 0, 0): 2, (2, 0, 0): 1}, before)
    assert {one.id for one in before} < {one.id for one in after}
    assert len({one.id for one in after}) == 5
