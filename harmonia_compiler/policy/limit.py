"""How many requests of a pipeline may be under way at once, so that the most of them are answered in time.

Engines that work on many calls together have no queue that would show that there are too many: each takes longer, and
at some point all are late. Of `N` under way that take `T` and of which the part `F` is in time, `N F / T` a second
are. One more is worth its place while `e (1 + h) < 1`:

- `e` is by how many percent a request takes longer where one percent more are under way (`growing.py`): next to nothing
  where engines are idle, nearly one where they are full. Where times do not grow, there is no number of requests that
  would be in time rather than the others, and refusing some helps nobody, however many are late.
- `h` is by how many percent fewer are in time where all take one percent longer: from how many end just before their
  promise. Of those that were cut off at it nothing more is known, and nothing more is needed.

So a promise that leaves room is kept for nearly all who are let in, and one that hardly does for fewer: there, letting
nobody in who might be late would leave the engines idle. Times are parts of what was promised, so that requests with
other promises share a limit. It comes down while one more is not worth its place, and goes up while one is; both are
learned only from requests that were among nearly as many as may be. It moves by generations, as many requests as are
under way: in one it is seen what came of the one before, however few there are.

Where nearly all are late, each further late one takes it down, and each that has time left takes it up: it may be the
engines that were slow for a while, and as soon as they are not, all may come in again. Until then it does not fall far
below the number at which requests were in time last.
"""

import math
from dataclasses import dataclass, field

from harmonia_compiler.policy.growing import Coming, Crowd, Growing

#: By which part of itself the limit moves with a generation of requests, at most; as if they were at least so many.
PACE, LEAST_GENERATION = 0.5, 8.0
#: The limit begins so many times above what is under way: how many that is varies from one moment to the next.
SPARE = 1.2
#: A limit is nearly reached where at least so large a part of it is under way.
NEAR = 0.8
#: Where fewer than this part are in time, there are too many, or the engines are slow; where fewer than that, times say
#: nothing of growth, since they are cut off.
MANY, TELLS = 0.5, 0.2
#: Where more than this part are in time, and have time left, nobody is in the way of anybody.
NEARLY_ALL = 0.985
#: What is as close to its promise as this ended just before it.
JUST_BEFORE = 0.85
#: Over how many requests that end figures are taken: two generations, within these.
GENERATIONS, FEWEST, RECENT = 2.0, 30.0, 200.0
#: The part of the number at which requests were last in time below which the limit does not fall at once.
KEPT = 1.0 / 3.0
#: How fast that number is forgotten while none is in time: by which part with a generation.
FORGOTTEN = 0.02


@dataclass(slots=True)
class Limit:
    """The limit of one pipeline; there is none until one more was not worth its place."""

    most: float = math.inf
    growing: Growing = field(default_factory=Growing)
    _coming: Coming = field(default_factory=Coming)
    _ended: float = 0.0
    _in_time: float = 0.0
    _just_in_time: float = 0.0
    _timely: float = 0.0
    _good: float = 0.0

    def came(self, now: float, within_s: float) -> None:
        """A request came, to be answered within so many seconds, whether it is let in or not."""
        self._coming.came(now, within_s)

    def crowd(self, now: float, under_way: int) -> Crowd:
        """What a request meets that comes now, or leaves that ends: so many under way, itself among them."""
        return Crowd(under_way, min(self.most, self._coming.at(now)))

    def ended(self, met: Crowd, left: Crowd, part: float) -> None:
        """A request ended after such a part of what it was promised, all of it if late.

        Where those under way with it were not nearly as many as may be, it says nothing of how many more could be: what
        a burst taught is still known at the next one.
        """
        under_way = max(met.under_way, left.under_way)
        if self.most < math.inf and under_way < NEAR * self.most:
            return
        self._remember(under_way, part)
        self.growing.ended(met, left, part, tells=self._ended < FEWEST or self._in_time > TELLS)
        self._ended = min(self._ended + 1.0, RECENT, max(FEWEST, GENERATIONS * under_way))
        self._in_time += (float(part < 1.0) - self._in_time) / self._ended
        self._just_in_time += (float(JUST_BEFORE <= part < 1.0) - self._just_in_time) / self._ended
        if self._ended < FEWEST:
            return
        worth = self._worth(part)
        if worth < 0.0:
            self.most = min(self.most, SPARE * under_way)
        moved = self.most * (1.0 + PACE * worth / max(LEAST_GENERATION, self.most))
        if worth < 0.0:
            moved = max(moved, min(self.most, KEPT * self._good))
        self.most = max(1.0, moved)

    def _remember(self, under_way: int, part: float) -> None:
        """Take in how many were under way with a request that was in time, or forget some of it."""
        generation = max(20.0, under_way)
        if part < 1.0:
            self._timely = min(self._timely + 1.0, generation)
            self._good += (under_way - self._good) / self._timely
        else:
            self._good -= self._good * FORGOTTEN / generation

    def _worth(self, part: float) -> float:
        """What one more is worth where a request has ended so, from 1 for a whole one down to -1."""
        share, nearly = self._in_time, self._just_in_time
        if share < MANY:
            # So far beyond what can be in time, those that end just before it are no measure.
            return 1.0 if part < JUST_BEFORE else -1.0
        if share > NEARLY_ALL and nearly < 1.0 - NEARLY_ALL:
            return 1.0
        # With a little more time, as many are late as are in time only with a little less: if so many are late.
        losing = (nearly + min(nearly, 1.0 - share)) / 2.0 / share / -math.log(JUST_BEFORE)
        return max(-1.0, 1.0 - self.growing.by(share) * (1.0 + losing))
