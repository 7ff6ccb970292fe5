"""Histograms of times for Prometheus that cost little to add to: the library's own take a lock for each of many counts.

Everything happens on one event loop, so that there is nothing to lock.
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

BOUNDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 180.0)
_NAMES = (*map(str, BOUNDS), "+Inf")


class Times:
    """The times of one label."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * len(_NAMES)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum_s += seconds


class Seconds(Collector):
    """The times by one label; a label is there from its first time on."""

    def __init__(self, name: str, doc: str, label: str, registry: CollectorRegistry) -> None:
        self._times: dict[str, Times] = {}
        self._family = name, doc, label
        registry.register(self)

    def __getitem__(self, label: str) -> Times:
        found = self._times.get(label)
        if found is None:
            found = self._times[label] = Times()
        return found

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What Prometheus is told."""
        name, doc, label = self._family
        family = HistogramMetricFamily(name, doc, labels=(label,))
        for value, times in self._times.items():
            upto = [(bound, float(count)) for bound, count in zip(_NAMES, accumulate(times.counts), strict=True)]
            family.add_metric((value,), upto, times.sum_s)
        yield family
