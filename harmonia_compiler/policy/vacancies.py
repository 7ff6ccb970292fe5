"""How places among those that are worked on come free, and how sparing one is to be with them.

Where all of them are taken for long, whoever is let in after a wait takes the place of somebody who will just have
come, has more time left, and is in time more likely. Where bursts are followed by times in which places stay empty,
who waited for one costs nobody anything. So a place is given to who has at least such a part of its chance left as
places were lately of use to those who had just come.

How many come free soon is told by how many did lately. After a lull that says nothing: then those at work tell it, of
whom `N` who work for `T` free `N / T` a second. At the beginning of a rush that is too many.
"""

import math
from dataclasses import dataclass, field

from harmonia_compiler.policy.growing import Coming
from harmonia_compiler.policy.quantile import Mean

#: With so small a part of its chance nobody is let in, however many places stay empty.
LEAST_WORTH = 0.3
#: Places stay empty while fewer than this part of those that may be are worked on, and nobody waits at the door.
EMPTY = 0.9
#: It has been quiet where fewer than this part came free lately of what those at work will free.
LULL = 0.5
#: Over how many of the newest places that came free this is told: some bursts and what came between them.
RECENT = 1000.0


@dataclass(slots=True)
class Vacancies:
    """Those of one pipeline. Times are in seconds, by the driver's clock."""

    _freed: Coming = field(default_factory=Coming)
    _empty: Mean = field(default_factory=lambda: Mean(memory=RECENT))
    _worked_s: Mean = field(default_factory=Mean)
    #: Since when those at work are the same.
    _since_s: float = 0.0

    def taken(self, now: float) -> None:
        """A request that was promised a time is let in."""
        self._since_s = now

    def freed(self, now: float, within_s: float, worked_s: float, *, empty: bool) -> None:
        """One that was promised an answer within so many seconds has ended; whether places stay empty now."""
        self._since_s = now
        self._freed.came(now, within_s)
        self._worked_s.add(worked_s)
        self._empty.add(float(empty))

    def coming(self, now: float, seconds: float, at_work: int) -> float:
        """How many more come free within so many seconds while so many are taken."""
        return max(0.0, seconds) * self._per_second(now, at_work)

    def after_s(self, now: float, places: int, at_work: int) -> float:
        """Within how many seconds so many more come free; infinite where none does."""
        per_second = self._per_second(now, at_work)
        return places / per_second if per_second > 0.0 else math.inf

    def _per_second(self, now: float, at_work: int) -> float:
        # Those of whom for long none ended take so long at least, whatever others did.
        each_s = max(self._worked_s.value, now - self._since_s)
        lately, soon = self._freed.per_second(now), at_work / each_s if each_s > 0.0 else 0.0
        return soon if lately < LULL * soon else lately

    @property
    def worth(self) -> float:
        """The part of its chance to be in time that who is let in has to have left."""
        return max(LEAST_WORTH, 1.0 - self._empty.value)
