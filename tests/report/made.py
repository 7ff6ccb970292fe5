"""Observations for tests, short to write."""

from typing import Any

import msgspec

from harmonia_compiler.contract.objective import parse_objectives
from harmonia_compiler.report.building import measured
from harmonia_compiler.report.document import Decision, EngineUse, Injected, Machine, Report
from harmonia_compiler.report.measures import Distribution, Window
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


#: 0.4 s that count after 0.1 s of warm-up, in four ticks.
WINDOW = Window(100.0, 500.0)

OBSERVED = [
    # Warm-up: it is no request of the window, but one of the four answers that it gave. Its calls do not count either,
    # nor do those of a request that failed.
    seen(50.0, 70.0, pipeline="desk", stages=(StageTime("warm", 9.0, 60.0),)),
    seen(100.0, 10.0, pipeline="desk"),
    seen(150.0, 30.0, pipeline="desk"),
    seen(250.0, 50.0, pipeline="desk", deadline_ms=40.0),
    # Ends after the window: a request that was answered, but no answer of the window, nor are its tokens.
    seen(350.0, 200.0, pipeline="desk", tokens_in=90, tokens_out=70),
    seen(200.0, 1.0, Outcome.REFUSED, pipeline="desk", reason="503 <b>full</b>\x1b[31m"),
    seen(210.0, 1.0, Outcome.REFUSED, pipeline="desk", reason="503 <b>full</b>\x1b[31m"),
    seen(300.0, 5.0, Outcome.FAILED, pipeline="desk", reason="502 odd", stages=(StageTime("odd", 1.0, 4.0),)),
    seen(320.0, 100.0, Outcome.LATE, pipeline="desk", reason="too late"),
    seen(400.0, 90.0, Outcome.CANCELLED, pipeline="desk"),
    seen(
        110.0, 40.0, pipeline="mail", first_ms=130.0, tokens_in=30, tokens_out=5, answer_tokens=5,
        stages=(StageTime("grade", 1.0, 4.0), StageTime("grade", 3.0, 8.0), StageTime("write", 2.0, 16.0)),
    ),
    seen(
        310.0, 60.0, pipeline="mail", request_class="urgent", first_ms=320.0, tokens_in=50, tokens_out=3,
        answer_tokens=3, ttft_deadline_ms=5.0, stages=(StageTime("grade", 5.0, 12.0),),
    ),
    seen(450.0, 1.0, Outcome.REFUSED, pipeline="mail", request_class="urgent", reason="503 later"),
]  # fmt: skip

#: Of desk's nine requests, two took 30 ms at most and three 50: one was cut off after 90, which is too late for both;
#: of mail's three, one had its first text in 10.
PROMISED = {
    "desk": parse_objectives("p20 latency <= 30 ms, p50 latency <= 50 ms"),
    "mail": parse_objectives("p50 ttft <= 10 ms"),
    "mail/urgent": parse_objectives("p95 latency <= 50 ms"),
}


def full_report() -> Report:
    """With all that a rehearsal adds, and curves of three points.

    Of desk: 9 requests in 0.4 s are 22.5 a second; 4 answers are 10, of which 3 were in time. One was cut off, and of
    the other 8 three were good: 37.5 %. Latencies are 10, 30, 50 and 200 ms: 72.5 in the mean, 40 in the middle;
    nine tenths of the way is 0.7 of the step from 50 to 200, so 155, and 177.5 and 195.5 at 95 and 99 in 100.
    Of mail: 5 tokens in the 20 ms after the first text are 5 ms each; 3 in 50 ms are 25 each. Three calls of
    `grade` in its two answers are 1.5 each; they waited 1, 3 and 5 ms: 3 in the middle, 4.8 at p95; and took 4, 8
    and 12. One of its three requests was refused, and one was too late: 33.3 %.
    """
    report = measured("rehearsal", "a&b", OBSERVED, WINDOW, PROMISED, {"rate": "22/s", "for": "<0.5s>"})
    thinned = [
        msgspec.structs.replace(group, curve=(group.curve[0], group.curve[50], group.curve[-1]))
        for group in report.groups
    ]
    sure = msgspec.structs.replace(
        thinned[0].figures, latency=Distribution(4, 72.5, 40.0, 155.0, 177.5, 195.5, 200.0, 12.34), offered_rps=12_345.6
    )
    thinned[0] = msgspec.structs.replace(thinned[0], figures=sure)
    return msgspec.structs.replace(
        report,
        groups=tuple(thinned),
        curve_parts=(0.0, 0.5, 1.0),
        engines=(
            EngineUse("llm", 2, 12.4, 50.0, 0.248, 0.6349),
            EngineUse("<script>", 1, 1.7, 1.0, 1.7, 1.0),
            EngineUse("rank", 3, 0.99996, 1.0, 0.99996, 0.99996),
            EngineUse("none", 1, 0.0, None, None, 0.0),
        ),
        cost_per_hour=4.5,
        decisions=(Decision(300.0, "llm: 2 replicas", "a queue of 14"),),
        faults=(Injected(120.0, 480.0, "llm-0", "is 2 times as slow"), Injected(200.0, None, "rank-1", "dies")),
        machine=Machine(3.0, Distribution(3, 3.1, 0.2, 8.0, 8.5, 8.82, 9.0), 0.954, 0.712, is_limit=True),
    )
