"""What goes wrong with an emulated replica, and when: for rehearsing what the service does about it."""

from typing import Literal

import msgspec

Way = Literal["slow", "hang", "fail", "die"]


class Fault(msgspec.Struct, frozen=True):
    """From `from_s` to `until_s` seconds after the start, or to the end, one replica goes wrong in one way.

    `slow` takes `factor` times as long, `hang` takes calls in and never answers, `fail` answers a
    `share` of the calls with an error, `die` closes its port. Meanwhile `/health` tells the truth, unless
    the replica `lies`.
    """

    replica: str
    way: Way
    from_s: float = 0.0
    until_s: float | None = None
    factor: float = 3.0
    share: float = 1.0
    lies: bool = False

    def is_on(self, now_s: float) -> bool:
        """Whether it goes wrong now."""
        return self.from_s <= now_s and (self.until_s is None or now_s < self.until_s)
