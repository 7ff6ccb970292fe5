"""How long it takes to simulate an hour of corrective RAG at 50 requests per second on one core.

    python bench/simulate_hour.py [--minutes N]

Prints seconds of one core, events a second, and how many times as fast as real time. Exits 1 above three minutes
for the hour.
"""

import argparse
import resource
import sys

from bench.pipelines import planned
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.report.measures import Window
from harmonia_compiler.workload.arrivals import poisson, until

RATE_RPS = 50.0
LIMIT_S = 180.0
WARM_UP_MIN = 1.0


def main() -> int:
    """The hour, or so many minutes of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60.0)
    minutes = parser.parse_args().minutes
    if minutes <= WARM_UP_MIN:
        parser.error(f"the first {WARM_UP_MIN:g} minute is warm-up: give more")
    scenario = planned("crag", "wide")
    window = Window(WARM_UP_MIN * 60_000.0, minutes * 60_000.0)
    done = simulate(scenario, until(poisson(RATE_RPS, 1), window.to_ms), window, load_cards(), {})
    found = done.report.groups[0].figures
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{minutes:g} minutes at {RATE_RPS:g}/s: {found.requests} requests counted, {done.events} events in "
        f"{done.cpu_s:.1f} s of one core, {done.events / done.cpu_s:.0f} a second, "
        f"{minutes * 60 / done.cpu_s:.0f} times as fast as real time; {memory_mib:.0f} MiB"
    )
    return int(done.cpu_s > LIMIT_S * minutes / 60.0)


if __name__ == "__main__":
    sys.exit(main())
