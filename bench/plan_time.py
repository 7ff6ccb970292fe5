"""How long planning takes: samples, hundreds of hosts, thousands of GPUs, and a standing program that is solved again.

Run as `python bench/plan_time.py`; prints tables. Times are of this process's CPU, since the solver has one thread and
a busy machine would say nothing of the planner. Gaps are those that plans state: the distance of the rate, and of the
price, to what no plan can be better than.

What was expected before the first run of this script, on a core like that of a small cloud machine:

- the samples on the sample inventories, with promises: under 1 s each for the highest rate, under 0.4 s at a load;
- 512 hosts of 32 kinds and 16 components: a gap of 1 % at most in under 1 s, for either objective;
- 512 hosts that all differ in cores, memory and price: the same in under 3 s;
- 10,000 GPUs in 8 types of hosts and 32 components: the same in under 5 s;
- 2,048 variables of a standing program after readings have changed by a tenth: under 40 ms.

The planner knows seven types of GPU, so that the eighth type of host is one with a known GPU and more cores. Components
on GPUs run on any of the types, on a quarter of a device up to four, in batches of 8 or 64; every fourth runs on cores.
"""

import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory, load_inventory
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.flow.graph import Application, Load
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.infeasible import Infeasible
from harmonia_compiler.plan.optimise import optimise as allocate
from harmonia_compiler.plan.planner import make_plan
from harmonia_compiler.plan.problem import Need, Pipeline, Problem, Promise, Step
from harmonia_compiler.plan.replan import Reading, Replan
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import with_wait_ms

SAMPLES = Path(__file__).resolve().parent.parent / "samples"

TYPES = (*GPU_TYPES, "h100_sxm")[:8]

#: The part of the highest rate that is asked for at the lowest price.
LOAD = 0.5

#: What may be given up, and so the gap that is to be proven.
GAP = 0.01


def load(name: str) -> Application:
    """A sample after the passes."""
    checked = check_files([SAMPLES / f"{name}.rag"])
    if checked.application is None:
        raise SystemExit(f"{name}: {checked.found}")
    return optimise(checked.application)


def cases() -> Iterator[tuple[str, Application, Inventory]]:
    """Samples to be planned, with a name."""
    for sample in ("quickstart", "corrective"):
        for inventory in ("laptop", "paper", "mixed"):
            yield (
                f"{sample} on {inventory}",
                load(sample),
                load_inventory(SAMPLES / "inventories" / f"{inventory}.toml"),
            )
    # As much as its store carries, which is never copied.
    busy = load("corrective")
    busy = msgspec.structs.replace(
        busy, flows=tuple(msgspec.structs.replace(flow, load=Load(100.0, 100.0)) for flow in busy.flows)
    )
    for count in (2, 8, 32, 512):
        hosts = tuple(Host(f"h{at}", 32, 256.0, (Gpu("h100_sxm", 4),), 12.0) for at in range(count))
        yield f"corrective on {count} hosts with 4 GPUs", busy, Inventory(hosts)


def planned() -> None:
    """Plan every sample for both objectives, from its application to a checked document."""
    print(f"{'':44} {'throughput':>12} {'cost':>12}")
    for name, application, inventory in cases():
        seconds = []
        for objective in ("throughput", "cost"):
            started = time.process_time()
            try:
                make_plan(application, inventory, objective=objective)
                seconds.append(f"{time.process_time() - started:10.2f} s")
            except Infeasible:
                seconds.append(f"{time.process_time() - started:5.2f} no plan")
        print(f"{name:44} {seconds[0]:>12} {seconds[1]:>12}", flush=True)


def component(chance: random.Random, name: str, *, on_gpus: bool) -> Need:
    """An engine of one component with made-up figures."""
    work = chance.uniform(20.0, 200.0)
    if not on_gpus:
        return Need(name, (name,), tuple(on_cores(name, work * 0.3, cores) for cores in (1.0, 2.0, 4.0, 8.0)))
    least = chance.choice((0.25, 0.5, 1.0, 1.0, 2.0))
    options = []
    for gpu, facts in GPU_TYPES.items():
        for gpus in (0.25, 0.5, 1.0, 2.0, 4.0):
            for batch in (8, 64) if least <= gpus <= 4 * least else ():
                busy = work / (facts.bandwidth_gb_s / 2000.0) / gpus**0.9 * (1.5 if batch == 8 else 1.0)
                whole = max(1.0, gpus)
                cores = chance.choice((1.0, 2.0, 4.0)) * whole
                configuration = Configuration(cores, 8.0 * whole, gpu, gpus, 1.0, int(whole), batch)
                latency = {name: with_wait_ms(busy * batch * 0.3, batch)}
                first = {name: tuple(0.2 * one for one in latency[name])}
                options.append(Option(configuration, {name: busy}, latency, first, "stated"))
    return Need(name, (name,), tuple(options))


