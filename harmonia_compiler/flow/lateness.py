"""How often what is bounded by `within` is late, and how long its calls last then, where calls take usual times.

Of each path that requests take, a block takes as long as its longest chain of calls: in the mean the sum of theirs, and
normal about it, with deviations whose squares add up. What is streamed counts until its first piece: from then on no
lateness is caught. Of the items of a list, those wait for others that find no place. Where a block's time has passed,
its calls end, whatever runs them, and the request takes what it falls back on: the longer a path, the more often.
"""

import math
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from statistics import NormalDist

import msgspec
import networkx as nx
from msgspec.structs import replace

from harmonia_compiler.contract.program import Call
from harmonia_compiler.flow.expand import FAILURE_SHARE, Expanded, Limited, scopes_around
from harmonia_compiler.flow.guards import Path
from harmonia_compiler.flow.takes import Takes

#: Where no more than this part takes longer than it may, nothing is made of that: a p95 is within the time.
_SELDOM = 0.04

#: Of the items that follow each other, so many are looked at.
_MOST_TURNS = 16


class Course(msgspec.Struct, frozen=True):
    """What is known of a flow before anything is late.

    `graph` says which calls wait for which, `paths` which ones requests send together, `items` how many there are in
    each scope, and `streamed` which calls hand their text on as it comes.
    """

    graph: "nx.DiGraph[int]"
    paths: Sequence[Path]
    items: Sequence[float]
    streamed: Collection[int]


class Way(msgspec.Struct, frozen=True):
    """A path of requests, of which one round of some calls, by position, lasts so many ms, as they are given up.

    Those that are `kept`, since what would take longer is not among them, take such a part of what they do otherwise,
    and deviate by such a part of that.
    """

    path: Path
    given_up: Mapping[int, float] = msgspec.field(default_factory=dict)
    kept: Mapping[int, tuple[float, float]] = msgspec.field(default_factory=dict)


def choices(expanded: Expanded) -> frozenset[int]:
    """The choices of which paths are to tell what they take: those of all requests alike, outside of any list."""
    return frozenset(each.choice for each in expanded.limited if each.choice is not None and not each.scope)


def with_lateness(
    expanded: Expanded, course_of: Callable[[Expanded], Course], takes: Takes
) -> tuple[Expanded, dict[str, float]]:
    """The flow in which late attempts fall back as well as those that fail.

    And how often what takes too long because of a component is late, for the latest place of each. `course_of` is asked
    again where what is inside of a block is late: the block takes other paths then.
    """
    timing = _Timing(expanded, course_of(expanded), takes)
    shares: dict[str, float] = {}
    changed: set[Limited] = set()
    for number, limited in enumerate(expanded.limited):
        inside = [each for each in expanded.limited[:number] if _holds(limited, each)]
        if not changed.isdisjoint(inside):
            timing, changed = _Timing(expanded, course_of(expanded), takes), set()
        reaching = [way for way in timing.ways(inside) if timing.reaches(way, limited)]
        reached = math.fsum(way.path.likely for way in reaching)
        if not reached:
            continue
        late = math.fsum(way.path.likely * timing.late(way, limited) for way in reaching) / reached
        slowest = timing.slowest(reaching, limited)
        shares[slowest] = max(shares.get(slowest, 0.0), late)
        if limited.choice is not None and late > 0.0:
            expanded = _falling_back(expanded, limited.choice, late)
            changed.add(limited)
    return expanded, shares


def late_ways(expanded: Expanded, course: Course, takes: Takes) -> tuple[Way, ...]:
    """The paths of a flow in which late attempts fall back, each as likely as it is late, with what is given up."""
    return tuple(way for way in _Timing(expanded, course, takes).ways(expanded.limited) if way.path.likely > 0.0)


