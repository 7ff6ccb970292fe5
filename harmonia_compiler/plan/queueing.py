"""From the figures of single replicas to rates and latency quantiles: what the planner assumes about chance."""

import math
from statistics import NormalDist

from harmonia_compiler.plan.problem import Need, Problem
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import LEVELS, SERVICE_CV2

#: How many times as long as on the fastest a call may take on the slowest replica of its engine, were it alone there.
MOST_SPREAD = 10.0

#: Standard deviation of what one step takes, as a part of its mean, or, if that is longer, of what it takes on the
#: slowest of the replicas that it may meet, when that is idle; steps are taken to be independent of each other.
LATENCY_CV = 0.5

#: What is given up ends when its time has passed: it deviates by so much of what other calls do.
GIVEN_UP_SPREAD = 0.02

#: What each path of a pipeline may have late at least, of the part of all requests that may be.
LEAST_PART = 0.1

#: Quantiles are held to be within these: a promise about less than the median would say next to nothing.
QUANTILES = (0.5, 0.9999)

#: What no promise is held to, in ms: the solver's rows hold to 1e-9 s each, and a chain of calls has a row for each.
INSTANT_MS = 1e-4


#: Squared coefficient of variation of the lengths of lists.
LENGTH_CV2 = 0.25


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


def together_ms(count: float, option: Option, component: str, level: int, *, first: bool = False) -> float:
    """How long a replica takes to answer so many calls that are sent at once, at one of the levels of utilisation.

    In one batch each further call adds what is its own: what a step does for all of them, such as reading the
    weights, is in the time of the first. All are answered once the longest answer is; that says nothing of the `first`
    pieces. Where they are not written together, they wait for lists of other requests (`list_wait_ms`).
    """
    times = (option.first_ms if first else option.latency_ms)[component]
    turns, besides = waves(count, option), max(0.0, count - waves(count, option)) * own_ms(option, component)
    if component in option.adds_ms:
        lasting = times[level] if first else times[level] + _longer_ms(count, option, component)
        return turns * lasting + besides
    waits = max(0.0, times[level] - times[0])
    if count > 1.0:
        waits = max(waits, list_wait_ms(count, option, component, level))
    return turns * times[0] + besides + waits


def list_wait_ms(count: float, option: Option, component: str, level: int) -> float:
    """How long so many calls that are sent at once wait where others come in as many.

    To a line of lists a replica is one server, however many calls it takes at once. What a list takes varies less than
    a single call does, by as much as it has more of them, and as its length does (Pollaczek and Khinchine). At the
    lowest level it is alone.
    """
    crowding = LEVELS[level] / (1.0 - LEVELS[level]) - LEVELS[0] / (1.0 - LEVELS[0])
    return crowding * count * option.busy_ms[component] * (1.0 + list_cv2(count)) / 2.0


def list_cv2(count: float) -> float:
    """The squared coefficient of variation of what so many calls take in a row."""
    return LENGTH_CV2 + (SERVICE_CV2 - LENGTH_CV2) / count


def own_ms(option: Option, component: str) -> float:
    """What a further call adds to a batch.

    Where no profile says it: one alone takes a + b ms, of which b are its own, and with a full batch of n each keeps
    the replica busy for a / n + b; two equations for b.
    """
    batch, alone_ms = option.configuration.batch, option.latency_ms[component][0]
    if batch <= 1:
        return 0.0
    if component in option.adds_ms:
        return option.adds_ms[component]
    return max(0.0, (option.busy_ms[component] - alone_ms / batch) / (1.0 - 1.0 / batch))


def _longer_ms(count: float, option: Option, component: str) -> float:
    """By how much the longest of the answers in a batch lasts longer than one does in the mean.

    Of those that say what a further call adds, which are those that are written token by token: what follows the first
    piece. Lengths are taken to be lognormal, and the longest of n to be where n / (n + 1) of them are shorter, or about
    that (Blom 1958).
    """
    together = min(count, float(option.configuration.batch))
    if component not in option.adds_ms or together <= 1.0:
        return 0.0
    written = max(0.0, option.latency_ms[component][0] - option.first_ms[component][0])
    scale = math.sqrt(math.log1p(LATENCY_CV**2))
    beyond = NormalDist().inv_cdf((together - 0.375) / (together + 0.25))
    return written * max(0.0, math.exp(scale * beyond - scale**2 / 2.0) - 1.0)


def together_spread(count: float, option: Option, component: str) -> float:
    """How much that deviates, as a part of what one call deviates that takes as long: by the squares of its parts.

    The longest of many deviates less than any of them. That is of one list alone: where others come, all of it waits.
    """
    whole, turns = together_ms(count, option, component, 0), waves(count, option)
    own, further = own_ms(option, component), max(0.0, count - turns)
    lasting = (whole - further * own) / turns
    if component in option.adds_ms:
        lasting /= math.sqrt(1.0 + math.log(max(1.0, min(count, option.configuration.batch))))
    return math.sqrt(turns * lasting**2 + further * own**2) / whole if whole > 0.0 else 1.0


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
