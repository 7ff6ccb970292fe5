"""Harmonia beside what people use today, over the same emulated devices: `make bench-peers`.

    python -m bench.peers --predict [--pipelines P...] [--inventory eight]
    python -m bench.peers PYTHONS --find [--pipelines crag...] [--systems NAME...] [--steps N]
    python -m bench.peers PYTHONS --rates R... [--seconds N] [--factor F]

`PYTHONS` is `--python PEERS/bin/python --haystack HAYSTACK/bin/python`, which `make bench-peers` says by itself.

The same arrivals, requests, engines and promise for all; each system on all GPUs of the inventory. `systems.py` says
which systems there are and how each is set up. `--predict` simulates what each can carry, so that it is known before
measuring which ratio can be had. `--rates` measures each system at these rates; `--find` looks for the highest rate at
which 95 of a hundred requests are answered within the promise, by bisection around what was predicted, and then
measures each system at the rate that it kept with `--repeats` seeds, and Harmonia and the best of the others at
`--loads` times the rate that that one kept; all in an order that alternates.

Times are stretched by one factor for all systems, so that none is held up by this machine: a cell in which the machine
or one process was more than 60 % busy, or an engine more than 5 ms late, is void, is repeated with a larger factor, and
decides nothing. Every cell is a file under `--out`, void ones too; a second run measures what is missing. In the end
`docs/results.md` is written from them (`results.py`).
"""

import argparse
import subprocess
import sys
from functools import cache, partial
from pathlib import Path

from bench.peers import predicting, record, results
from bench.peers.arriving import named
from bench.peers.cells import Cell, Key, measured
from bench.peers.identity import MEASURING, ROOT, WHOLE, code, of_versions, subject, versions
from bench.peers.judging import OURS, Bisection, Stretch, alternated, compared, is_other, searched
from bench.peers.systems import System, Systems
from bench.pipelines import NAMES, planned
from harmonia_compiler.emulate.scenario import Scenario

#: What the peers are, of all that their environment has: the rest of it is in the lock file and in the cells' keys.
TOLD_VERSIONS = ("ray", "langgraph", "langchain-openai", "uvicorn", "fastapi", "haystack-ai", "hayhooks")
#: Which systems are measured where nobody says.
USUAL = ("harmonia", "ray-auto", "ray-best", "monolith-best", "langgraph-best", "haystack-best")


class Run:
    """One run of the command: what all of its cells have in common."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.code, self.ours = code(MEASURING), code(WHOLE)
        self.revision = _revision()
        self.stretch = Stretch(given.factor)

    def cell(self, pipeline: str, system: System, rate_rps: float, seed: int) -> Cell:
        """A system at a rate, measured until it counts or as often as it may be; each attempt is printed."""
        installed = _installed(system.python) if system.python else {}
        peers = {name: installed[name] for name in TOLD_VERSIONS if name in installed}

        def attempted(factor: float, attempt: int) -> Cell:
            key = Key(
                pipeline,
                self.given.inventory,
                system.name,
                system.setup,
                named(self.given.trace),
                rate_rps,
                system.warmup_s,
                self.given.seconds,
                factor,
                seed,
                self.code if system.python else self.ours,
                subject(system.scenario, system.replicas),
                of_versions(installed) if installed else "",
            )
            found = measured(
                self.given.out, key, attempt, system.scenario, system.made, self.given.trace, (peers, self.revision)
            )
            print(told(found), flush=True)
            return found

        return self.stretch.settled(attempted)


def main() -> int:
    """All that is asked for, and the results written anew."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="one that has the peers' packages")
    parser.add_argument("--haystack", type=Path, default=Path(sys.executable), help="one that has Haystack's")
    parser.add_argument("--pipelines", nargs="*", default=["crag"], choices=NAMES)
    parser.add_argument("--inventory", default="eight")
    parser.add_argument("--predict", action="store_true", help="simulate what each system can carry")
    parser.add_argument("--rates", type=float, nargs="*", default=[], help="requests a second")
    parser.add_argument("--find", action="store_true", help="find the highest rate with the promise kept")
    parser.add_argument("--steps", type=int, default=4, help="of each bisection")
    parser.add_argument("--repeats", type=int, default=3, help="seeds at the rate that was found, and of predictions")
    parser.add_argument(
        "--loads", type=float, nargs="*", default=[1.0, 1.5, 2.0], help="of what the best peer keeps, for both"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="that count of each cell, before stretching")
    parser.add_argument("--factor", type=float, default=6.0, help="by how much all times are stretched at first")
    parser.add_argument("--trace", type=Path, help="a recording by whose times requests come, at each rate")
    parser.add_argument("--systems", nargs="*", default=USUAL, help="by name; * stands for anything")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=record.DOCS, help="the folder of results.md and its record")
    parser.add_argument("--out", type=Path, default=Path(".bench/peers"))
    given = parser.parse_args()
    for pipeline in given.pipelines:
        scenario = planned(pipeline, given.inventory)
        if given.predict:
            rows = predicting.predicted(scenario, given.inventory, given.out / "searches", given.repeats)
            print(*predicting.told(rows), sep="\n", flush=True)
            record.keep_predicted(rows, given.results / record.RECORD)
        if given.rates or given.find:
            measure(Run(given), pipeline, scenario)
    results.write(given.out, given.results)
    return 0


