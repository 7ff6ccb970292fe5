"""How long planning takes: the samples on the sample inventories, and one pipeline on ever more hosts.

Run as `python bench/plan_time.py`; prints a table. Times are of this process's CPU, since the solver
has one thread and a busy machine would say nothing of the planner.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory, load_inventory
from harmonia_compiler.flow.graph import Application, Load
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.infeasible import Infeasible
from harmonia_compiler.plan.planner import make_plan

SAMPLES = Path(__file__).resolve().parent.parent / "samples"


def load(name: str) -> Application:
    """A sample after the passes."""
    checked = check_files([SAMPLES / f"{name}.rag"])
    if checked.application is None:
        raise SystemExit(f"{name}: {checked.found}")
    return optimise(checked.application)


def cases() -> Iterator[tuple[str, Application, Inventory]]:
    """What is planned, with a name."""
    for sample in ("quickstart", "corrective"):
        for inventory in ("laptop", "paper", "mixed"):
            yield (
                f"{sample} on {inventory}",
                load(sample),
                load_inventory(SAMPLES / "inventories" / f"{inventory}.toml"),
            )
    busy = load("corrective")
    busy = replace(busy, flows=tuple(replace(flow, load=Load(200.0, 200.0)) for flow in busy.flows))
    for count in (2, 8, 32):
        hosts = tuple(Host(f"h{at}", 32, 256.0, (Gpu("h100_sxm", 4),), 12.0) for at in range(count))
        yield f"corrective on {count} hosts with 4 GPUs", busy, Inventory(hosts)


def main() -> None:
    """Plan every case for both objectives."""
    print(f"{'':42} {'throughput':>12} {'cost':>12}")
    for name, application, inventory in cases():
        seconds = []
        for objective in ("throughput", "cost"):
            started = time.process_time()
            try:
                make_plan(application, inventory, objective=objective)
                seconds.append(f"{time.process_time() - started:10.2f} s")
            except Infeasible:
                seconds.append("no plan")
        print(f"{name:42} {seconds[0]:>12} {seconds[1]:>12}", flush=True)


if __name__ == "__main__":
    main()
