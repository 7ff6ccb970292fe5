"""How many requests of a pipeline may be worked on at once, so that the most of them are answered in time.

Engines that work on many calls together have no queue that would show that there are too many: each takes longer, and
at some point all are late. Of `N` at work that take `T` and of which the part `F` is in time, `N F / T` a second
are. One more is worth its place while `e (1 + h) < 1`:

- `e` is by how many percent a request takes longer where one percent more are worked on (`growing.py`): next to nothing
  where engines are idle, nearly one where they are full. Where times do not grow, there is no number of requests that
  would be in time rather than the others, and refusing some helps nobody, however many are late.
- `h` is by how many percent fewer are in time where the work takes one percent longer: from how many end just before
  their promise. Of those that were cut off at it nothing more is known, and nothing more is needed.

What counts is the time that requests *work*, and how many do: who waits for a replica makes nobody else slower, and
admission by the wait sees to those. So an engine of fixed concurrency, at which calls wait but take as long as ever,
needs no limit and gets none.

Times are parts of what was promised, so that requests with other promises share a limit. It comes down to how many are
worked on, wherever that is, once one more is not worth its place, and on from there; it goes up while one more is, for
requests that were among nearly as many as may be: of those that were among fewer, only bad news counts, so that what a
burst taught is still known at the next one. It moves by generations, as many requests as are at work, and faster down
than up: one too many makes others late, one too few is missed once.

Where it is reached all the time, nothing would vary and nothing could be learned. So it *swings*: for two generations a
little above its middle, for two a little below.

Where nearly all are late, each further one that its work made late takes it down, if times grow at all, and each that
has time left takes it up: it may be the engines that were slow for a while, and as soon as they are not, all may come
in again. Until then it does not fall far below the number at which requests were in time last, and its middle never
below what its owner says: where a promise is shorter than most of the work, most are late whatever one does, and no
limit would mend that.
"""

import math
from dataclasses import dataclass, field

from harmonia_compiler.policy.growing import Coming, Crowd, Growing

#: By which part of itself the limit moves with a generation of requests, at most: up, and down.
UP, DOWN = 0.3, 0.5
#: As if a generation were at least so many.
LEAST_GENERATION = 8.0
#: By which part of itself the limit swings about its middle, and for how many generations to each side.
SWING, SWING_GENERATIONS = 0.1, 2.0
#: A limit is nearly reached where at least so large a part of it is worked on.
NEAR = 0.8
#: Where fewer than this part are in time, there are too many, or the engines are slow; where fewer than that, times say
#: nothing of growth, since they are cut off.
MANY, TELLS = 0.5, 0.2
#: Where times grow by less than this with how many are worked on, the less a late one has to do with the others.
GROWS = 0.1
#: Where more than this part are in time, and have time left, nobody is in the way of anybody.
NEARLY_ALL = 0.985
#: What is as close to its promise as this ended just before it.
JUST_BEFORE = 0.85
#: Over how many requests that end figures are taken: a generation, within these.
FEWEST, RECENT = 30.0, 200.0
#: The part of the number at which requests were last in time below which the limit does not fall at once.
KEPT = 1.0 / 3.0
#: How fast that number is forgotten while none is in time: by which part with a generation.
FORGOTTEN = 0.02


@dataclass(slots=True)
class Tally:
    """Of the newest requests, the part that was in time, and the part that was so only just, for its work."""

    ended: float = 0.0
    in_time: float = 0.0
    just_in_time: float = 0.0

    def add(self, part: float, worked: float, at_work: int) -> None:
        """One more ended after such a part of its promise, of which it `worked` a part, among so many."""
        self.ended = min(self.ended + 1.0, RECENT, max(FEWEST, at_work))
        self.in_time += (float(part < 1.0) - self.in_time) / self.ended
        # Where it waited for half of its time, work that takes a percent longer makes it half a percent later.
        just = worked / part if JUST_BEFORE <= part < 1.0 else 0.0
        self.just_in_time += (just - self.just_in_time) / self.ended