def on_cores(name: str, work: float, cores: float) -> Option:
    """A configuration on cores alone."""
    latency = {name: with_wait_ms(work / cores**0.9, 1)}
    return Option(Configuration(cores, 2.0 * cores), {name: work / cores**0.9}, latency, latency, "stated")


def synthetic(hosts: Sequence[Host], components: int, bound_ms: float | None = None) -> Problem:
    """A pipeline that calls one component after the other, on some hosts; with a promise if there is a bound."""
    chance = random.Random(1)
    names = [f"c{at:02}" for at in range(components)]
    needs = tuple(component(chance, name, on_gpus=at % 4 != 0) for at, name in enumerate(names))
    visits = {name: chance.choice((0.3, 1.0, 1.0, 2.0)) for name in names}
    steps = tuple(Step(name, (at - 1,) if at else ()) for at, name in enumerate(names))
    promises = (Promise("latency", 0.95, bound_ms),) if bound_ms else ()
    pipeline = Pipeline("p", 1.0, visits, steps, (), promises)
    return Problem(needs, (pipeline,), tuple(hosts), "throughput", {}, GAP)


def mixed(count: int, kinds: int) -> list[Host]:
    """Hosts of so many kinds, with four or eight GPUs, and with cores, memory and a price of their own."""
    chance = random.Random(2)
    found = []
    for at in range(kinds):
        gpu, gpus = TYPES[at % 7], chance.choice((4, 8))
        cpus, memory = chance.randrange(32, 129), float(chance.randrange(128, 1025))
        price = round(GPU_TYPES[gpu].bandwidth_gb_s / 1000.0 * gpus * chance.uniform(0.8, 1.2), 3)
        found.append(Host("", cpus, memory, (Gpu(gpu, gpus),), price))
    return [
        Host(f"h{at:03}", one.cpus, one.memory_gib, one.gpus, one.price_per_hour)
        for at, one in ((at, found[at % kinds]) for at in range(count))
    ]


def in_types(count: int) -> list[Host]:
    """Hosts of eight types with eight GPUs each."""
    return [
        Host(
            f"h{at:04}",
            128 if at % 8 == 7 else 96,
            1024.0,
            (Gpu(TYPES[at % 8], 8),),
            GPU_TYPES[TYPES[at % 8]].bandwidth_gb_s / 125.0,
        )
        for at in range(count)
    ]


def allocated() -> None:
    """Allocate large problems: the highest rate, and the lowest price at a part of it."""
    print(f"\n{'':44} {'throughput':>12} {'gap':>8} {'cost':>12} {'gap':>8}")
    for name, problem in (
        ("512 hosts of 32 kinds, 16 components", synthetic(mixed(512, 32), 16)),
        ("512 hosts that all differ, 16 components", synthetic(mixed(512, 512), 16)),
        ("10,000 GPUs in 8 types, 32 components", synthetic(in_types(1250), 32)),
        ("512 of 32 kinds, 16, with a promise", synthetic(mixed(512, 32), 16, 60_000.0)),
        ("10,000 GPUs in 8 types, 32, with a promise", synthetic(in_types(1250), 32, 60_000.0)),
    ):
        parts = []
        asked, rate = problem, 0.0
        for aim in ("throughput", "cost"):
            if aim == "cost":
                half = tuple(replace(one, load_rps=one.load_rps * rate * LOAD) for one in problem.pipelines)
                asked = replace(problem, aim="cost", pipelines=half)
            started = time.process_time()
            found = allocate(asked)
            seconds = time.process_time() - started
            rate = found.rate if found else 0.0
            parts.append(f"{seconds:10.2f} s {found.gap:8.2%}" if found else "no plan")
        print(f"{name:44} {' '.join(parts)}", flush=True)


def replanned() -> None:
    """Solve a standing program of 2,048 shares again after readings have changed."""
    chance = random.Random(3)
    replicas = {f"e{at}": 128 for at in range(16)}
    readings = {
        engine: Reading(chance.uniform(5.0, 50.0), [chance.uniform(0.02, 0.05) for _ in range(count)])
        for engine, count in replicas.items()
    }
    standing = Replan(replicas)
    standing.shares(readings)
    again, anew = [], []
    for _ in range(9):
        readings = {
            engine: Reading(
                one.calls_rps * chance.uniform(0.9, 1.1), [busy * chance.uniform(0.9, 1.1) for busy in one.busy_s]
            )
            for engine, one in readings.items()
        }
        started = time.process_time()
        standing.shares(readings)
        again.append(time.process_time() - started)
        started = time.process_time()
        Replan(replicas).shares(readings)
        anew.append(time.process_time() - started)
    print(
        f"\n2,048 shares again: {statistics.median(again) * 1000:.1f} ms in the median, {max(again) * 1000:.1f} at most"
    )
    print(f"built anew:         {statistics.median(anew) * 1000:.1f} ms in the median")


def main() -> None:
    """Plan, allocate and plan again."""
    planned()
    allocated()
    replanned()


if __name__ == "__main__":
    main()
