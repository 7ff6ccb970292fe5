"""A rehearsal of 32 emulated GPUs and 64 CPU workers at 50 requests per second, on this machine.

    python bench/check_rehearsal.py [--seconds N] [--factor N]

Prints the factor by which times were stretched, the emulated engines' lateness, and what of the machine was used:
lateness should be below 5 ms at p99 and use below 60 %. It also prints the processor time of a request, which
the factor is estimated from (`emulate/rehearsal/stretch.py`).

Expected before the first run: a factor of about 6 on two cores, since a request of corrective RAG is about five
calls and 120 pieces.

Exits 1 where the machine was the limit, or a request was not answered.
"""

import argparse
import dataclasses
import sys

import msgspec

from bench.pipelines import planned
from harmonia_compiler.contract.plan import Configuration, Replica
from harmonia_compiler.emulate.rehearsal.run import Wishes, rehearse
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.report.measures import Window
from harmonia_compiler.report.observation import Outcome
from harmonia_compiler.workload.arrivals import poisson, until

RATE_RPS = 50.0
GPUS, WORKERS = 32, 64


def widened(scenario: Scenario) -> Scenario:
    """The scenario with as many replicas as are asked for: the planner would not need them all for this rate."""
    engines = [name for name, engine in scenario.plan.engines.items() if engine.kind == "llm"]
    encoders = [name for name, engine in scenario.plan.engines.items() if engine.kind == "embedder"]
    kept = [one for one in scenario.plan.replicas if one.engine not in {*engines, *encoders}]
    gpu = Configuration(cores=1.0, memory_gib=4.0, gpu="h100_sxm", gpus=1.0, gpu_memory_gib=80.0, batch=64)
    core = Configuration(cores=1.0, memory_gib=1.1)
    made = [
        *(_replica(engines[number % len(engines)], number, gpu) for number in range(GPUS)),
        *(_replica(encoders[number % len(encoders)], number, core) for number in range(WORKERS - len(kept))),
    ]
    plan = msgspec.structs.replace(scenario.plan, replicas=(*kept, *made))
    shares = {**scenario.service.shares}
    usual = next(iter(shares.values()))
    shares |= {one.id: msgspec.structs.replace(usual, batch=one.config.batch, weight=1.0) for one in made}
    return dataclasses.replace(scenario, plan=plan, service=msgspec.structs.replace(scenario.service, shares=shares))


def _replica(engine: str, number: int, configuration: Configuration) -> Replica:
    host, cores, memory = f"gpu{number // 8 % 4 + 1}", configuration.cores, configuration.memory_gib
    return Replica(f"{engine}-{number}", engine, host, (), cores, memory, configuration, ())


def main() -> int:
    """One rehearsal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--factor", type=float)
    given = parser.parse_args()
    scenario = widened(planned("crag", "wide"))
    window = Window(0.2 * given.seconds * 1000.0, given.seconds * 1000.0)
    report = rehearse(
        scenario,
        until(poisson(RATE_RPS, 1), window.to_ms),
        window,
        {},
        Wishes(given.factor),
        lambda factor: print(f"{len(scenario.plan.replicas)} replicas, stretched {factor:.3g} times", flush=True),
    ).report
    figures, machine = report.groups[0].figures, report.machine
    assert machine is not None
    assert machine.lateness is not None
    print(
        f"{figures.requests} requests, {figures.throughput_rps:.1f}/s answered of {RATE_RPS:g}/s; "
        f"late by {machine.lateness.p50:.2f} ms at p50, {machine.lateness.p99:.2f} ms at p99; "
        f"machine {machine.busy:.0%} busy, {machine.own_cores:.2f} cores by the rehearsal"
    )
    print("\n".join(report.notes))
    per_request_ms = machine.own_cores * machine.factor / RATE_RPS * 1000.0
    print(f"{per_request_ms:.1f} ms of a core for each request")
    unanswered = figures.requests - figures.outcomes[Outcome.OK]
    if unanswered:
        print(f"{unanswered} requests were not answered: {dict(figures.outcomes)}")
    return int(machine.is_limit or unanswered > 0)


if __name__ == "__main__":
    sys.exit(main())
