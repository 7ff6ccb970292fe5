"""What a diagnosis says would satisfy a limit does satisfy it."""

from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from itertools import product

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harmonia_compiler.contract.inventory import Gpu, Host
from harmonia_compiler.plan.build import GIVE_UP
from harmonia_compiler.plan.diagnose import diagnose
from harmonia_compiler.plan.infeasible import Allow, Hosts, Infeasible, Later, Less, Looser, More, Remedy
from harmonia_compiler.plan.optimise import optimise
from harmonia_compiler.plan.problem import Problem, Promise
from tests.examples import examples
from tests.plan.random_problems import problems

#: The order in which limits are looked at: who has satisfied one may meet a later one.
LIMITS = ("E0722", "E0724", "E0723")


def larger(host: Host, more: More) -> Host:
    """A host with what is to be added to it."""
    added = dict(more.hardware.get(host.name, {}))
    cpus, memory = host.cpus + added.pop("cores", 0), host.memory_gib + added.pop("memory_gib", 0)
    gpus = (*host.gpus, *(Gpu(name, count) for name, count in added.items()))
    return msgspec.structs.replace(host, cpus=cpus, memory_gib=memory, gpus=gpus)


def followed(problem: Problem, remedy: Remedy) -> Problem:
    """The problem after a user has done what was said."""
    match remedy:
        case More():
            return replace(problem, hosts=tuple(larger(host, remedy) for host in problem.hosts))
        case Less(load_rps):
            lower = tuple(replace(one, load_rps=load_rps[one.name]) for one in problem.pipelines)
            return replace(problem, pipelines=lower)
        case Allow(replicas):
            needs = tuple(replace(one, maximum=replicas.get(one.engine, one.maximum)) for one in problem.needs)
            return replace(problem, needs=needs)
        case Hosts(like, _):
            added = [
                msgspec.structs.replace(host, name=f"{host.name} {at}")
                for host in problem.hosts
                for at in range(like.get(host.name, 0))
            ]
            return replace(problem, hosts=(*problem.hosts, *added))
        case Looser(promises):
            return reduce(followed, promises, problem)
        case Later(name, given, bound_ms):
            promised = {given: Promise(given.metric, given.quantile, bound_ms)}
            pipelines = tuple(
                replace(one, promises=tuple(promised.get(promise, promise) for promise in one.promises))
                if one.name == name
                else one
                for one in problem.pipelines
            )
            return replace(problem, pipelines=pipelines)


def ways(problem: Problem, said: Infeasible) -> Iterator[Problem]:
    """The problem after each choice of a remedy for each limit."""
    for chosen in product(*(limit.remedies for limit in said.limits)):
        yield reduce(followed, chosen, problem)


def place(said: Infeasible) -> int:
    (code,) = {limit.finding.code for limit in said.limits}
    return LIMITS.index(code)


@st.composite
def hard_problems(draw: st.DrawFn) -> Problem:
    """Small problems with loads, promises and minima that often are too much."""
    problem = draw(problems())
    times = draw(st.sampled_from([1.0, 3.7, 90.0]))
    sooner = draw(st.sampled_from([1.0, 0.4]))
    more = draw(st.sampled_from([0, 0, 5]))
    pipelines = tuple(
        replace(
            one,
            load_rps=one.load_rps * times,
            promises=tuple(replace(promise, bound_ms=promise.bound_ms * sooner) for promise in one.promises),
        )
        for one in problem.pipelines
    )
    needs = tuple(
        replace(one, minimum=one.minimum + more) if one.maximum is None else replace(one, stateful=one.maximum == 1)
        for one in problem.needs
    )
    return replace(problem, needs=needs, pipelines=pipelines, give_up=draw(st.sampled_from([0.0, GIVE_UP])))


@examples(60)
@given(hard_problems())
def test_who_follows_the_advice_satisfies_the_limit(problem: Problem) -> None:
    assume(all(any(one.labels.get("zone") == "a" for one in problem.hosts) or not n.hosts for n in problem.needs))
    assume(optimise(problem) is None)
    said = diagnose(problem)
    # Who has too few hosts is not told how a new one has to look.
    assume("E0728" not in {limit.finding.code for limit in said.limits})
    assert all(limit.remedies for limit in said.limits)
    for after in ways(problem, said):
        if optimise(after) is None:
            assert place(diagnose(after)) > place(said)


@pytest.mark.slow
@examples(60)
@given(hard_problems())
def test_hardware_to_add_is_enough_and_one_less_of_anything_is_not(problem: Problem) -> None:
    """A problem that knows no promises is one whose first limit is all that keeps it from a plan."""
    pipelines = tuple(replace(one, promises=()) for one in problem.pipelines)
    needs = tuple(replace(one, hosts=None, maximum=None, stateful=False) for one in problem.needs)
    problem = replace(problem, needs=needs, pipelines=pipelines, aim="cost", give_up=GIVE_UP)
    assume(optimise(problem) is None)
    said = diagnose(problem, lambda hosts: replace(problem, hosts=tuple(hosts)))
    for more in (one for limit in said.limits for one in limit.remedies if isinstance(one, More)):
        if {limit.finding.code for limit in said.limits} == {"E0723"}:
            assert optimise(followed(problem, more)) is not None
        for host, amounts in more.hardware.items():
            for resource, count in amounts.items():
                less = {**more.hardware, host: {**amounts, resource: count - 1}}
                assert optimise(followed(problem, More(less, more.named))) is None


@pytest.mark.slow
@examples(100)
@given(hard_problems(), st.sampled_from([0.05, 0.2, 0.7]))
def test_promises_are_blamed_where_hardly_any_load_keeps_them_and_the_bound_is_the_least(
    problem: Problem, sooner: float
) -> None:
    needs = tuple(replace(one, hosts=None, min_hosts=1) for one in problem.needs)
    tight = tuple(
        replace(one, promises=tuple(replace(promise, bound_ms=promise.bound_ms * sooner) for promise in one.promises))
        for one in problem.pipelines
    )
    problem = replace(problem, needs=needs, pipelines=tight)
    quiet = followed(problem, Less({one.name: one.load_rps * 1e-7 for one in problem.pipelines}))
    if optimise(problem) is not None:
        return
    said = diagnose(problem)
    later = [remedy for limit in said.limits for remedy in limit.remedies if isinstance(remedy, Later)]
    if {limit.finding.code for limit in said.limits} == {"E0723"}:
        assert optimise(quiet) is not None
    elif {limit.finding.code for limit in said.limits} == {"E0724"}:
        assert optimise(quiet) is None
        assert optimise(reduce(followed, later, quiet)) is not None
        for one in later:
            # A little less of any is too little, unless another is given more.
            tighter = [replace(each, bound_ms=each.bound_ms * (0.98 if each is one else 1.0)) for each in later]
            assert optimise(reduce(followed, tighter, quiet)) is None


@examples(30)
@given(hard_problems())
def test_advice_after_advice_ends_in_a_plan(problem: Problem) -> None:
    assume(all(any(one.labels.get("zone") == "a" for one in problem.hosts) or not n.hosts for n in problem.needs))
    for _ in LIMITS:
        if optimise(problem) is None:
            said = diagnose(problem)
            assume("E0728" not in {limit.finding.code for limit in said.limits})
            problem = next(ways(problem, said))
    assert optimise(problem) is not None