class _Timing:
    """How long blocks take on the paths of one course."""

    def __init__(self, expanded: Expanded, course: Course, takes: Takes) -> None:
        self._expanded, self._course, self._takes = expanded, course, takes
        self._calls: dict[Limited, list[int]] = {}

    def ways(self, inside: Iterable[Limited]) -> list[Way]:
        """All paths, with what some blocks make of them; what is inside of another one comes before that."""
        ways = [Way(path) for path in self._course.paths]
        for limited in inside:
            late = [self.late(way, limited) if self.reaches(way, limited) else 0.0 for way in ways]
            ways = self._fallen(ways, limited, late)
            ways = [self._given_up(way, limited, share) for way, share in zip(ways, late, strict=True)]
        return ways

    def reaches(self, way: Way, limited: Limited) -> bool:
        """Whether a path sends any call of a block: the others say nothing of how long it takes."""
        return not way.path.sent.isdisjoint(self._calls_of(limited))

    def late(self, way: Way, limited: Limited) -> float:
        """How often a block is late on a path."""
        most = max(self._turns_around(at, limited) for at in self._calls_of(limited) if at in way.path.sent)
        looked_at = min(most, _MOST_TURNS)
        turns = [math.ceil((number + 0.5) * most / looked_at) for number in range(looked_at)]
        lasting = (self._lasts(way, limited, turn / most) for turn in turns)
        beyond = (_beyond(limited.within_ms, mean, self._takes.deviation * math.sqrt(own)) for mean, own in lasting)
        return math.fsum(beyond) / looked_at

    def slowest(self, ways: Iterable[Way], limited: Limited) -> str:
        """The component of the longest call of a block."""
        took = {
            at: self._took(way, limited, at, 1.0)[0]
            for way in ways
            for at in self._calls_of(limited)
            if at in way.path.sent
        }
        return _component(self._expanded, max(took, key=lambda at: (took[at], -at)))

    def _fallen(self, ways: Sequence[Way], limited: Limited, late: Sequence[float]) -> list[Way]:
        """Who takes longer falls back more often: as many fall back in all."""
        choice = limited.choice
        if not any(choice in way.path.fallen and self.reaches(way, limited) for way in ways):
            return [*ways]
        falls = [1.0 - (1.0 - FAILURE_SHARE) * (1.0 - share) for share in late]
        reached = [way.path.likely * self.reaches(way, limited) for way in ways]
        mean = math.fsum(map(operator.mul, reached, falls)) / math.fsum(reached)

        def times(way: Way, share: float) -> float:
            if not self.reaches(way, limited):
                return 1.0
            if choice in way.path.fallen:
                return share / mean
            return (1.0 - share) / (1.0 - mean) if mean < 1.0 else 0.0

        likely = [way.path.likely * times(way, share) for way, share in zip(ways, falls, strict=True)]
        whole = math.fsum(likely)
        return [
            replace(way, path=way.path._replace(likely=each / whole)) for way, each in zip(ways, likely, strict=True)
        ]

    def _given_up(self, way: Way, limited: Limited, late: float) -> Way:
        """Calls of a block whose time has passed end with it."""
        if not self.reaches(way, limited):
            return way
        mean, squares = self._lasts(way, limited, 1.0)
        fell = limited.choice in way.path.fallen
        if mean <= 0.0 or (limited.choice is not None and not fell and self._is_streamed(way, limited)):
            return way
        if mean <= limited.within_ms and not (fell and late > FAILURE_SHARE):
            return self._kept(way, limited, mean, self._takes.deviation * math.sqrt(squares))
        scale = limited.within_ms / mean
        ends = {
            at: self._took(way, limited, at, 1.0)[0] / self._rounds(limited, at) * scale
            for at in self._calls_of(limited)
            if at in way.path.sent
        }
        return replace(way, given_up={**way.given_up, **ends})

    def _kept(self, way: Way, limited: Limited, mean: float, deviation: float) -> Way:
        """Calls of a block that keeps its time: what takes longer is cut off, or is another path's."""
        if _beyond(limited.within_ms, mean, deviation) <= _SELDOM:
            return way
        least, part = _within(limited.within_ms, mean, deviation)
        times = least / mean, part / deviation * mean / least
        calls = {at for at in self._calls_of(limited) if at in way.path.sent and at not in way.given_up}
        before = {at: way.kept.get(at, (1.0, 1.0)) for at in calls}
        return replace(
            way, kept={**way.kept} | {at: (times[0] * one, times[1] * two) for at, (one, two) in before.items()}
        )

    def _is_streamed(self, way: Way, limited: Limited) -> bool:
        return any(at in self._course.streamed and at in way.path.sent for at in self._calls_of(limited))

    def _lasts(self, way: Way, limited: Limited, turn: float) -> tuple[float, float]:
        """The mean and the squares of the longest chain of a block's calls, for an item so far among the others."""
        calls, sent = self._calls_of(limited), way.path.sent
        ended: dict[int, tuple[float, float]] = {}
        graph = self._course.graph
        for at in nx.topological_sort(graph.subgraph(calls)):
            mean, own = max((ended[before] for before in graph.predecessors(at) if before in ended), default=(0.0, 0.0))
            # One that is not sent takes no time, and what follows it still follows what it would have waited for.
            ms, squares = self._took(way, limited, at, turn) if at in sent else (0.0, 0.0)
            ended[at] = mean + ms, own + squares
        return max(ended.values(), default=(0.0, 0.0))

    def _took(self, way: Way, limited: Limited, at: int, turn: float) -> tuple[float, float]:
        """The mean and the squares of all rounds of a call in one run of a block; a component unknown takes no time.

        The items of a list follow each other where no more may be worked on at once: those in the block, and those of
        lists around it, of which this one is so far, as a part of all.
        """
        rounds = self._rounds(limited, at)
        if (given_up := way.given_up.get(at)) is not None:
            return rounds * given_up, 0.0
        component, scopes = _component(self._expanded, at), self._scopes_in(at, limited)
        if scopes and component in self._takes.together and at not in self._course.streamed:
            ms, deviation = self._takes.together[component](math.prod(self._course.items[each] for each in scopes))
            return rounds * ms, (rounds * ms * deviation / self._takes.deviation) ** 2
        each = self._takes.first_ms if at in self._course.streamed else self._takes.ms
        around = math.ceil(turn * self._turns_around(at, limited) - 1e-9)
        ms, turns = each.get(component, 0.0), self._turns(at, scopes) + max(1, around) - 1
        less, spread = way.kept.get(at, (1.0, 1.0))
        ms *= less
        return rounds * ms * turns, (rounds * ms * spread) ** 2 * turns

    def _rounds(self, limited: Limited, at: int) -> float:
        return self._expanded.rounds[at] / limited.rounds

    def _turns_around(self, at: int, limited: Limited) -> int:
        """How many items of the lists around a block follow each other at a call."""
        return self._turns(at, scopes_around(self._expanded, limited.scope))

    def _turns(self, at: int, scopes: Iterable[int]) -> int:
        at_once = self._takes.at_once.get(_component(self._expanded, at), math.inf)
        return max(1, math.ceil(math.prod(self._course.items[scope] for scope in scopes) / at_once - 1e-9))

    def _scopes_in(self, at: int, limited: Limited) -> list[int]:
        outside = scopes_around(self._expanded, limited.scope)
        return [scope for scope in scopes_around(self._expanded, self._expanded.scopes[at]) if scope not in outside]

    def _calls_of(self, limited: Limited) -> list[int]:
        if limited not in self._calls:
            nodes = self._expanded.flow.nodes
            between = range(limited.first, limited.end)
            self._calls[limited] = [at for at in between if isinstance(nodes[at].operation, Call)]
        return self._calls[limited]


