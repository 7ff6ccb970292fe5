"""What the controller remembers from one window to the next: data, which can be written down and taken up again."""

from dataclasses import dataclass, field, replace

from harmonia_compiler.contract.bundle import ExpectedCalls, ReplicaShare
from harmonia_compiler.contract.readings import Readings
from harmonia_compiler.policy.control.bursts import Burst
from harmonia_compiler.policy.control.caching import Cached
from harmonia_compiler.policy.control.forecast import Forecast
from harmonia_compiler.policy.control.ratio import Ratio


@dataclass(frozen=True, slots=True)
class Sizing:
    """One engine's number of replicas. Times are in seconds, by the controller's clock.

    `count` is what was decided last, at `changed_s`; `cold_s` how long a replica takes until it works, once that was
    seen; `waits` says that the last one is still awaited, and `came` that one came which was. Since `roomy_s` one fewer
    would have been enough.
    """

    count: int
    changed_s: float | None = None
    cold_s: float | None = None
    waits: bool = False
    roomy_s: float | None = None
    came: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """Everything that a decision rests on beside the plan and the newest readings.

    Ratios are on what the plan expects (`expected`, by pipeline and component): of visits by pipeline and component, of
    times by engine and by replica.
    `before` are the readings before the newest. `bursts` are those of the recent past by pipeline. `caches` tell of
    engines how well their prefix caches serve.
    `shares` are those of the last decision, made at `shares_s` and held for `hold_s`; empty while the plan's hold.
    """

    plan: str
    expected: dict[str, dict[str, ExpectedCalls]] = field(default_factory=dict)
    epoch: int = 0
    at_s: float | None = None
    readings: Readings | None = None
    before: Readings | None = None
    forecasts: dict[str, Forecast] = field(default_factory=dict)
    visits: dict[str, dict[str, Ratio]] = field(default_factory=dict)
    engines: dict[str, Ratio] = field(default_factory=dict)
    replicas: dict[str, Ratio] = field(default_factory=dict)
    shares: dict[str, ReplicaShare] = field(default_factory=dict)
    shares_s: float | None = None
    hold_s: float = 0.0
    sizes: dict[str, Sizing] = field(default_factory=dict)
    caches: dict[str, Cached] = field(default_factory=dict)
    bursts: dict[str, tuple[Burst, ...]] = field(default_factory=dict)

    def by(self, now: float) -> "State":
        """The same by a clock that began anew: no time in it lies ahead of now."""
        if self.at_s is None or now >= self.at_s:
            return self
        back = self.at_s - now
        return replace(
            self,
            at_s=now,
            readings=None,
            before=None,
            shares_s=_earlier(self.shares_s, back),
            sizes={
                name: replace(one, changed_s=_earlier(one.changed_s, back), roomy_s=_earlier(one.roomy_s, back))
                for name, one in self.sizes.items()
            },
        )


def _earlier(at_s: float | None, seconds: float) -> float | None:
    return None if at_s is None else at_s - seconds
