"""Random tiny planning problems, of which most can be planned, many only just.

A problem that nothing satisfies says little about plans. So hosts are mostly large enough for what is asked, and
promises are drawn around what calls take on the fastest of their options.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Literal

import msgspec
from hypothesis import strategies as st

from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.plan.problem import Need, Path, Pipeline, Problem, Promise, Step
from harmonia_compiler.profile.profiles import Option
from tests.plan.problems import also, batching, machine, need, on_cores, on_gpu, streaming

_BUSY = (10.0, 25.0, 40.0, 100.0, 333.0)
#: How many times as long as the longest chain of calls lasts on idle replicas a request may take.
_TIMES = (0.8, 2.0, 3.0, 5.0, 15.0)
_SEEDS = st.integers(0, 2**32 - 1)
_METRICS: tuple[Literal["latency", "ttft"], ...] = ("latency", "ttft")


def problems() -> st.SearchStrategy[Problem]:
    """As `make_problem` makes them."""
    # Hypothesis likes small choices, and what is small here is alike: it draws a seed alone.
    return _SEEDS.map(lambda seed: make_problem(Random(seed)))


def pipelines(*names: str) -> st.SearchStrategy[Pipeline]:
    """Pipelines `p` of these components, as `make_pipeline` makes them."""
    return _SEEDS.map(lambda seed: make_pipeline(Random(seed), names, "p"))


def make_problem(chance: Random) -> Problem:
    """Two or three engines with one or two options each, on one or two hosts with at most three cores and GPUs.

    One engine may be shared by two components.
    """
    needs = [_need(chance, name, shares=at < 2) for at, name in enumerate(("a", "b", "c")[: chance.choice((2, 2, 3))])]
    names = [one.engine for one in needs]
    if chance.random() < 0.5:
        options = tuple(also(one, "a2", chance.choice(_BUSY), chance.choice(_BUSY)) for one in needs[0].options)
        needs[0] = replace(needs[0], components=("a", "a2"), options=options)
        names.append("a2")
    hosts = [_host(chance, f"h{at}") for at in range(chance.choice((1, 2, 2)))]
    if len(hosts) == 1:
        needs = [replace(one, min_hosts=1) for one in needs]
    served = tuple(_promising(chance, make_pipeline(chance, names, name), needs) for name in _some(chance, "p", "q"))
    return Problem(tuple(needs), served, tuple(hosts), chance.choice(("throughput", "cost")))


def _some(chance: Random, *of: str) -> tuple[str, ...]:
    return of[: chance.randint(1, len(of))]


def _need(chance: Random, name: str, *, shares: bool) -> Need:
    """What an engine needs; one that shares may have an option of half a GPU or of two."""
    make = chance.choice((on_cores, on_gpu))
    options = [make(name, chance.choice(_BUSY), latency_ms=chance.choice(_BUSY))]
    if shares and chance.random() < 0.5:
        options.append(
            on_gpu(name, chance.choice(_BUSY), gpus=chance.choice((0.5, 2.0)), latency_ms=chance.choice(_BUSY))
        )
    options = [batching(streaming(one, chance.choice((0.2, 1.0))), chance.choice((1, 2))) for one in options]
    maximum = chance.choice((None, None, 1, 2))
    min_hosts = 1 if maximum == 1 else chance.choice((1, 1, 1, 1, 2))
    minimum = max(1 if maximum == 1 else chance.choice((1, 1, 1, 2)), min_hosts)
    made = need(name, *options, minimum=minimum, maximum=maximum)
    return replace(made, hosts="zone=a" if chance.random() < 0.08 else None, min_hosts=min_hosts)


def _host(chance: Random, name: str) -> Host:
    host = machine(name, chance.choice((1, 2, 3, 3)), chance.choice((0, 1, 2, 2, 2)), chance.choice((0.0, 1.0, 2.5)))
    return msgspec.structs.replace(host, labels=chance.choice(({"zone": "a"}, {"zone": "a"}, {"zone": "b"}, {})))


def make_pipeline(chance: Random, names: Sequence[str], name: str) -> Pipeline:
    """Calls of some components in a random order of waiting; some steps may be streamed. It promises nothing."""
    steps = tuple(
        Step(
            each,
            tuple(one for one in range(at) if chance.random() < 0.5),
            usual_ms=chance.choice((1.0, 4.0, 30.0)),
            usual_first_ms=chance.choice((1.0, 20.0)),
            count=chance.choice((1.0, 1.0, 1.4, 3.0)),
            rounds=chance.choice((1.0, 1.0, 2.5)),
        )
        for at, each in enumerate(names)
    )
    streamed = tuple(s for s in range(len(steps)) if chance.random() < 0.5)
    visits = {each: chance.choice((0.3, 1.0, 2.0)) for each in names}
    load = chance.choice((0.5, 2.0, 7.0))
    return Pipeline(name, load, visits, steps, streamed, (), _paths(chance, len(steps)))


def _paths(chance: Random, steps: int) -> tuple[Path, ...]:
    """What requests take of some steps: all of them, or one of some parts."""
    parts = chance.choice(((), (1.0,), (0.97, 0.03), (0.94, 0.06), (0.5, 0.5), (0.6, 0.36, 0.04)))
    return tuple(_path(chance, part, steps) for part in parts)


def _path(chance: Random, part: float, steps: int) -> Path:
    taken = frozenset(s for s in range(steps) if chance.random() < 0.5)
    given_up = tuple((s, 15.0 + s) for s in range(steps) if chance.random() < 0.25)
    left = {s for s, _ in given_up}
    kept = tuple((s, 0.6, 0.4) for s in range(steps) if s not in left and chance.random() < 0.25)
    return Path(part, taken, given_up, kept)


def _promising(chance: Random, pipeline: Pipeline, needs: Sequence[Need]) -> Pipeline:
    """The pipeline with promises, or none."""
    alone_ms = _alone_ms(pipeline, {name: one.options for one in needs for name in one.components})
    metrics = [metric for metric in _METRICS if chance.random() < 0.5]
    promises = tuple(Promise(metric, 0.95, alone_ms * chance.choice(_TIMES)) for metric in metrics)
    return replace(pipeline, promises=promises)


def _alone_ms(pipeline: Pipeline, options: dict[str, tuple[Option, ...]]) -> float:
    """How long the longest chain of calls lasts, each on an idle replica of its fastest option."""
    until: list[float] = []
    for step in pipeline.steps:
        fastest = min(one.latency_ms[step.component][0] for one in options[step.component])
        until.append(max((until[before] for before in step.after), default=0.0) + step.rounds * step.count * fastest)
    return max(until)
