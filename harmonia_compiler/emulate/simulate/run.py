"""A simulation from a scenario and its arrivals to a report."""

import gc
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from harmonia_compiler.contract.card import Cards
from harmonia_compiler.emulate.behaviour import said_of_cut
from harmonia_compiler.emulate.scenario import Coming, Scenario
from harmonia_compiler.emulate.simulate.request import Request
from harmonia_compiler.emulate.simulate.simulation import Simulation
from harmonia_compiler.emulate.uses import engine_uses
from harmonia_compiler.policy.parts import ALL, Parts
from harmonia_compiler.report.building import measured
from harmonia_compiler.report.document import Report
from harmonia_compiler.report.measures import Window
from harmonia_compiler.report.observation import Observation
from harmonia_compiler.workload.request import Arrival

#: What the gateway is taken to add to a call, in ms; `bench/check_simulation.py` shows how far off that leaves medians.
GATEWAY_MS = 0.5
#: From so many requests on, what a simulation leaves behind is freed at once. Its parts know each other, and Python
#: looks through all that there is too seldom: a search that simulates hundreds of times took 17 GB.
MANY_REQUESTS = 500


@dataclass(frozen=True, slots=True)
class Simulated:
    """The report, what became of each request, in the order in which they ended, and what it took.

    That is events, and seconds of one core.
    """

    report: Report
    observed: tuple[Observation, ...]
    events: int
    cpu_s: float


def simulate(
    scenario: Scenario,
    arrivals: Iterable[Arrival],
    window: Window,
    cards: Cards,
    settings: Mapping[str, str],
    *,
    overhead_ms: float = GATEWAY_MS,
    patient: bool = False,
    parts: Parts = ALL,
    resizes: bool = True,
) -> Simulated:
    """Let the arrivals come in and report on those within the window.

    `parts` of the scheduling are on, the controller among them; where it `resizes`, that also changes numbers of
    replicas. A `patient` run gives no request up, refuses none but where a queue is full, and leaves all as planned.
    """
    observed: list[Observation] = []
    began = time.process_time()
    simulation = Simulation(scenario, cards, overhead_ms, patient, parts, resizes, window)
    ran = simulation.run(
        scenario.coming(arrivals), lambda request, coming: observed.append(observation(request, coming))
    )
    took = time.process_time() - began
    names = ", ".join(sorted(flow.name for flow in scenario.application.flows))
    report = measured("simulation", names, observed, window, scenario.objectives, settings)
    report = msgspec.structs.replace(
        report,
        engines=engine_uses(scenario.plan, ran.worked.done, ran.worked.whole_ms, ran.worked.further),
        cost_per_hour=cost_per_hour(scenario),
        decisions=ran.decisions,
        notes=(*report.notes, *said_of_cut(ran.cut, ran.recorded), *([ran.last] if ran.last else ())),
    )
    done = Simulated(report, tuple(observed), ran.events, took)
    if len(observed) >= MANY_REQUESTS:
        del simulation, ran
        gc.collect()
    return done


def observation(request: Request, coming: Coming) -> Observation:
    """What became of a request."""
    assert request.outcome is not None
    assert request.ended_ms is not None
    return Observation(
        pipeline=coming.pipeline,
        arrived_ms=request.arrived_ms,
        sent_ms=request.arrived_ms,
        finished_ms=request.ended_ms,
        outcome=request.outcome,
        first_ms=request.first_ms,
        request_class=coming.request_class,
        deadline_ms=coming.deadline_ms,
        ttft_deadline_ms=coming.ttft_deadline_ms,
        tokens_in=request.tokens_in or None,
        tokens_out=request.tokens_out or None,
        answer_tokens=request.answer_tokens,
        reason=request.reason,
        stages=tuple(request.stages),
    )


def cost_per_hour(scenario: Scenario) -> float | None:
    """The price of the hosts in use; None where none has one."""
    used = {replica.host for replica in scenario.plan.replicas}
    prices: Sequence[float] = [host.price_per_hour for host in scenario.inventory.hosts if host.name in used]
    return sum(prices) if any(prices) else None