def measure(run: Run, pipeline: str, scenario: Scenario) -> None:
    """The cells of one pipeline, at the rates that are asked for and around what can be had."""
    given = run.given
    (predicted,) = scenario.plan.predicted.values()
    print(f"{pipeline} on {given.inventory}: planned for {predicted.throughput_rps:.1f}/s", flush=True)
    found = Systems(scenario, given.python.absolute(), given.haystack.absolute(), given.out / "searches").named(
        given.systems
    )
    wanted = {one.name: one for one in found}
    for turn, rate in enumerate(given.rates):
        for name in alternated([*wanted], turn):
            run.cell(pipeline, wanted[name], rate, given.seed)
    if not given.find:
        return

    def at(name: str, rate_rps: float) -> Cell:
        return run.cell(pipeline, wanted[name], rate_rps, given.seed)

    highest = searched({name: Bisection(*one.between(), given.steps) for name, one in wanted.items()}, at)
    print(*compared(highest), sep="\n", flush=True)
    for turn in range(given.repeats):
        for name in alternated([*wanted], turn):
            if highest[name].kept:
                run.cell(pipeline, wanted[name], highest[name].kept, given.seed + turn)
    top = max((one for one in highest if is_other(one)), key=lambda name: highest[name].kept, default=OURS)
    for turn, load in enumerate(given.loads if top != OURS and OURS in wanted else ()):
        for name in alternated([OURS, top], turn):
            run.cell(pipeline, wanted[name], round(load * highest[top].kept, 2), given.seed)


def told(cell: Cell) -> str:
    """A cell in one line."""
    full = max(cell.fullest, key=lambda name: cell.fullest[name])
    p50, p95 = (f"{ms:.0f}" if ms is not None else "-" for ms in (cell.p50_ms, cell.p95_ms))
    void = f"  VOID: {', '.join(cell.void)}" if cell.void else ""
    return (
        f"{cell.key.system:15} {cell.key.rate_rps:6.1f}/s x{cell.key.factor:g} seed {cell.key.seed}: "
        f"{cell.violated:6.1%} of {cell.offered} violated, {cell.goodput_rps:.1f}/s in time, p50 {p50}, p95 {p95} ms; "
        f"machine {cell.busy:.0%} busy, {full} {cell.fullest[full]:.0%} of a core, engines {cell.late_ms:.1f} ms late"
        f"  [{cell.key.setup}]{void}"
    )


@cache
def _installed(python: Path) -> dict[str, str]:
    return versions(python)


def _revision() -> str:
    """The commit of this repository, with a plus where files differ from it; empty outside of one."""
    said = partial(subprocess.run, cwd=ROOT, check=False, capture_output=True, text=True)
    head = said(["git", "rev-parse", "--short=12", "HEAD"]).stdout.strip()
    changed = said(["git", "status", "--porcelain"]).stdout.strip()
    return f"{head}+" if head and changed else head


if __name__ == "__main__":
    sys.exit(main())
