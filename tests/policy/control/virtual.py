"""A service that never was: what its gateway would read, second by second, for the controller to act on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from harmonia_compiler.contract.bundle import ExpectedCalls, ReplicaShare
from harmonia_compiler.contract.decision import Decision
from harmonia_compiler.contract.readings import CallsRead, Readings, ReplicaRead, RequestsRead
from harmonia_compiler.policy.control.decide import begun, decide
from harmonia_compiler.policy.control.division import Load
from harmonia_compiler.policy.control.planned import Planned, PlannedEngine, PlannedReplica
from harmonia_compiler.policy.control.state import State

#: A call keeps a replica busy for 100 ms, and it carries 8 of them a second, one at a time.
CALL_S, CAPACITY_RPS = 0.1, 8.0


def plan_of(replicas: int, least: int | None = None, most: int | None = None, *, batch: int = 1) -> Planned:
    """One pipeline that calls one component once, on so many replicas of one engine; fixed where no bounds are said."""
    names = [f"llm-{number}" for number in range(replicas if most is None else most)]
    engine = PlannedEngine(
        tuple(PlannedReplica(name, CAPACITY_RPS * batch, ReplicaShare(batch)) for name in names),
        replicas,
        replicas if least is None else least,
        is_fixed=least is None and most is None,
    )
    return Planned("p", {"llm": engine}, {"rag": {"say": ExpectedCalls(1.0, CALL_S * 1000.0)}}, {"rag": {"say": "llm"}})


def by_speed(loads: Mapping[str, Load]) -> dict[str, tuple[float, ...]]:
    """The division that leaves all replicas equally busy: what the linear program finds."""
    found = {}
    for name, load in loads.items():
        speeds = [1.0 / busy_s for busy_s in load.busy_s]
        found[name] = tuple(speed / sum(speeds) for speed in speeds)
    return found


@dataclass
class Service:
    """Counts up as a gateway does; a replica takes calls `cold_s` after it was decided, and no more than it can.

    `rate` is in requests a second at a time, those of a second coming evenly; `pace` how many times as long as planned
    each replica takes.
    """

    planned: Planned
    rate: Callable[[float], float] = lambda _: 10.0
    pace: Callable[[str, float], float] = lambda _replica, _now: 1.0
    visits: float = 1.0
    cold_s: float = 10.0
    start_of_day_s: float = 0.0
    now: float = 100.0
    state: State | None = None
    decisions: list[Decision] = field(default_factory=list)
    present: Callable[[str, float], bool] = lambda _replica, _now: True
    _arrived: float = 0.0
    _last_s: float | None = None
    _gap_s: float = 0.0
    _gap_s2: float = 0.0
    _visits: float = 0.0
    _calls: dict[str, tuple[float, float]] = field(default_factory=dict)
    _ready_at: dict[str, float] = field(default_factory=dict)

    def names(self) -> Sequence[str]:
        """The replicas that take calls now."""
        count = self.state.sizes["llm"].count if self.state else self.planned.engines["llm"].count
        names = [f"llm-{number}" for number in range(count)]
        for name in names:
            self._ready_at.setdefault(name, self.now + self.cold_s if self.state and self.state.epoch else self.now)
        for gone in self._ready_at.keys() - {*names}:
            del self._ready_at[gone]
        found = [name for name in names if self._ready_at[name] <= self.now and self.present(name, self.now)]
        return found or names[:1]

    def pass_time(self, seconds: float) -> None:
        """Let requests come and be served."""
        for _ in range(int(seconds)):
            self.now += 1.0
            here = self.names()
            shares = self.state.shares if self.state else {}
            weights = {name: shares[name].weight if name in shares else 1.0 for name in here}
            came = self.rate(self.now)
            self._come(came)
            self._visits += came * self.visits
            for name, weight in weights.items():
                calls, took = self._calls.get(name, (0.0, 0.0))
                call_s = CALL_S * self.pace(name, self.now)
                batch = self.planned.engines["llm"].replicas[0].share.batch
                more = min(batch / call_s, came * self.visits * weight / sum(weights.values()))
                self._calls[name] = (calls + more, took + more * call_s)

    def _come(self, came: float) -> None:
        """Let so many come in the second that has passed; of a part of one, one comes once they are a whole."""
        count = int(self._arrived + came) - int(self._arrived)
        self._arrived += came
        if count:
            first_s = self.now - 1.0 + 1.0 / count
            gap_s = 0.0 if self._last_s is None else first_s - self._last_s
            self._gap_s += gap_s + (count - 1) / count
            self._gap_s2 += gap_s**2 + (count - 1) / count**2
            self._last_s = self.now

    def readings(self) -> Readings:
        """What the gateway says now."""
        arrived = int(self._arrived)
        return Readings(
            "g",
            self.now,
            self.state.epoch if self.state else 0,
            requests=(
                RequestsRead(
                    "rag", "", arrived, arrived, arrived, {"say": int(self._visits)}, self._gap_s, self._gap_s2
                ),
            ),
            calls=tuple(
                CallsRead("rag", "say", name, int(calls), 0, int(calls), took)
                for name, (calls, took) in sorted(self._calls.items())
            ),
            replicas=tuple(ReplicaRead(name, "llm", 0, routed=True) for name in self.names()),
        )

    def windows(self, count: int, seconds: float = 5.0) -> Decision:
        """So many windows of the controller; the last decision."""
        for _ in range(count):
            self.pass_time(seconds)
            self.look(self.readings())
        return self.decisions[-1]

    def look(self, readings: Readings | None) -> Decision:
        """Let the controller see these readings."""
        state = begun(self.planned) if self.state is None else self.state
        day_s = self.start_of_day_s + self.now
        self.state, decision = decide(self.planned, state, readings, self.now, day_s, by_speed)
        self.decisions.append(decision)
        return decision

    def acted(self) -> list[Decision]:
        """The decisions that changed something."""
        found, epoch = [], 0
        for one in self.decisions:
            if one.epoch > epoch:
                found.append(one)
            epoch = one.epoch
        return found
