"""How many times what the plan expects a figure turns out to be: believed step by step, and forgotten again.

One window moves a ratio by a factor of `MOST_STEP` at most, and by the less the fewer calls it rests on. So three
windows correct a figure that is wrong by three times, and one odd window does little. What nothing more is heard of
returns to what the plan says.
"""

import math
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

#: The factor by which one window moves a ratio at most, and the bounds of every ratio.
MOST_STEP, MOST = 1.5, 16.0
#: As how many calls the ratio itself counts at least against those of a window. Where it rests on more, it counts as
#: half of those: of windows with equally many calls each, the last one counts as much as all before.
DOUBT = 4.0
#: After so long without a call half of a correction is forgotten, in seconds.
HALF_LIFE_S = 900.0


@dataclass(frozen=True, slots=True)
class Ratio:
    """A factor on what the plan expects; `evidence` is on how many calls it rests, the old ones counting less."""

    # Read back with room for what rounding does at the bounds.
    value: Annotated[float, Meta(ge=0.5 / MOST, le=2.0 * MOST)] = 1.0
    evidence: Annotated[float, Meta(ge=0.0, le=1e7)] = 0.0

    def moved(self, measured: float, calls: float) -> "Ratio":
        """Take in that so many calls came to so many times what was expected."""
        if calls <= 0.0 or not measured > 0.0:
            return self
        seen = math.log(min(MOST, max(1.0 / MOST, measured)))
        most = math.log(MOST_STEP)
        own = math.log(self.value)
        step = (seen - own) * calls / (calls + max(DOUBT, self.evidence / 2.0))
        return Ratio(math.exp(own + min(most, max(-most, step))), min(1e6, self.evidence / 2.0 + calls))

    def faded(self, seconds: float) -> "Ratio":
        """Take in that so long nothing was heard."""
        left = 0.5 ** (max(0.0, seconds) / HALF_LIFE_S)
        return Ratio(self.value**left, self.evidence * left)


#: What nobody has measured: just as planned.
PLANNED = Ratio()
