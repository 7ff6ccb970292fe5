"""From the figures of single replicas to rates and latency quantiles: what the planner assumes about chance."""

import math

from harmonia_compiler.plan.problem import Need, Problem
from harmonia_compiler.profile.profiles import Option

#: How many times as long as on the fastest a call may take on the slowest replica of its engine, were it alone there.
MOST_SPREAD = 10.0

#: Standard deviation of what one step takes, as a part of its mean, or, if that is longer, of what it takes on the
#: slowest of the replicas that it may meet, when that is idle; steps are taken to be independent of each other.
LATENCY_CV = 0.5

#: What each path of a pipeline may have late at least, of the part of all requests that may be.
LEAST_PART = 0.1

#: Quantiles are held to be within these: a promise about less than the median would say next to nothing.
QUANTILES = (0.5, 0.9999)

#: What no promise is held to, in ms: the solver's rows hold to 1e-9 s each, and a chain of calls has a row for each.
INSTANT_MS = 1e-4


def capacity(problem: Problem, need: Need, option: Option) -> float:
    """How many times the loads one replica carries when it is never idle; infinite where nothing is called."""
    calls = problem.calls_rps(need)
    busy = sum(calls[component] * option.busy_ms[component] / 1000.0 for component in need.components)
    return 1.0 / busy if busy > 0 else float("inf")


def waves(count: float, option: Option) -> int:
    """How often in a row a replica answers until it has answered so many calls that are sent at once.

    As if they all met one replica, of which a batch begins when the one before has ended: others may take some of them,
    but nothing promises that, and calls of other requests wait there as well.
    """
    return max(1, math.ceil(count / option.configuration.batch - 1e-9))


def alone_ms(problem: Problem, need: Need, option: Option) -> float:
    """The mean time of a call of the engine's mix on a replica that is hardly busy."""
    calls = problem.calls_rps(need)
    weights = calls if sum(calls.values()) > 0 else dict.fromkeys(calls, 1.0)
    return sum(weights[name] * option.latency_ms[name][0] for name in need.components) / sum(weights.values())


def mixes(fastest_ms: float, slowest_ms: float) -> bool:
    """Whether options that take so long alone may stand together; just MOST_SPREAD times is not yet too much."""
    return slowest_ms <= fastest_ms * MOST_SPREAD * (1.0 + 1e-9)


def mixtures(problem: Problem, need: Need) -> list[set[int]]:
    """The largest sets of options, by their positions, that an engine may use together."""
    times = [alone_ms(problem, need, option) for option in need.options]
    found: list[set[int]] = []
    for fastest in sorted(set(times)):
        together = {at for at, time in enumerate(times) if fastest <= time and mixes(fastest, time)}
        if not any(together <= other for other in found):
            found.append(together)
    return found
