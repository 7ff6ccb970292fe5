"""How often calls may be sent again: a part of what is sent in any case, so that a stage in trouble gets no storm.

Each first send earns a part of a second one. What was not used is kept up to a few, so that a service with little to
do can make up for one bad moment; a stage that stays down is then sent at most `1 + EARNED` times what it is asked.
"""

from dataclasses import dataclass

#: What a first send earns of a second one, and how many second ones are kept at the most.
EARNED = 0.2
KEPT = 10.0


@dataclass(slots=True)
class RetryBudget:
    """The budget of one stage."""

    left: float = KEPT
    earned: float = EARNED
    kept: float = KEPT

    def sent(self) -> None:
        """A call was sent for the first time."""
        self.left = min(self.kept, self.left + self.earned)

    def spend(self) -> bool:
        """Whether a call may be sent again; it is counted as sent where it may."""
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True