def _holds(outer: Limited, inner: Limited) -> bool:
    return outer.first <= inner.first and inner.end <= outer.end


def _falling_back(expanded: Expanded, choice: int, late: float) -> Expanded:
    nodes = list(expanded.flow.nodes)
    share = nodes[choice].share
    assert share is not None
    nodes[choice] = replace(nodes[choice], share=share * (1.0 - late))
    return replace(expanded, flow=replace(expanded.flow, nodes=tuple(nodes)))


def _component(expanded: Expanded, at: int) -> str:
    call = expanded.flow.nodes[at].operation
    assert isinstance(call, Call)
    return call.component


def _beyond(bound: float, mean: float, deviation: float) -> float:
    return 1.0 - NormalDist(mean, deviation).cdf(bound) if deviation > 0.0 else float(mean > bound)


def _within(bound: float, mean: float, deviation: float) -> tuple[float, float]:
    """The mean and the deviation of those of a normal distribution that are within a bound.

    The deviation no more than leaves a p95 within the bound, as if they were normal themselves.
    """
    normal = NormalDist()
    at = (bound - mean) / deviation
    hazard = normal.pdf(at) / normal.cdf(at)
    within = max(mean / 10.0, mean - deviation * hazard)
    spread = deviation * math.sqrt(max(0.0, 1.0 - at * hazard - hazard * hazard))
    return within, min(spread, (bound - within) / normal.inv_cdf(0.95))
