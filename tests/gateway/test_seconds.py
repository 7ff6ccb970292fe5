"""Histograms of times."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from harmonia_compiler.runtime.gateway.seconds import BOUNDS, Seconds

TIMES = [0.0, 0.004, *BOUNDS, 0.30000001, 500.0]


def series(registry: CollectorRegistry) -> dict[tuple[str, str], Any]:
    return {
        (sample.name, str(sorted(sample.labels.items()))): pytest.approx(sample.value)
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_says_what_the_library_s_own_would() -> None:
    own, other = CollectorRegistry(), CollectorRegistry()
    ours = Seconds("took_seconds", "Time", "component", own)
    theirs = Histogram("took_seconds", "Time", ("component",), registry=other, buckets=BOUNDS)
    for label in ("a", 'b "c"'):
        for seconds in TIMES:
            ours[label].observe(seconds)
            theirs.labels(label).observe(seconds)
    assert series(own) == series(other)
