"""Works quantiles and the mean of a pipeline's latency out again, for the verifier: what `plan/weights.py` says.

Nothing of what makes plans and predictions is called here. Each path is followed back from its last steps, and the time
that enough requests keep to is sought among the distributions of the paths.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import NormalDist
from typing import NamedTuple

from harmonia_compiler.plan.problem import Path, Pipeline, Problem, Step
from harmonia_compiler.plan.queueing import GIVEN_UP_SPREAD, LATENCY_CV, LEAST_PART, LENGTH_CV2, QUANTILES
from harmonia_compiler.profile.queueing import LEVELS, SERVICE_CV2


class Replica(NamedTuple):
    """What a replica takes at once, when it would never be idle, and how long for a call and until its first piece.

    Times are by level of utilisation; `busy` is how much of the replica's time a call takes in a full batch, and `adds`
    by how much a further one makes it longer, where that is said.
    """

    batch: int
    full: float
    latency: Sequence[float]
    first: Sequence[float]
    busy: float
    adds: float | None = None


#: For each component its replicas.
Replicas = Mapping[str, Sequence[Replica]]

#: A sum of times, and that of their squares.
_Sums = tuple[float, float]

#: What a call takes in the mean, and what it deviates from that by a part of.
_Call = tuple[float, float]

_NOWHERE = (-math.inf, 0.0)


def reckoned(
    problem: Problem, pipeline: Pipeline, replicas: Replicas, rate: float, metric: str, quantile: float
) -> float:
    """A quantile of a metric, in ms, of a pipeline whose calls the replicas take at a rate."""
    steps = pipeline.steps
    streamed = frozenset(pipeline.streamed if metric == "ttft" else ())
    ways = [(path.likely, _Way(steps, path, streamed & path.steps)) for path in _paths(pipeline)]
    late = 1.0 - max(QUANTILES[0], min(QUANTILES[1], quantile))
    reached = _reached([(likely, way.spread) for likely, way in ways], late)
    times = _times(problem, steps, replicas, rate)
    return max((way.weighed(reached, late, times) for _, way in ways), default=0.0)


def reckoned_mean(problem: Problem, pipeline: Pipeline, replicas: Replicas, rate: float) -> float:
    """How long requests take in the mean, in ms, of a pipeline whose calls the replicas take at a rate."""
    times = _times(problem, pipeline.steps, replicas, rate)
    ways = ((path.likely, _Way(pipeline.steps, path, frozenset())) for path in _paths(pipeline))
    return math.fsum(likely * way.mean(times) for likely, way in ways)


def _paths(pipeline: Pipeline) -> Sequence[Path]:
    return pipeline.paths or (Path(1.0, frozenset(range(len(pipeline.steps)))),)


def _times(problem: Problem, steps: Sequence[Step], replicas: Replicas, rate: float) -> list[tuple[_Call, _Call]]:
    """What all rounds of each step take, and one to its first piece."""
    once = {_sort(step): _calls(problem, step, replicas, rate) for step in steps}
    calls = [(step.rounds, *once[_sort(step)]) for step in steps]
    return [((rounds * mean, rounds * more), first) for rounds, (mean, more), first in calls]


def _sort(step: Step) -> tuple[str, float]:
    """Steps that are alike in this take as long a round."""
    return step.component, step.count


def _calls(problem: Problem, step: Step, replicas: Replicas, rate: float) -> tuple[_Call, _Call]:
    """What a round of a step takes, whole and to the first piece: in the mean, and what it deviates by a part of.

    A replica takes as many calls as its batch at once, and of more that come together the rest waits its turn. Two that
    it takes at once last longer than one: by what each adds to its work.
    """
    alone = problem.external_ms.get(step.component)
    if alone is not None:
        return (alone, alone), (alone, alone)
    whole, first = [], []
    for replica in replicas[step.component]:
        turns = max(1, math.ceil((step.count - 1e-6) / replica.batch))
        besides = max(0.0, step.count - turns) * _adds(replica)
        longest = turns * _longest(replica, min(step.count, replica.batch))
        lasting, begun = (_turns(replica, step.count, each, turns) for each in (replica.latency, replica.first))
        whole.append((replica.full, [ms + longest + besides for ms in lasting]))
        first.append((replica.full, [ms + besides for ms in begun]))
    return _spread(whole, rate), _spread(first, rate)


def _turns(replica: Replica, count: float, times: Sequence[float], turns: int) -> list[float]:
    """What so many turns take: each of them all of the time, or the wait once where answers are not written together.

    That is no shorter than for as many as come at once, served by all of the replica: the mean of what is there.
    """
    if replica.adds is not None:
        return [turns * ms for ms in times]
    alone, found = times[0], []
    for level, ms in zip(LEVELS, times, strict=True):
        waits = max(ms - alone, 0.0)
        if count > 1.0:
            varies = (1.0 + LENGTH_CV2) * count + SERVICE_CV2 - LENGTH_CV2
            ahead = varies * replica.busy / 2.0
            waits = max(waits, ahead * (1.0 / (1.0 - level) - 1.0 / (1.0 - LEVELS[0])))
        found.append(turns * alone + waits)
    return found


def _adds(replica: Replica) -> float:
    """What a call adds to a batch: what a full one lasts beyond a batch of one, shared by those that make it longer."""
    others = replica.batch - 1
    if replica.adds is not None:
        return replica.adds if others else 0.0
    return max(0.0, (replica.batch * replica.busy - replica.latency[0]) / others) if others else 0.0


def _longest(replica: Replica, together: float) -> float:
    """What the longest of some answers that are written together takes more than one does in the mean."""
    if replica.adds is None or together <= 1.0:
        return 0.0
    variance = math.log(1.0 + LATENCY_CV**2)
    times = math.exp(math.sqrt(variance) * NormalDist().inv_cdf((together - 3 / 8) / (together + 1 / 4)) - variance / 2)
    return max(0.0, replica.latency[0] - replica.first[0]) * max(0.0, times - 1.0)


def _spread(replicas: Sequence[tuple[float, Sequence[float]]], rate: float) -> _Call:
    """The least that calls take in the mean over replicas, and that or what they take on the slowest idle one.

    By duality: no price of a call in progress says more of what calls at this rate have in progress altogether than
    that, and one of those at which a replica would be busy for another part of the time says just that. Replicas that
    are alike are asked once.
    """
    least = min(min(times) for _, times in replicas)
    slowest = max(times[0] for _, times in replicas)
    most = sum(full for full, _ in replicas) * LEVELS[-1]
    if rate <= 0.0 or math.isinf(most):
        return least, max(least, slowest)
    points = [
        (many * full, [(0.0, 0.0), *((level, level * ms) for level, ms in zip(LEVELS, times, strict=True))])
        for (full, times), many in Counter((full, tuple(times)) for full, times in replicas).items()
    ]
    prices = {
        (above - below) / (more - less) for _, own in points for (less, below), (more, above) in combinations(own, 2)
    }
    carried = min(rate, most)

    def says(price: float) -> float:
        rest = (full * max(price * busy - spent for busy, spent in own) for full, own in points)
        return price * carried - math.fsum(rest)

    mean = max(map(says, prices)) / carried
    return mean, max(mean, slowest)


class _Way:
    """One path in usual times. `toward[s]` is the longest chain from the start of a step to what ends the path."""

    def __init__(self, steps: Sequence[Step], path: Path, pieces: frozenset[int]) -> None:
        self.steps, self.taken, self.pieces = steps, path.steps, pieces
        self.given_up = {s: ms for s, ms in path.given_up if s in path.steps}
        self.kept = {s: (part, spread) for s, part, spread in path.kept}
        self.followers: list[list[int]] = [[] for _ in steps]
        for s, step in enumerate(steps):
            for before in step.after:
                self.followers[before].append(s)
        self.whole = [
            self._sums(s, self._part(s) * step.usual_ms, self.kept.get(s, (1.0, 1.0))[1], step.rounds)
            if s in self.taken
            else (0.0, 0.0)
            for s, step in enumerate(steps)
        ]
        self.first = {s: self._sums(s, steps[s].usual_first_ms, 1.0, 1.0) for s in pieces}
        self.toward: dict[int, _Sums] = {}
        for s in reversed(range(len(steps))):
            self.toward[s] = max(_sum(self.whole[s], self._onward(s)), self.first.get(s, _NOWHERE))
        self.until: dict[int, _Sums] = {}
        for s, step in enumerate(steps):
            ended = [_sum(self.until[at], self.whole[at]) for at in step.after]
            self.until[s] = max(ended, default=(0.0, 0.0))
        total = max((self.toward[s] for s, step in enumerate(steps) if not step.after), default=(0.0, 0.0))
        self.spread = NormalDist(total[0], LATENCY_CV * math.sqrt(total[1])) if total[0] > 0 else None

    def _part(self, s: int) -> float:
        """What part of a step's time counts, as it keeps a time that others exceed."""
        return self.kept[s][0] if s in self.kept else 1.0

    def _sums(self, s: int, ms: float, spread: float, rounds: float) -> _Sums:
        if s in self.given_up:
            ms, spread = self.given_up[s], GIVEN_UP_SPREAD
        spent = max(ms, 1e-6) * rounds
        return spent, (spread * spent) ** 2

    def _onward(self, s: int) -> _Sums:
        """The longest chain after a step has ended."""
        ends = _NOWHERE if self.pieces else (0.0, 0.0)
        return max([ends, *(self.toward[after] for after in self.followers[s])])

    def weighed(self, reached: float, late: float, times: Sequence[tuple[_Call, _Call]]) -> float:
        """The longest chain of the times that steps take, each by what it counts where that is reached."""
        if self.spread is None:
            return 0.0
        above = min((reached - self.spread.mean) / self.spread.stdev, NormalDist().inv_cdf(1.0 - LEAST_PART * late))

        def counts(own: _Sums, chain: _Sums) -> float:
            return max(0.0, 1.0 + above * LATENCY_CV * own[1] / own[0] / math.sqrt(chain[1])) if own[0] else 0.0

        found: dict[int, float] = {}
        for s in reversed(range(len(self.steps))):
            onward = max((found[after] for after in self.followers[s]), default=-math.inf if self.pieces else 0.0)
            through = _sum(_sum(self.until[s], self.whole[s]), self._onward(s))
            found[s] = (
                _by(self._part(s) * counts(self.whole[s], through), self._took(s, times)[0]) + onward
                if through[0] > -math.inf
                else -math.inf
            )
            if s in self.pieces:
                piece = _by(counts(self.first[s], _sum(self.until[s], self.first[s])), self._took(s, times)[1])
                found[s] = max(found[s], piece)
        return max(found.values())

    def mean(self, times: Sequence[tuple[_Call, _Call]]) -> float:
        """The longest chain of the times that steps take in the mean."""
        found: dict[int, float] = {}
        for s in reversed(range(len(self.steps))):
            own = self._part(s) * self._took(s, times)[0][0] if s in self.taken else 0.0
            found[s] = own + max((found[after] for after in self.followers[s]), default=0.0)
        return max(found.values(), default=0.0)

    def _took(self, s: int, times: Sequence[tuple[_Call, _Call]]) -> tuple[_Call, _Call]:
        if s not in self.given_up:
            return times[s]
        ms, rounds = self.given_up[s], self.steps[s].rounds
        return (rounds * ms, rounds * ms), (ms, ms)


def _by(weight: float, call: _Call) -> float:
    """A call's mean, and so much of what it deviates by as its weight is more than one; or less of the mean."""
    mean, deviating = call
    return mean + max(0.0, weight - 1.0) * deviating - max(0.0, 1.0 - weight) * mean


def _sum(one: _Sums, other: _Sums) -> _Sums:
    return one[0] + other[0], one[1] + other[1]


def _reached(ways: Sequence[tuple[float, NormalDist | None]], late: float) -> float:
    """The time that no more than this part of the requests exceeds, of which each way has its least part at least."""
    spreads = [(likely, spread) for likely, spread in ways if spread is not None]
    low, high = 0.0, max((spread.mean + 10.0 * spread.stdev for _, spread in spreads), default=0.0)
    for _ in range(200):
        middle = low + (high - low) / 2
        exceed = sum(likely * max(LEAST_PART * late, 1.0 - spread.cdf(middle)) for likely, spread in spreads)
        low, high = (low, middle) if exceed <= late else (middle, high)
    return high
