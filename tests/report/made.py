"""Observations for tests, short to write."""

from typing import Any

from harmonia_compiler.contract.objective import parse_objectives
from harmonia_compiler.report.building import measured
from harmonia_compiler.report.document import Report
from harmonia_compiler.report.measures import Window
from harmonia_compiler.report.observation import Observation, Outcome, StageTime


def seen(at_ms: float, took_ms: float, outcome: Outcome = Outcome.OK, **more: Any) -> Observation:
    """A request of pipeline `p` that arrived then and took so long."""
    given = {"pipeline": "p", "sent_ms": at_ms, **more}
    return Observation(arrived_ms=at_ms, finished_ms=at_ms + took_ms, outcome=outcome, **given)


def small_report() -> Report:
    """Ten seconds after a warm-up of two: a request each half second, some of which end badly."""
    observed = [seen(500.0 * number, 9000.0 if number < 4 else 100.0 + 10.0 * number) for number in range(20)]
    observed = [
        *observed,
        seen(3000.0, 2.0, Outcome.REFUSED, reason="503 queue_full"),
        seen(4000.0, 50.0, Outcome.FAILED, reason="502 <b>odd</b>\x1b[31m"),
        seen(
            5000.0, 800.0, first_ms=5200.0, tokens_in=30, tokens_out=7, answer_tokens=7, deadline_ms=500.0, pipeline="q"
        ),
        seen(
            6000.0, 400.0, first_ms=6100.0, tokens_in=10, tokens_out=4, answer_tokens=4, deadline_ms=500.0, pipeline="q"
        ),
    ]
    stages = (StageTime("grade", 1.0, 20.0), StageTime("grade", 3.0, 40.0))
    observed.append(seen(7000.0, 300.0, pipeline="q", stages=stages, request_class="urgent"))
    promised = {"p": parse_objectives("p95 latency <= 250 ms"), "q": parse_objectives("p50 ttft <= 150 ms")}
    return measured("measurement", "http://there", observed, Window(2000.0, 12_000.0), promised, {"rate": "2/s"})
