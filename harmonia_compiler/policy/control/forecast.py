"""How many requests will come soon: a level with a trend, and what came at this time of day before.

The level follows a rise faster than a fall, since too few replicas cost requests and too many only their price. Neither
the level nor the forecast leaves bounds around what was seen: no window doubles the level more than once, and no trend
is carried on beyond twice or below half of it. The first window is taken as it is: there is nothing else to go by.
"""

import math
from dataclasses import dataclass

#: The part of a window's surprise that the level takes in, upwards and downwards, and of the level's moves the trend.
RISE, FALL, TURN = 0.5, 0.2, 0.1
#: The factor by which a level moves in a window at most, and a forecast leaves its level.
MOST_STEP = 2.0
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

    `days` is the rate in each part of a day that has passed, below 0 where none has yet; empty where no part has.
    `today` is the part that is on.
    """

    level: float | None = None
    trend: float = 0.0
    burstiness: float = 1.0
    days: tuple[float, ...] = ()
    today: Today | None = None

    def seen(self, rate: float, burstiness: float, seconds: float, day_s: float) -> "Forecast":
        """Take in a window of so many seconds, at so many seconds of the day."""
        days, today = _remember(self.days, self.today, Today(_slot(day_s), rate, seconds))
        if self.level is None:
            return Forecast(rate, 0.0, min(16.0, burstiness), days, today)
        bounded = min(MOST_STEP * self.level + LEAST_RPS, max((self.level - LEAST_RPS) / MOST_STEP, rate))
        level = max(0.0, self.level + (RISE if bounded > self.level else FALL) * (bounded - self.level))
        trend = self.trend + TURN * ((level - self.level) / seconds - self.trend)
        smooth = self.burstiness + FALL * (min(16.0, burstiness) - self.burstiness)
        return Forecast(level, trend, smooth, days, today)

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
