"""What the gateway counts, for Prometheus.

A request is accepted when its body has been understood, and from then on is in exactly one place:
in flight, completed, failed, shed or cancelled. All changes happen on one event loop without a
pause in between, so the sum is right at every scrape. The ledger keeps these counts over the gateway's death.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from harmonia_compiler.runtime.gateway.counts import Counts
from harmonia_compiler.runtime.gateway.ledger import Ledger, Row
from harmonia_compiler.runtime.gateway.seconds import Seconds

Outcome = Literal["completed", "failed", "shed", "cancelled"]
OUTCOMES: tuple[Outcome, ...] = ("completed", "failed", "shed", "cancelled")


class Metrics:
    """The counters of one gateway, in a registry of their own."""

    def __init__(self, pipelines: list[str], ledger: Ledger | None = None) -> None:
        self.registry = CollectorRegistry()
        self._ledger = Ledger() if ledger is None else ledger
        self.accepted = self._counter("requests_accepted", "Requests that were understood", "pipeline")
        self.ended = {
            outcome: self._counter(f"requests_{outcome}", f"Accepted requests that ended {outcome}", "pipeline")
            for outcome in OUTCOMES
        }
        self.in_flight = Counts(
            GaugeMetricFamily,
            "harmonia_requests_in_flight",
            "Accepted requests that have not ended",
            "pipeline",
            self.registry,
        )
        self.at_door = Counts(
            GaugeMetricFamily,
            "harmonia_waiting_at_door",
            "Of the requests in flight, those that wait at the door, without any call",
            "pipeline",
            self.registry,
        )
        self.latency = self._seconds(
            "request_latency", "From acceptance to the end of the answer, of completed requests", "pipeline"
        )
        self.first_token = self._seconds(
            "time_to_first_token", "From acceptance to the first text, of streamed requests", "pipeline"
        )
        self.queueing = self._seconds("component_queue", "Time that a call waited for a replica", "component")
        self.service = self._seconds("component_service", "Time that a replica took for a call", "component")
        self.retries = self._counter(
            "component_retries", "Calls sent again after a replica could not be reached", "component"
        )
        self.seconds = self._counter(
            "component_second_calls", "Second calls made beside one that took long", "component"
        )
        self.bugs = self._counter("bugs", "Turns beside requests that failed through a bug of ours", "turn")
        self._known: set[str] = set()
        self.know((*self._ledger.pipelines, *pipelines))

    def know(self, pipelines: Iterable[str]) -> None:
        """Show these as well, each with what the ledger says of it."""
        for pipeline in {*pipelines} - self._known:
            self._known.add(pipeline)
            row = self._ledger.row(pipeline)
            self.accepted[pipeline].inc(row.accepted)
            self.in_flight[pipeline].inc(0)
            self.at_door[pipeline].inc(0)
            for outcome, counter in self.ended.items():
                counter[pipeline].inc(row.ended(outcome))

    def admit(self, pipeline: str) -> "Ticket":
        """Count a request in."""
        row = self._ledger.row(pipeline)
        row.add("accepted")
        self.accepted[pipeline].inc()
        self.in_flight[pipeline].inc()
        return Ticket(self, pipeline, row)

    def bug(self, turn: str) -> Callable[[], object]:
        """What counts that a turn of this name failed; the count is there from now on."""
        return self.bugs[turn].inc

    def _counter(self, name: str, doc: str, label: str) -> Counts:
        return Counts(CounterMetricFamily, f"harmonia_{name}", doc, label, self.registry)

    def _seconds(self, name: str, doc: str, label: str) -> Seconds:
        return Seconds(f"harmonia_{name}_seconds", doc, label, self.registry)

    def render(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)


class Ticket:
    """One accepted request, which ends exactly once."""

    def __init__(self, metrics: Metrics, pipeline: str, row: Row) -> None:
        self._metrics = metrics
        self._pipeline = pipeline
        self._row = row
        self.outcome: Outcome | None = None

    def end(self, outcome: Outcome) -> None:
        """Count the request out; what comes after the first end changes nothing."""
        if self.outcome is not None:
            return
        self.outcome = outcome
        self._row.add(outcome)
        self._metrics.in_flight[self._pipeline].dec()
        self._metrics.ended[outcome][self._pipeline].inc()
