"""What is known of how a replica is doing, and for how long it is left alone where that is bad.

A replica that is *out* takes no calls. Each time it goes out it stays so twice as long as the time before, up to
`LONGEST_OUT_S`; then it is *on trial*: it takes one call at a time, and the first answer brings it back. Each
`FORGIVEN_S` that it went well since make up for one time out. So a replica that comes and goes is tried ever more
seldom, and one that something befalls from time to time is not missing for longer than that takes.

What a failure says depends on its kind. A replica that could not be reached, or hung up, or stopped making progress,
is known to be gone after one or a few in a row. Errors that it answers are a share of its calls, and compared with the
share of the others by whoever sees all of them (`pool.py`).
"""

import math
from dataclasses import dataclass, field

from harmonia_compiler.policy.quantile import Mean

#: How long a replica is out the first time and at the most, in seconds.
FIRST_OUT_S, LONGEST_OUT_S = 1.0, 60.0
#: How long in service makes up for one time out, in seconds.
FORGIVEN_S = 5.0
#: Over how many of the newest calls the share of failed ones is taken, and the time of answered ones.
CALLS, TIMES = 20.0, 10.0
#: After how long without an answer a measured time says nothing any more, in seconds.
STALE_S = 10.0


@dataclass(slots=True)
class Health:
    """One replica. Times are in seconds, by the driver's clock.

    `pace` is how long its answers take, as parts of what they usually do at its engine; `failing` the share of calls
    that failed, `in_a_row` how many did since the last answer.
    """

    pace: Mean = field(default_factory=lambda: Mean(memory=TIMES))
    failing: Mean = field(default_factory=lambda: Mean(memory=CALLS))
    in_a_row: int = 0
    answered_at: float = -math.inf
    out_until: float = -math.inf
    back_at: float = -math.inf
    times_out: int = 0
    on_trial: bool = False

    def is_out(self, now: float) -> bool:
        """Whether it takes no calls at the moment."""
        return now < self.out_until

    def is_in(self, now: float) -> bool:
        """Whether it takes calls as any other."""
        return not self.on_trial and not self.is_out(now)

    def answered(self, pace: float, now: float) -> None:
        """A call was answered, in this part of the usual time."""
        self.in_a_row = 0
        self.answered_at = now
        self.pace.add(pace)
        self.failing.add(0.0)
        if self.on_trial and not self.is_out(now):
            self.bring_back(now)

    def failed(self) -> None:
        """A call failed through its fault. That it failed at once does not make it fast."""
        self.in_a_row += 1
        self.failing.add(1.0)

    def leave_out(self, now: float) -> None:
        """Give it no calls for a while, twice as long as the last time."""
        if not self.on_trial and self.times_out:
            self.times_out = max(0, self.times_out - int((now - self.back_at) / FORGIVEN_S))
        self.out_until = now + min(LONGEST_OUT_S, FIRST_OUT_S * 2.0**self.times_out)
        self.times_out += 1
        self.on_trial = True

    def bring_back(self, now: float) -> None:
        """Give it calls again as any other."""
        self.on_trial, self.out_until, self.back_at = False, -math.inf, now
        self.failing = Mean(memory=CALLS)