@dataclass(slots=True)
class Limit:
    """The limit of one pipeline, `most` at work at once; there is none until one more was not worth its place."""

    most: float = math.inf
    growing: Growing = field(default_factory=Growing)
    _middle: float = math.inf
    _above: bool = True
    _since: float = 0.0
    #: Of those that were among nearly as many as may be, and of the others.
    _near: Tally = field(default_factory=Tally)
    _below: Tally = field(default_factory=Tally)
    _coming: Coming = field(default_factory=Coming)
    _timely: float = 0.0
    _good: float = 0.0

    def came(self, now: float, within_s: float) -> None:
        """A request came, to be answered within so many seconds, whether it is let in or not."""
        self._coming.came(now, within_s)

    def crowd(self, now: float, at_work: int) -> Crowd:
        """What a request meets that comes now, or leaves that ends: so many at work, itself among them."""
        swing = self._swing if self._middle < math.inf else 1.0
        return Crowd(at_work, swing * min(self._middle, self._coming.at(now)))

    def ended(self, met: Crowd, left: Crowd, part: float, worked: float, least: float = 1.0) -> None:
        """A request ended after such a part of what it was promised, all of it if late, of which it `worked` a part.

        So many may be at work in any case: at `least`.
        """
        at_work = max(met.at_work, left.at_work)
        is_near = at_work >= NEAR * self._middle
        tally = self._near if is_near else self._below
        self._remember(at_work, part)
        if part < 1.0 or worked >= JUST_BEFORE:
            # Of who was given up while it waited it is not known how long it would have worked.
            self.growing.ended(met, left, worked, tells=tally.ended < FEWEST or tally.in_time > TELLS)
        tally.add(part, worked, at_work)
        if tally.ended >= FEWEST:
            self._move(tally, at_work, self._worth(tally, part, worked), least, is_near=is_near)
        if self._middle < math.inf:
            self._since += 1.0
            if self._since >= SWING_GENERATIONS * max(LEAST_GENERATION, self._middle):
                self._since, self._above = 0.0, not self._above
            self.most = max(1.0, self._middle * self._swing)

    @property
    def _swing(self) -> float:
        return 1.0 + SWING if self._above else 1.0 - SWING

    def _move(self, tally: Tally, at_work: int, worth: float, least: float, *, is_near: bool) -> None:
        if not is_near:
            if worth >= 0.0 or at_work < least:
                return
            # There are too many as it is: the limit comes down to them, and what they tell is what counts.
            self._middle = float(at_work)
            self._near, self._below = tally, Tally()
        pace = (UP if worth > 0.0 else DOWN) / max(LEAST_GENERATION, self._middle)
        moved = self._middle * (1.0 + pace * worth) if self._middle < math.inf else self._middle
        if worth < 0.0:
            moved = max(moved, min(self._middle, KEPT * self._good))
        self._middle = max(1.0, least, moved)

    def _remember(self, at_work: int, part: float) -> None:
        """Take in how many were at work with a request that was in time, or forget some of it."""
        generation = max(20.0, at_work)
        if part < 1.0:
            self._timely = min(self._timely + 1.0, generation)
            self._good += (at_work - self._good) / self._timely
        else:
            self._good -= self._good * FORGOTTEN / generation

    def _worth(self, tally: Tally, part: float, worked: float) -> float:
        """What one more is worth where a request has ended so, from 1 for a whole one down to -1."""
        share, nearly = tally.in_time, tally.just_in_time
        if share < MANY:
            # So far beyond what can be in time, those that end just before it are no measure. Nor are those that are
            # late because they waited, or whose work takes as long however many there are.
            slower = min(1.0, self.growing.by(share) / GROWS) if worked >= JUST_BEFORE else 0.0
            return 1.0 if part < JUST_BEFORE else -slower
        if share > NEARLY_ALL and nearly < 1.0 - NEARLY_ALL:
            return 1.0
        # With a little more time, as many are late as are in time only with a little less: if so many are late.
        losing = (nearly + min(nearly, 1.0 - share)) / 2.0 / share / -math.log(JUST_BEFORE)
        return max(-1.0, 1.0 - self.growing.by(share) * (1.0 + losing))
