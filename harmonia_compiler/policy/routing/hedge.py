"""Whether a second call is made beside one that takes long, and when: the one that is answered first counts.

Of the calls of most stages a few take many times as long as the others, through no fault of their own: a pause of their
process, a page that had to be fetched. A second one is then hardly ever as unlucky. It is made once a call has taken
much longer than nearly all do, at another replica that has room at once, and for a part of the calls at most
(`EARNED`): what is slow because it has too much to do is not given more.
"""

from dataclasses import dataclass, field

from harmonia_compiler.policy.quantile import Quantiles
from harmonia_compiler.policy.routing.budget import RetryBudget

#: A call is late that has taken so many times what so large a part of the calls of its component take at most.
TIMES, NEARLY_ALL = 1.5, 0.95
#: So many calls tell how long that is.
KNOWN_FROM = 20
#: What a call earns of a second one, and how many second ones are kept.
EARNED, KEPT = 0.05, 5.0


@dataclass(slots=True)
class Hedge:
    """The second calls of one engine. Times are in seconds."""

    budget: RetryBudget = field(default_factory=lambda: RetryBudget(KEPT, EARNED, KEPT))
    _times: dict[str, Quantiles] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)

    def answered(self, component: str, service_s: float) -> None:
        """A call of a component was answered after so long."""
        self._times.setdefault(component, Quantiles()).add(service_s)
        self._seen[component] = self._seen.get(component, 0) + 1

    def after_s(self, component: str) -> float | None:
        """After how long a call of a component is late; None where that is not known. It is counted as made."""
        self.budget.sent()
        if self._seen.get(component, 0) < KNOWN_FROM:
            return None
        return TIMES * self._times[component].at(NEARLY_ALL)
