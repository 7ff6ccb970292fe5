"""Counters and gauges for Prometheus that cost an addition: the library's own take a lock each time.

Everything happens on one event loop, so that there is nothing to lock.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector


class Count:
    """The number of one label."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, by: int = 1) -> None:
        """So many more."""
        self.value += by

    def dec(self) -> None:
        """One less."""
        self.value -= 1


class Counts(Collector):
    """The numbers by one label; a label is there from when it is first asked for."""

    def __init__(
        self,
        of: type[CounterMetricFamily] | type[GaugeMetricFamily],
        name: str,
        doc: str,
        label: str,
        registry: CollectorRegistry,
    ) -> None:
        self._counts: dict[str, Count] = {}
        self._of, self._family = of, (name, doc, label)
        registry.register(self)

    def __getitem__(self, label: str) -> Count:
        found = self._counts.get(label)
        if found is None:
            found = self._counts[label] = Count()
        return found

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """What Prometheus is told."""
        name, doc, label = self._family
        family = self._of(name, doc, labels=(label,))
        for value, count in self._counts.items():
            family.add_metric((value,), count.value)
        yield family
