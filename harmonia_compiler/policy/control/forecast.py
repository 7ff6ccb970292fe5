"""How many requests will come soon: a level with a trend, and what came at this time of day before.

The level follows a rise faster than a fall, since too few replicas cost requests and too many only their price. A
window in which more than twice the level came is doubted: the level takes in little of it, so that one burst does not
double a fleet. Where a second one follows, the lower of the two is the level from then on: a step of load is known
after two windows, however large it is. A burst that comes again and again is believed in part, the less the longer ago
it was; what one needs that comes seldom is for `bursts` to say.

The first window is taken as it is: there is nothing else to go by. No trend is carried on beyond twice the level or
below half of it, and what was doubted is no trend.
"""

import math
from dataclasses import dataclass

#: The part of a window's surprise that the level takes in: upwards, downwards, and of one that is doubted; and the part
#: of the level's moves that the trend does.
RISE, FALL, DOUBT, TURN = 0.5, 0.2, 0.2, 0.1
#: So many times the level is believed of one window, downwards too, and a forecast leaves its level by as much at most.
MOST_STEP = 2.0
#: What is left in each further window of one that was doubted, as what another one may confirm.
FADES = 0.5
#: Below so many requests a second nothing is told apart.
LEAST_RPS = 0.2
#: The parts of a day that are remembered apart, and how much of one day's rate a memory takes in.
SLOTS, DAY_S = 96, 86_400.0
REMEMBERED = 0.5


@dataclass(frozen=True, slots=True)
class Today:
    """The part of the day that is on: its number, its mean rate so far, and of how many seconds that is."""

    slot: int
    rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Requests a second of one pipeline. `trend` is the change a second, `burstiness` as in `Window`.

    `doubted` is the rate of the last window that was not believed, the less the longer ago that was.
    `days` is the rate in each part of a day that has passed, below 0 where none has yet; empty where no part has.
    `today` is the part that is on.
    """

    level: float | None = None
    trend: float = 0.0
    burstiness: float = 1.0
    days: tuple[float, ...] = ()
    today: Today | None = None
    doubted: float = 0.0

    def seen(self, rate: float, burstiness: float, seconds: float, day_s: float) -> "Forecast":
        """Take in a window of so many seconds, at so many seconds of the day."""
        days, today = _remember(self.days, self.today, Today(_slot(day_s), rate, seconds))
        if self.level is None:
            return Forecast(rate, 0.0, min(16.0, burstiness), days, today)
        most = self.believed
        bounded = min(most, max((self.level - LEAST_RPS) / MOST_STEP, rate))
        grown = 0.0
        if rate > most:
            confirmed, doubted = min(rate, self.doubted), rate
            level = confirmed if confirmed > most else self.level + DOUBT * (bounded - self.level)
        else:
            level = max(0.0, self.level + (RISE if bounded > self.level else FALL) * (bounded - self.level))
            grown, doubted = (level - self.level) / seconds, FADES * self.doubted
        trend = self.trend + TURN * (grown - self.trend)
        smooth = self.burstiness + FALL * (min(16.0, burstiness) - self.burstiness)
        return Forecast(level, trend, smooth, days, today, doubted)

    @property
    def believed(self) -> float:
        """The rate above which a window is doubted; none is that is the first one."""
        return math.inf if self.level is None else MOST_STEP * self.level + LEAST_RPS

    def rate(self, ahead_s: float, day_s: float, window_s: float = 0.0) -> float:
        """The rate to be ready for, so many seconds from now: with a margin for bursts where a window is given."""
        level = self.level or 0.0
        coming = min(MOST_STEP * level, max(level / MOST_STEP, level + self.trend * ahead_s))
        coming = max(coming, self.usual(day_s + ahead_s))
        if window_s > 0.0:
            coming += math.sqrt(coming * max(1.0, self.burstiness) / window_s)
        return coming

    def usual(self, day_s: float) -> float:
        """What came at this time on other days; 0 where nothing is known of it."""
        return max(0.0, self.days[_slot(day_s)]) if self.days else 0.0


def _slot(day_s: float) -> int:
    return int(day_s % DAY_S / DAY_S * SLOTS) % SLOTS


def _remember(days: tuple[float, ...], today: Today | None, new: Today) -> tuple[tuple[float, ...], Today]:
    """A part of the day enters the memory once it has passed, so that it never is its own forecast."""
    if today is None or today.slot == new.slot:
        seconds = new.seconds + (0.0 if today is None else today.seconds)
        mean = new.rate if today is None else today.rate + (new.rate - today.rate) * new.seconds / seconds
        return days, Today(new.slot, mean, seconds)
    kept = [*days] if len(days) == SLOTS else [-1.0] * SLOTS
    known = kept[today.slot]
    kept[today.slot] = today.rate if known < 0.0 else known + REMEMBERED * (today.rate - known)
    return tuple(kept), new
