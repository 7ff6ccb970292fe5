"""What goes wrong with an emulated replica, and when: for rehearsing what the service does about it."""

from typing import Literal, get_args

import msgspec

Way = Literal["slow", "hang", "fail", "die", "lie"]
WAYS: tuple[Way, ...] = get_args(Way)


class Fault(msgspec.Struct, frozen=True):
    """From `from_s` to `until_s` seconds after the first request may come, or to the end, one replica goes wrong.

    `slow` takes `factor` times as long, `hang` takes calls in and never answers them, and says no more of those that
    it has begun until that is over, `fail` answers a `share` of the calls with an error, `die` closes its port.
    Meanwhile `/health` tells the truth; while it is to `lie`, the opposite.
    """

    replica: str
    way: Way
    from_s: float = 0.0
    until_s: float | None = None
    factor: float = 3.0
    share: float = 1.0

    def describe(self) -> str:
        """What it does, in a few words."""
        match self.way:
            case "slow":
                return f"takes {self.factor:g} times as long"
            case "hang":
                return "takes calls in and never answers"
            case "fail":
                return f"answers {self.share:.3g} of its calls with an error" if self.share < 1.0 else "fails each call"
            case "die":
                return "is gone"
            case "lie":
                return "says of its health what is not so"
