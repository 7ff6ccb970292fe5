"""How likely nodes are demanded: beside all outcomes counted out, and of more branches than are told apart."""

import math
from itertools import pairwise, product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.program import Call, Not, Parameter, Select, inputs
from harmonia_compiler.contract.types import Bool, Text
from harmonia_compiler.flow import guards as module
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.expand import expand
from harmonia_compiler.flow.graph import Flow, Node
from harmonia_compiler.flow.guards import LIMIT, MOST_PATHS, Guards, guards
from tests.examples import examples
from tests.flow.library import KINDS, application


def _guards(flow: Flow, limit: int = LIMIT) -> Guards:
    return guards(expand(flow), [1.0], limit)


def _branching(chance: Random) -> tuple[Flow, dict[int, float]]:
    """A flow of calls and branches over up to seven conditions, each with one share wherever it is tested."""
    nodes = [Node(Parameter("question"), Text())]
    conditions: dict[int, float] = {}
    for _ in range(chance.randint(1, 7)):
        conditions[len(nodes)] = chance.choice((0.1, 0.3, 0.5, 0.9))
        nodes.append(Node(Call("sure", ("question",), (0,)), Bool()))
    tests = list(conditions.items())
    for at, share in conditions.items():
        tests.append((len(nodes), 1.0 - share))
        nodes.append(Node(Not(at), Bool()))
    texts = [0]

    def call() -> int:
        # Of one of the last texts, so that most of what is made is read.
        read = (chance.choice(texts[-4:]), chance.choice(texts[-4:]))
        nodes.append(Node(Call("join", ("one", "other"), read), Text()))
        return len(nodes) - 1

    for _ in range(chance.randint(1, 20)):
        made = call()
        if chance.random() < 0.7:
            condition, share = chance.choice(tests)
            then, otherwise = chance.sample([made, chance.choice([*texts[-4:], call()])], 2)
            nodes.append(Node(Select(condition, then, otherwise), Text(), share=share))
        texts.append(len(nodes) - 1)
    flow = Flow("p", (Port("question", Text()),), Text(), tuple(nodes), len(nodes) - 1)
    return flow, conditions


@pytest.mark.parametrize("most", [3, MOST_PATHS])
@given(seed=st.integers(0, 2**32 - 1))
@examples(200)
def test_probabilities_are_those_of_all_outcomes_counted_out(most: int, seed: int) -> None:
    flow, conditions = _branching(Random(seed))
    expected, together = _counted_out(flow, conditions)
    found = _found(flow, most)
    assert found.exact
    assert found.demanded == pytest.approx(expected)
    paths = {path.sent: path.likely for path in found.paths}
    if len(together) <= most:
        assert paths == pytest.approx(together)
    else:
        assert len(paths) <= most
        assert math.fsum(paths.values()) == pytest.approx(1.0)
        assert all(_sends(paths, sent) >= _sends(together, sent) - 1e-9 for sent in together)


@pytest.mark.parametrize(("most", "least"), [(3, 40), (MOST_PATHS, 5)])
def test_random_flows_have_more_paths_than_are_told_apart(most: int, least: int) -> None:
    ways = [len(_counted_out(*_branching(Random(seed)))[1]) for seed in range(100)]
    assert sum(each > most for each in ways) >= least


def _found(flow: Flow, most: int) -> Guards:
    """The guards of a flow of which at most so many paths are told apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_PATHS", most)
        return _guards(flow)


def _counted_out(flow: Flow, conditions: dict[int, float]) -> tuple[list[float], dict[frozenset[int], float]]:
    """How likely each node is demanded, and calls are sent together: each outcome of the conditions by itself."""
    expected = [0.0] * len(flow.nodes)
    together: dict[frozenset[int], float] = {}
    for outcome in product((True, False), repeat=len(conditions)):
        chosen = dict(zip(conditions, outcome, strict=True))
        likely = math.prod(conditions[at] if is_true else 1.0 - conditions[at] for at, is_true in chosen.items())
        demanded = _demanded(flow, chosen)
        for at in demanded:
            expected[at] += likely
        sent = frozenset(at for at in demanded if isinstance(flow.nodes[at].operation, Call))
        together[sent] = together.get(sent, 0.0) + likely
    return expected, together


def _sends(paths: dict[frozenset[int], float], calls: frozenset[int]) -> float:
    """How likely a request sends all of some calls."""
    return math.fsum(likely for sent, likely in paths.items() if sent >= calls)


def test_beyond_the_bound_demands_add_up_to_certainty() -> None:
    flow = _sequence(40, early_return=True)
    found = _guards(flow, limit=8)
    assert not found.exact
    assert found.demanded[0] == 1.0
    assert found.demanded == pytest.approx(_guards(flow).demanded)
    assert math.fsum(likely for likely, _, _ in found.paths) == pytest.approx(1.0)
    rarest_first = sorted((sent for _, sent, _ in found.paths), key=len, reverse=True)
    assert all(one > other for one, other in pairwise(rarest_first))


def _demanded(flow: Flow, chosen: dict[int, bool]) -> set[int]:
    """The nodes that a request demands whose conditions come out as chosen."""
    seen: set[int] = set()
    agenda = [flow.result]
    while agenda:
        at = agenda.pop()
        if at in seen:
            continue
        seen.add(at)
        match flow.nodes[at].operation:
            case Select(condition, then, otherwise):
                negated = flow.nodes[condition].operation
                is_true = not chosen[negated.operand] if isinstance(negated, Not) else chosen[condition]
                agenda += [condition, then if is_true else otherwise]
            case operation:
                agenda += inputs(operation)
    return seen


def _sequence(branches: int, *, early_return: bool) -> Flow:
    """`if sure(x) { x = rewrite(x) }` over and over, or `if sure(question) { return rewrite(question) }`."""
    nodes = [Node(Parameter("question"), Text())]
    pending: list[tuple[int, int]] = []
    value = 0
    for _ in range(branches):
        at = len(nodes)
        nodes.append(Node(Call("sure", ("question",), (value,)), Bool()))
        nodes.append(Node(Call("rewrite", ("question",), (value,)), Text()))
        if early_return:
            pending.append((at, at + 1))
        else:
            nodes.append(Node(Select(at, at + 1, value), Text(), share=0.5))
            value = at + 2
    result = value
    for condition, then in reversed(pending):
        nodes.append(Node(Select(condition, then, result), Text(), share=0.1))
        result = len(nodes) - 1
    return Flow("p", (Port("question", Text()),), Text(), tuple(nodes), result)


@pytest.mark.parametrize("branches", [12, 60, pytest.param(300, marks=pytest.mark.slow)])
def test_many_branches_in_a_row_stay_exact(branches: int) -> None:
    flow = _sequence(branches, early_return=False)
    found = demand(application(flow), flow, kinds=KINDS)
    assert found.exact
    assert found.visits == pytest.approx({"rewrite": branches / 2, "sure": branches})


@pytest.mark.parametrize("branches", [12, 60, pytest.param(300, marks=pytest.mark.slow)])
def test_many_early_returns_stay_exact(branches: int) -> None:
    flow = _sequence(branches, early_return=True)
    found = demand(application(flow), flow, kinds=KINDS)
    assert found.exact
    left = 1.0 - 0.9**branches
    assert found.visits == pytest.approx({"rewrite": left, "sure": left / 0.1})


def test_a_flow_of_thousands_of_nodes_is_weighed_without_recursion() -> None:
    flow = _sequence(1_500, early_return=False)
    assert sum(_guards(flow).demanded) > 1_500
